//! An append is settled; and the end of a shard, when all of them are.

use crate::effect::{AppendId, Effect, Now, Reply};
use crate::error::AppendError;
use crate::group::{Forgetting, OffsetsToStore, Step};

use super::{Pending, Shard};

impl Shard {
    /// The append with this id is acknowledged at `outcome`'s base offset, or failed. Unknown ids are
    /// ignored: the shard may have been loaded anew meanwhile.
    pub fn on_appended(
        &mut self,
        now: Now,
        id: AppendId,
        outcome: Result<i64, AppendError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(pending) = self.in_flight.take(id) else { return };
        match pending {
            Pending::Commit(stored) => self.on_offsets_stored(now, id, stored, outcome, effects),
            Pending::Assignment(stored) => {
                let group = stored.group.clone();
                self.with_group(now, &group, effects, |group, step| {
                    group.on_assignment_stored(step, stored, outcome.map(drop));
                });
            }
            Pending::StaticReturn { group, back } => {
                self.with_group(now, &group, effects, |group, step| {
                    group.on_return_stored(step, *back, outcome.map(drop));
                });
            }
            Pending::EmptyGroup { group } => {
                if let Err(error) = outcome {
                    // After a restart the old members would come to life and time out.
                    tracing::warn!(%group, %error, "the empty group could not be recorded");
                }
            }
            Pending::Forget(forgetting) => self.on_forgotten(now, id, forgetting, outcome, effects),
        }
    }

    fn on_offsets_stored(
        &mut self,
        now: Now,
        id: AppendId,
        mut stored: OffsetsToStore,
        outcome: Result<i64, AppendError>,
        effects: &mut Vec<Effect>,
    ) {
        let offsets = std::mem::take(&mut stored.offsets);
        self.with_group(now, &stored.group, effects, |group, _| {
            // Unstage once a partition: a request may name one twice, its last word counts.
            for (topic, partition, committed) in offsets.into_iter().rev() {
                let is_wanted = group.offsets_mut().unstage(id, &topic, partition);
                if let (true, Ok(batch_offset)) = (is_wanted, outcome) {
                    group.offsets_mut().apply(&topic, partition, batch_offset, committed);
                }
            }
        });
        let reply = Reply::Commit(stored.outcomes_after(outcome.map(drop)));
        effects.push(Effect::Reply { token: stored.token, reply });
    }

    fn on_forgotten(
        &mut self,
        now: Now,
        id: AppendId,
        forgetting: Forgetting,
        outcome: Result<i64, AppendError>,
        effects: &mut Vec<Effect>,
    ) {
        let answer = forgetting.reply(outcome.map(drop));
        let group = forgetting.group.clone();
        match outcome {
            Ok(batch_offset) => {
                self.with_group(now, &group, effects, |group, step| {
                    group.on_forgotten(step, id, batch_offset, forgetting);
                });
            }
            Err(error) => tracing::warn!(
                %group, %error,
                "tombstones could not be appended; the group keeps what was to be deleted"
            ),
        }
        effects.extend(answer.map(|(token, reply)| Effect::Reply { token, reply }));
    }

    /// This broker does not lead the partition any more: whatever waits is answered NOT_COORDINATOR, so
    /// that clients look for the new one.
    pub fn unload(mut self, now: Now, effects: &mut Vec<Effect>) {
        for slot in self.groups.values_mut() {
            let mut step = Step { now, config: &self.config, in_flight: &mut self.in_flight, effects };
            slot.group.on_unload(&mut step);
        }
        for pending in self.in_flight.take_all().into_values() {
            let moved = Err(AppendError::NotLeader);
            let answer = match pending {
                Pending::Commit(stored) => Some((stored.token, Reply::Commit(stored.outcomes_after(moved)))),
                Pending::Forget(forgetting) => forgetting.reply(moved),
                // Their members were answered above.
                Pending::Assignment(_) | Pending::StaticReturn { .. } | Pending::EmptyGroup { .. } => None,
            };
            effects.extend(answer.map(|(token, reply)| Effect::Reply { token, reply }));
        }
    }
}
