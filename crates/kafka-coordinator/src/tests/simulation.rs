//! Seeded lives of a group: members join, leave, crash, lose replies; appends fail or wait; the
//! coordinator is loaded anew at any point. First safety under faults, then liveness without.
//!
//! Checked throughout: every invariant of the core; no request is answered twice; no partition is with
//! two members in one generation; a fetched offset is what the acknowledged part of the log says.
//! Checked at the end: every request is answered; all live members are in one stable generation that
//! covers every partition.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fastrand::Rng;
use kafka_proto::ErrorCode;

use super::*;
use crate::effect::{JoinReply, Reply, Token};
use crate::error::AppendError;
use crate::records::{self, Key};
use crate::{
    CommitRequest, GroupConfig, GroupState, JoinRequest, LeavingMember, MemberRef, OffsetToCommit, Protocol,
    SyncRequest, subscription,
};

const PARTITIONS: i32 = 8;
const CLIENTS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Unjoined,
    Joining(Token),
    Joined,
    Syncing(Token),
    Stable,
}

#[derive(Debug, Clone)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    generation_id: i32,
    protocol_name: Option<String>,
    leads: Option<Vec<String>>,
    skip_assignment: bool,
    owned: Vec<i32>,
    phase: Phase,
}

struct Simulation {
    world: World,
    rng: Rng,
    clients: Vec<Client>,
    /// Who was given a partition in a generation; static members count by name.
    owners: BTreeMap<(i32, i32), String>,
    /// Partition to committed offset, as far as acknowledged.
    visible: BTreeMap<i32, i64>,
    faults: bool,
    next_commit: i64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let config = GroupConfig {
            initial_rebalance_delay_ms: *rng.choice(&[0, 3_000]).unwrap_or(&0),
            group_size_max: if rng.u8(..4) == 0 { CLIENTS } else { 1000 },
            ..GroupConfig::default()
        };
        let mut world = World::with(config);
        world.acknowledges = false;
        let clients = (0..CLIENTS)
            .map(|index| Client {
                instance_id: (rng.u8(..3) == 0).then(|| format!("static-{index}")),
                member_id: String::new(),
                generation_id: -1,
                protocol_name: None,
                leads: None,
                skip_assignment: false,
                owned: Vec::new(),
                phase: Phase::Unjoined,
            })
            .collect();
        Simulation {
            world,
            rng,
            clients,
            owners: BTreeMap::new(),
            visible: BTreeMap::new(),
            faults: true,
            next_commit: 1,
        }
    }

    fn step(&mut self) {
        match self.rng.u32(..100) {
            0..50 => self.client_step(),
            50..70 => self.acknowledge(),
            70..90 => {
                let ms = if self.faults { self.rng.i64(1..2_000) } else { self.rng.i64(1..200) };
                self.world.advance(ms);
            }
            90..96 if self.faults => self.fault(),
            _ => self.acknowledge(),
        }
        self.observe();
    }

    fn fault(&mut self) {
        match self.rng.u32(..10) {
            0 => self.reload(),
            1..5 => {
                let index = self.rng.usize(..CLIENTS);
                self.restart(index);
            }
            5 => self.world.refuses = Some(AppendError::NotEnoughReplicas),
            6 => self.delete_offsets(),
            7 => self.remove_by_name(),
            8 => {
                let ms = self.rng.i64(5_000..20_000);
                self.world.advance(ms);
            }
            _ => {
                self.world.acknowledge_next(Some(AppendError::TimedOut));
            }
        }
    }

    /// A crash, and a new process: the static name stays, all else is lost; replies go nowhere.
    fn restart(&mut self, index: usize) {
        let client = &mut self.clients[index];
        *client = Client {
            instance_id: client.instance_id.clone(),
            member_id: String::new(),
            generation_id: -1,
            protocol_name: None,
            leads: None,
            skip_assignment: false,
            owned: Vec::new(),
            phase: Phase::Unjoined,
        };
    }

    fn reload(&mut self) {
        self.world.reload();
        self.visible.clear();
        for batch in 0..self.world.log.len() {
            self.make_visible(batch);
        }
    }

    fn acknowledge(&mut self) {
        self.world.refuses = None;
        let Some(&(_, base_offset)) = self.world.unacknowledged.front() else { return };
        let batch = self.world.log.iter().position(|batch| batch.base_offset == base_offset);
        self.make_visible(batch.expect("what waits is in the log"));
        self.world.acknowledge_next(None);
    }

    fn observe(&mut self) {
        if self.world.shard.group("g").is_none() {
            // Forgotten, because it was empty at a retention check; generations start over.
            self.owners.clear();
        }
        for partition in 0..PARTITIONS {
            assert_eq!(
                self.world.fetch(partition),
                self.visible.get(&partition).copied(),
                "partition {partition}"
            );
        }
        self.take_replies();
    }

    /// The model of offsets: what is acknowledged takes effect, in the order of the log.
    fn make_visible(&mut self, batch: usize) {
        for record in &self.world.log[batch].records {
            let Ok(Key::Offset { partition, .. }) = records::parse_key(record.key.clone()) else { continue };
            match record.value.clone() {
                Some(value) => {
                    let offset = records::parse_offset_value(value).unwrap().offset;
                    self.visible.insert(partition, offset);
                }
                None => drop(self.visible.remove(&partition)),
            }
        }
    }

    fn take_replies(&mut self) {
        for index in 0..self.clients.len() {
            let phase = self.clients[index].phase;
            let (Phase::Joining(token) | Phase::Syncing(token)) = phase else { continue };
            let Some(reply) = self.world.replies.get(&token).cloned() else { continue };
            if self.faults && self.rng.u8(..20) == 0 {
                // The reply is lost with its connection; the client asks again.
                self.clients[index].phase = match phase {
                    Phase::Joining(_) => Phase::Unjoined,
                    _ => Phase::Joined,
                };
                continue;
            }
            match reply {
                Reply::Join(reply) => self.on_joined(index, reply),
                Reply::Sync(reply) => self.on_synced(index, reply.error, &reply.assignment),
                other => panic!("{other:?}"),
            }
        }
    }

    fn on_joined(&mut self, index: usize, reply: JoinReply) {
        let client = &mut self.clients[index];
        let Some(error) = reply.error else {
            client.leads = (reply.leader == reply.member_id)
                .then(|| reply.members.iter().map(|member| member.member_id.clone()).collect());
            client.member_id = reply.member_id;
            client.generation_id = reply.generation_id;
            client.protocol_name = reply.protocol_name;
            client.skip_assignment = reply.skip_assignment;
            client.phase = Phase::Joined;
            return;
        };
        if error == ErrorCode::MemberIdRequired {
            client.member_id = reply.member_id;
        }
        self.on_error(index, error);
    }

    fn on_synced(&mut self, index: usize, error: Option<ErrorCode>, assignment: &Bytes) {
        if let Some(error) = error {
            self.on_error(index, error);
            return;
        }
        let client = &mut self.clients[index];
        client.owned = assignment.iter().map(|byte| i32::from(*byte)).collect();
        client.phase = Phase::Stable;
        let who = client.instance_id.clone().unwrap_or_else(|| client.member_id.clone());
        for partition in &client.owned {
            let owner = self.owners.entry((client.generation_id, *partition)).or_insert_with(|| who.clone());
            assert_eq!(owner, &who, "partition {partition} twice in generation {}", client.generation_id);
        }
    }

    fn on_error(&mut self, index: usize, error: ErrorCode) {
        let client = &mut self.clients[index];
        client.phase = Phase::Unjoined;
        match error {
            // A full group has room again once the crashed members' sessions end.
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::GroupMaxSizeReached => {
                client.member_id.clear();
            }
            // A restarted static member's earlier life; here the name has moved on to a newer life of
            // the same client, so this one starts over too.
            ErrorCode::FencedInstanceId => client.member_id.clear(),
            ErrorCode::MemberIdRequired
            | ErrorCode::RebalanceInProgress
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::InconsistentGroupProtocol => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    fn client_step(&mut self) {
        let index = self.rng.usize(..self.clients.len());
        match self.clients[index].phase {
            Phase::Unjoined => self.join(index),
            Phase::Joined => self.sync(index),
            Phase::Stable => match self.rng.u32(..10) {
                0..5 => self.heartbeat(index),
                5 if self.faults => self.join(index),
                6 if self.faults && self.rng.bool() => self.leave(index),
                _ => self.commit(index),
            },
            // A client whose request waits asks a second time, over a new connection.
            Phase::Joining(_) if self.faults && self.rng.u8(..20) == 0 => self.join(index),
            Phase::Joining(_) | Phase::Syncing(_) => {}
        }
    }

    fn join(&mut self, index: usize) {
        let token = self.world.token();
        let common = Protocol { name: ASSIGNOR.into(), metadata: subscription::encode(&["t"]) };
        let mut protocols = vec![common];
        if self.rng.bool() {
            protocols.insert(
                self.rng.usize(..2),
                Protocol { name: "other".into(), metadata: subscription::encode(&["t", "u"]) },
            );
        }
        let client = &self.clients[index];
        let request = JoinRequest {
            group_id: "g".into(),
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            client_id: format!("c{index}"),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 6_000 + self.rng.i32(0..6_000),
            rebalance_timeout_ms: self.rng.i32(1_000..20_000),
            protocol_type: "consumer".into(),
            protocols,
            member_id_required: client.instance_id.is_none() && self.rng.bool(),
            can_skip_assignment: self.rng.bool(),
            fresh_uuid: format!("uuid{}", token.0),
            reason: None,
        };
        self.clients[index].phase = Phase::Joining(token);
        self.world.run(|shard, now, effects| shard.join(now, token, request, effects));
    }

    fn sync(&mut self, index: usize) {
        let token = self.world.token();
        let client = &self.clients[index];
        let mut assignments: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        if let (Some(members), false) = (&client.leads, client.skip_assignment) {
            for partition in 0..PARTITIONS {
                let member = &members[self.rng.usize(..members.len())];
                assignments.entry(member.clone()).or_default().push(partition as u8);
            }
        }
        let request = SyncRequest {
            group_id: "g".into(),
            generation_id: client.generation_id,
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: client.protocol_name.clone(),
            assignments: assignments.into_iter().map(|(member, parts)| (member, parts.into())).collect(),
        };
        self.clients[index].phase = Phase::Syncing(token);
        self.world.run(|shard, now, effects| shard.sync(now, token, request, effects));
    }

    fn member(&self, index: usize) -> MemberRef {
        let client = &self.clients[index];
        MemberRef {
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            generation_id: client.generation_id,
        }
    }

    fn heartbeat(&mut self, index: usize) {
        let member = self.member(index);
        let outcome = self.world.run(|shard, now, effects| shard.heartbeat(now, "g", &member, effects));
        if let Err(error) = outcome {
            self.on_error(index, error);
        }
    }

    fn leave(&mut self, index: usize) {
        let member = self.member(index);
        let leaving =
            [LeavingMember { member_id: member.member_id, instance_id: member.instance_id, reason: None }];
        let _ = self.world.run(|shard, now, effects| shard.leave(now, "g", &leaving, effects));
        self.restart(index);
    }

    fn commit(&mut self, index: usize) {
        let owned = self.clients[index].owned.clone();
        let Some(partition) = self.rng.choice(&owned).copied() else { return };
        self.next_commit += 1;
        let offset = OffsetToCommit {
            topic: "t".into(),
            partition,
            offset: self.next_commit,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp_ms: None,
            retention_ms: None,
        };
        let token = self.world.token();
        let request =
            CommitRequest { group_id: "g".into(), member: self.member(index), offsets: vec![offset] };
        self.world.run(|shard, now, effects| shard.commit(now, token, request, effects));
    }

    fn delete_offsets(&mut self) {
        let token = self.world.token();
        let topics = [("t".to_owned(), vec![self.rng.i32(0..PARTITIONS)])];
        self.world.run(|shard, now, effects| shard.delete_offsets(now, token, "g", &topics, effects));
    }

    fn remove_by_name(&mut self) {
        let instance_id = self.clients[self.rng.usize(..CLIENTS)].instance_id.clone();
        let leaving = [LeavingMember { member_id: String::new(), instance_id, reason: None }];
        let _ = self.world.run(|shard, now, effects| shard.leave(now, "g", &leaving, effects));
    }

    /// No more faults: the group must come to rest, with everybody in it.
    fn settle(&mut self, seed: u64) {
        self.faults = false;
        self.world.refuses = None;
        for _ in 0..20_000 {
            self.step();
            if self.is_settled() {
                return;
            }
        }
        panic!(
            "seed {seed}: the group does not settle: {:#?} {:?}",
            self.clients,
            self.world.shard.describe("g")
        );
    }

    fn is_settled(&self) -> bool {
        let summary = self.world.shard.describe("g");
        let known: BTreeSet<&str> = summary.members.iter().map(|member| member.member_id.as_str()).collect();
        let alive: BTreeSet<&str> = self.clients.iter().map(|client| client.member_id.as_str()).collect();
        let owned: BTreeSet<i32> =
            self.clients.iter().flat_map(|client| client.owned.iter().copied()).collect();
        summary.state == GroupState::Stable
            && self.clients.iter().all(|client| client.phase == Phase::Stable)
            && known == alive
            && owned.len() == PARTITIONS as usize
            && self.world.unacknowledged.is_empty()
    }
}

/// Some hundred lives, each a thousand steps under faults and then to rest.
#[test]
fn groups_survive_everything_and_come_to_rest() {
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed);
        for _ in 0..1_000 {
            simulation.step();
        }
        simulation.settle(seed);
        for token in 1..=simulation.world.tokens {
            let is_heard = simulation.world.is_answered(Token(token));
            assert!(is_heard, "seed {seed}: request {token} is never answered");
        }
    }
}
