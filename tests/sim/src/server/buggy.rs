//! The shell with a historic bug in it; see [`crate::bugs`].

use zk_proto::quorum::{Packet, PacketKind, Sid, zxid};
use zk_zab::{LinkId, Role, Stored};

use crate::bugs::Bug;
use crate::disk::{Command, Image};
use crate::net::ConnKey;
use crate::server::{Own, tree_config};
use crate::world::{Event, World};

impl World {
    /// What the disk is told; `None` if it is done already.
    pub(super) fn command_with_bug(&mut self, sid: Sid, command: Command) -> Option<Command> {
        let Some(bug) = self.shape.bug else { return Some(command) };
        let in_sync = self.process(sid).is_some_and(|p| p.role == Role::Looking);
        let life = self.servers[&sid].life;
        let mut tell = |input| self.queue.after(0, Event::Tell { sid, life, input });
        match (bug, &command) {
            (Bug::AckBeforeFsync, Command::Append(entry)) => {
                tell(Own::Durable { zxid: entry.zxid, count: 1 });
            }
            (Bug::AckBeforeDiffIsLogged | Bug::AsyncLogInSync, Command::Append(entry)) if in_sync => {
                tell(Own::Durable { zxid: entry.zxid, count: 1 });
            }
            (Bug::AckBeforeDiffIsLogged, Command::CurrentEpoch(epoch)) if in_sync => {
                tell(Own::Zab(zk_zab::Input::Stored(Stored::CurrentEpoch { epoch: *epoch })));
                self.server(sid).disk.current_epoch = *epoch;
                return None;
            }
            (Bug::EpochBeforeHistory | Bug::AsyncLogInSync, Command::CurrentEpoch(_)) => {
                let queue = &mut self.server(sid).disk.queue;
                let at = queue.iter().position(|c| matches!(c, Command::Append(_))).unwrap_or(queue.len());
                queue.insert(at, command);
                return None;
            }
            (Bug::EpochOnlyInMemory, Command::AcceptedEpoch(epoch)) => {
                tell(Own::Zab(zk_zab::Input::Stored(Stored::AcceptedEpoch { epoch: *epoch })));
            }
            (Bug::NewLeaderTooEarly, Command::Append(entry)) if in_sync => {
                let disk = &mut self.server(sid).disk;
                let follows_snapshot = disk.log.is_empty();
                if follows_snapshot || !disk.buggy.volatile.is_empty() {
                    disk.buggy.volatile.push(entry.zxid);
                }
            }
            _ => {}
        }
        Some(command)
    }

    /// The disk fails; true if nobody minds.
    pub(super) fn disk_fails_with_bug(&mut self, sid: Sid) -> bool {
        let server = self.server(sid);
        if !server.is_full && !server.fsync_fails {
            return false;
        }
        let disk = &mut server.disk;
        match disk.bug {
            Some(Bug::HoleAfterDiskError) if matches!(disk.batch[0], Command::Append(_)) => {
                if disk.batch.len() > 1 {
                    disk.batch.remove(0);
                }
                server.is_full = false;
                server.fsync_fails = false;
            }
            Some(Bug::SnapshotOnFullDisk) => {
                // The log's space was taken ahead.
                server.fsync_fails = false;
                if let Some(Command::Snapshot(image)) = disk.batch.first_mut() {
                    let mut half = Image::clone(image);
                    half.nodes.truncate(half.nodes.len() / 2 + 1);
                    *image = half.into();
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// What is told of a truncation.
    pub(super) fn truncated_with_bug(&mut self, sid: Sid, asked: i64, input: Own) -> Own {
        let bug = self.shape.bug;
        let Own::Reloaded { tree, stored: Stored::Truncated { last_zxid, recent } } = input else {
            return input;
        };
        match bug {
            Some(Bug::TruncationTooLong) => {
                Own::Reloaded { tree, stored: Stored::Truncated { last_zxid: asked, recent: Vec::new() } }
            }
            Some(Bug::TruncationOnlyOnDisk) => {
                let old = self.servers[&sid].tree().map(Image::of).expect("it runs");
                let tree = Box::new(Image { zxid: last_zxid, ..old }.build(&tree_config()));
                Own::Reloaded { tree, stored: Stored::Truncated { last_zxid, recent } }
            }
            _ => Own::Reloaded { tree, stored: Stored::Truncated { last_zxid, recent } },
        }
    }

    /// What came of a snapshot is taken for all of it.
    pub(super) fn keep_half(&mut self, sid: Sid, image: Image) {
        self.counts.add("snapshot stream broken");
        self.command(sid, Command::Install(image.into()));
        self.later_void(sid);
    }

    /// A proposal counts as acknowledged because it was sent.
    pub(super) fn sent_with_bug(&mut self, sid: Sid, key: ConnKey, packet: &Packet) {
        let life = self.servers[&sid].life;
        let bug = self.shape.bug;
        let Some(link) = self.process(sid).and_then(|p| p.links.get_mut(&key)) else { return };
        link.is_served |= packet.kind == PacketKind::UpToDate;
        let counts = link.is_served && packet.kind == PacketKind::Proposal && zxid::counter(packet.zxid) > 0;
        if bug == Some(Bug::CommitWithoutQuorum) && counts {
            let packet = Packet::new(PacketKind::Ack, packet.zxid);
            let input = Own::Zab(zk_zab::Input::FromLearner { link: LinkId(key), packet });
            self.queue.after(0, Event::Tell { sid, life, input });
        }
    }

    pub fn on_tell(&mut self, sid: Sid, life: u64, input: Own) {
        if self.servers.get(&sid).is_some_and(|s| s.life == life) {
            self.input(sid, input);
        }
    }
}
