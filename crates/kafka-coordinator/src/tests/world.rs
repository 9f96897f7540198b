//! A shard with everything around it that a test needs: log, clock, replies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{AppendId, Effect, JoinReply, Now, Reply, SyncReply, Token};
use crate::error::AppendError;
use crate::load::{BatchInfo, Loader};
use crate::records::Record;
use crate::request::*;
use crate::{GroupConfig, Shard, subscription};

/// The assignment strategy members use unless a test says otherwise.
pub const ASSIGNOR: &str = "range";
pub const SESSION_TIMEOUT_MS: i32 = 10_000;
pub const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// One batch of the partition's log.
#[derive(Debug, Clone)]
pub struct LoggedBatch {
    pub base_offset: i64,
    pub records: Vec<Record>,
}

pub struct World {
    pub shard: Shard,
    pub config: Arc<GroupConfig>,
    pub now: Now,
    pub log: Vec<LoggedBatch>,
    pub next_offset: i64,
    /// Appends in the log whose acknowledgement has not been reported.
    pub unacknowledged: VecDeque<(AppendId, i64)>,
    /// Acknowledge appends as they come.
    pub acknowledges: bool,
    /// The next appends are refused with this.
    pub refuses: Option<AppendError>,
    pub replies: BTreeMap<Token, Reply>,
    /// Every token handed out.
    pub tokens: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() })
    }

    pub fn with(config: GroupConfig) -> Self {
        let now = Now { wall_ms: 1_700_000_000_000, mono_ms: 1_000 };
        let config = Arc::new(config);
        World {
            shard: Shard::new(0, now, config.clone()),
            config,
            now,
            log: Vec::new(),
            next_offset: 0,
            unacknowledged: VecDeque::new(),
            acknowledges: true,
            refuses: None,
            replies: BTreeMap::new(),
            tokens: 0,
        }
    }

    pub fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// Runs an operation and its effects, as the shell would.
    pub fn run<R>(&mut self, operation: impl FnOnce(&mut Shard, Now, &mut Vec<Effect>) -> R) -> R {
        let mut effects = Vec::new();
        let result = operation(&mut self.shard, self.now, &mut effects);
        self.apply(effects);
        result
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Reply { token, reply } => {
                    assert!(self.replies.insert(token, reply).is_none(), "{token:?} is answered twice");
                }
                Effect::Append { id, records, .. } => {
                    let outcome = match self.refuses {
                        Some(error) => Some(Err(error)),
                        None => self.append(id, records),
                    };
                    if let Some(outcome) = outcome {
                        let mut more = Vec::new();
                        self.shard.on_appended(self.now, id, outcome, &mut more);
                        queue.extend(more);
                    }
                }
            }
        }
        self.shard.check();
    }

    fn append(&mut self, id: AppendId, records: Vec<Record>) -> Option<Result<i64, AppendError>> {
        assert!(!records.is_empty(), "an empty batch cannot be appended");
        let base_offset = self.next_offset;
        self.next_offset += records.len() as i64;
        self.log.push(LoggedBatch { base_offset, records });
        if self.acknowledges {
            return Some(Ok(base_offset));
        }
        self.unacknowledged.push_back((id, base_offset));
        None
    }

    /// Reports the oldest append that waits.
    pub fn acknowledge_next(&mut self, failure: Option<AppendError>) -> bool {
        let Some((id, base_offset)) = self.unacknowledged.pop_front() else { return false };
        let outcome = failure.map_or(Ok(base_offset), Err);
        self.run(|shard, now, effects| shard.on_appended(now, id, outcome, effects));
        true
    }

    /// Lets time pass, firing each deadline when it comes.
    pub fn advance(&mut self, ms: i64) {
        let end_ms = self.now.mono_ms + ms;
        for _ in 0..100_000 {
            let next_ms = self.shard.next_deadline().max(self.now.mono_ms);
            if next_ms > end_ms {
                break;
            }
            self.set_time(next_ms);
            self.run(|shard, now, effects| shard.on_tick(now, effects));
            if next_ms == end_ms && self.shard.next_deadline() > end_ms {
                break;
            }
        }
        self.set_time(end_ms);
    }

    fn set_time(&mut self, mono_ms: i64) {
        self.now.wall_ms += mono_ms - self.now.mono_ms;
        self.now.mono_ms = mono_ms;
    }

    /// The leadership moves away and comes back: what waits is answered, the log is all that is left.
    pub fn reload(&mut self) {
        let fresh = self.load();
        let old = std::mem::replace(&mut self.shard, fresh);
        let mut effects = Vec::new();
        old.unload(self.now, &mut effects);
        self.unacknowledged.clear();
        self.apply(effects);
    }

    fn load(&self) -> Shard {
        let mut loader = Loader::new(0);
        for batch in &self.log {
            for (index, record) in batch.records.iter().enumerate() {
                let info = BatchInfo { base_offset: batch.base_offset, transaction_of: None };
                let offset = batch.base_offset + index as i64;
                loader.on_record(info, offset, Some(record.key.clone()), record.value.clone());
            }
        }
        loader.finish(self.now, self.config.clone(), &mut Vec::new())
    }

    pub fn join_request(&mut self, member_id: &str) -> JoinRequest {
        JoinRequest {
            group_id: "g".into(),
            member_id: member_id.into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: ASSIGNOR.into(), metadata: subscription::encode(&["t"]) }],
            member_id_required: false,
            can_skip_assignment: true,
            fresh_uuid: format!("uuid{:04}", self.tokens + 1),
            reason: None,
        }
    }

    pub fn join(&mut self, request: JoinRequest) -> Token {
        let token = self.token();
        self.run(|shard, now, effects| shard.join(now, token, request, effects));
        token
    }

    pub fn join_as(&mut self, member_id: &str) -> Token {
        let request = self.join_request(member_id);
        self.join(request)
    }

    pub fn join_static(&mut self, instance_id: &str) -> Token {
        let mut request = self.join_request("");
        request.instance_id = Some(instance_id.into());
        self.join(request)
    }

    pub fn sync(&mut self, joined: &JoinReply, assignments: &[(&str, &str)]) -> Token {
        let token = self.token();
        let request = SyncRequest {
            group_id: "g".into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: assignments
                .iter()
                .map(|(member, what)| ((*member).to_owned(), Bytes::copy_from_slice(what.as_bytes())))
                .collect(),
        };
        self.run(|shard, now, effects| shard.sync(now, token, request, effects));
        token
    }

    pub fn heartbeat(&mut self, member: &MemberRef) -> i16 {
        let outcome = self.run(|shard, now, effects| shard.heartbeat(now, "g", member, effects));
        outcome.err().map_or(0, |error| error as i16)
    }

    pub fn leave(&mut self, member_id: &str) {
        let leaving = LeavingMember { member_id: member_id.into(), instance_id: None, reason: None };
        let outcome = self.run(|shard, now, effects| shard.leave(now, "g", &[leaving], effects));
        assert_eq!(outcome, Ok(vec![Ok(())]));
    }

    pub fn is_answered(&self, token: Token) -> bool {
        self.replies.contains_key(&token)
    }

    pub fn joined(&self, token: Token) -> JoinReply {
        match self.replies.get(&token) {
            Some(Reply::Join(reply)) => reply.clone(),
            other => panic!("no join reply for {token:?}: {other:?}"),
        }
    }

    pub fn synced(&self, token: Token) -> SyncReply {
        match self.replies.get(&token) {
            Some(Reply::Sync(reply)) => reply.clone(),
            other => panic!("no sync reply for {token:?}: {other:?}"),
        }
    }

    /// A stable group of one: its only member, which leads.
    pub fn stable_single(&mut self) -> JoinReply {
        let token = self.join_as("");
        let joined = self.joined(token);
        let own = joined.member_id.clone();
        let sync = self.sync(&joined, &[(&own, "all")]);
        assert_eq!(self.synced(sync).error, None);
        joined
    }

    /// A stable group of two: leader first.
    pub fn stable_pair(&mut self) -> (JoinReply, JoinReply) {
        let first = self.stable_single();
        let second_token = self.join_as("");
        let first_token = self.join_as(&first.member_id);
        let (first, second) = (self.joined(first_token), self.joined(second_token));
        let follower = self.sync(&second, &[]);
        let leader = self.sync(&first, &[(&first.member_id, "one"), (&second.member_id, "two")]);
        assert_eq!(self.synced(leader).assignment, "one");
        assert_eq!(self.synced(follower).assignment, "two");
        (first, second)
    }
}

/// The member of a join reply, for requests of its generation.
pub fn member_of(joined: &JoinReply) -> MemberRef {
    MemberRef { member_id: joined.member_id.clone(), instance_id: None, generation_id: joined.generation_id }
}
