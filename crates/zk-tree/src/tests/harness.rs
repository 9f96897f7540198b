//! A server reduced to its tree: decide, apply at once or later, check the invariants after every step.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::{Acl, CreateKind, CreateRequest, ErrorCode, Id, Request, Stat, StatPersisted};

use crate::*;

type NodeImage = (String, Option<Bytes>, Option<Vec<Acl>>, StatPersisted);

/// A snapshot-like view of a tree that two trees can be compared by.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    pub nodes: Vec<NodeImage>,
    pub sessions: Vec<(i64, i32)>,
    pub ephemerals: Vec<(i64, Vec<Arc<str>>)>,
    pub last_zxid: i64,
    pub digest: i64,
}

pub fn image(tree: &Tree) -> Image {
    let mut nodes = Vec::new();
    tree.snapshot_chunk(&mut SnapshotCursor::default(), usize::MAX, &mut |path, data, acl, stat| {
        let acl = tree.acls.get(acl).map(|list| list.to_vec());
        nodes.push((path.to_owned(), data.cloned(), acl, *stat));
    });
    let ephemerals = tree.ephemerals().iter().filter(|(_, paths)| !paths.is_empty());
    Image {
        nodes,
        sessions: tree.sessions().iter().map(|(id, ms)| (*id, *ms)).collect(),
        ephemerals: ephemerals.map(|(id, paths)| (*id, paths.iter().cloned().collect())).collect(),
        last_zxid: tree.last_zxid(),
        digest: tree.digest(),
    }
}

pub struct Server {
    pub tree: Tree,
    pub pending: Pending,
    pub zxid: i64,
    pub session_id: i64,
    pub auth: Vec<Id>,
    /// Decided, not applied.
    pub in_flight: VecDeque<Decision>,
    pub log: Vec<Decision>,
    pub events: Vec<TreeEvent>,
}

impl Server {
    pub fn new() -> Self {
        Self::with(TreeConfig::default())
    }

    pub fn with(config: TreeConfig) -> Self {
        Self {
            tree: Tree::new(config),
            pending: Pending::new(),
            zxid: 0,
            session_id: 0x100,
            auth: vec![Id::new("ip", "127.0.0.1")],
            in_flight: VecDeque::new(),
            log: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn decide_with(&mut self, request: Request, session: Result<(), ErrorCode>) -> Decision {
        self.zxid += 1;
        let ctx = DecideCtx {
            zxid: self.zxid,
            time_ms: 1000 + self.zxid,
            session_id: self.session_id,
            cxid: 1,
            auth: &self.auth,
            session,
            reconfig_enabled: false,
            ensemble: None,
        };
        let decision = decide(&self.tree, &mut self.pending, &ctx, request);
        assert_eq!(decision.header.zxid, self.zxid);
        self.in_flight.push_back(decision.clone());
        self.log.push(decision.clone());
        decision
    }

    pub fn decide(&mut self, request: Request) -> Decision {
        self.decide_with(request, Ok(()))
    }

    /// Applies the oldest decision in flight.
    pub fn apply_next(&mut self) -> Option<TxnResult> {
        let decision = self.in_flight.pop_front()?;
        let result = self.tree.apply(&decision.header, &decision.txn, &mut self.events);
        self.pending.on_applied(decision.header.zxid);
        self.tree.check();
        if let Some(digest) = decision.digest {
            assert_eq!(
                digest.tree_digest,
                self.tree.digest(),
                "decide foretold another digest: {decision:?}"
            );
        }
        Some(result)
    }

    /// Decides and applies.
    pub fn run(&mut self, request: Request) -> Result<TxnResult, ErrorCode> {
        self.decide(request);
        let mut last = None;
        while let Some(result) = self.apply_next() {
            last = Some(result);
        }
        assert!(self.pending.is_empty());
        match last.expect("a decision was made") {
            TxnResult::Error(code) => Err(ErrorCode::from_code(code).expect("decide knows the codes")),
            result => Ok(result),
        }
    }

    pub fn create(&mut self, path: &str, flags: i32) -> Result<String, ErrorCode> {
        match self.run(create(path, flags))? {
            TxnResult::Created { path, .. } => Ok(path.to_string()),
            other => panic!("{other:?}"),
        }
    }

    pub fn set(&mut self, path: &str, data: &str, version: i32) -> Result<Stat, ErrorCode> {
        let data = Some(Bytes::copy_from_slice(data.as_bytes()));
        match self.run(Request::SetData { path: path.into(), data, version })? {
            TxnResult::Stat(stat) => Ok(stat),
            other => panic!("{other:?}"),
        }
    }

    pub fn delete(&mut self, path: &str, version: i32) -> Result<(), ErrorCode> {
        self.run(Request::Delete { path: path.into(), version }).map(|_| ())
    }

    pub fn stat(&self, path: &str) -> Result<Stat, ErrorCode> {
        self.tree.exists(path, &self.auth)
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let view = self.tree.get_children(path, &self.auth).expect("the test reads what is there");
        view.child_names().map(str::to_owned).collect()
    }
}

pub fn create_request(path: &str, flags: i32) -> CreateRequest {
    CreateRequest {
        kind: CreateKind::Create,
        path: path.into(),
        data: Some(Bytes::from_static(b"data")),
        acl: Acl::open(),
        flags,
        ttl_ms: -1,
    }
}

pub fn create(path: &str, flags: i32) -> Request {
    Request::Create(create_request(path, flags))
}
