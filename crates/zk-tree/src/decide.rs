//! Judging write requests: a request becomes a transaction, or an error transaction that says why not.
//!
//! The order of the checks is part of the contract, for it decides which error a client sees
//! (`PrepRequestProcessor.pRequest2Txn`). Every decision takes a zxid, refusals too.

mod create;
mod delete;
mod multi;
mod reconfig;
mod session;
mod set;

use std::collections::BTreeSet;

use zk_proto::quorum::{Config, Sid};
use zk_proto::txn::{DIGEST_VERSION, Txn, TxnDigest, TxnHeader, kind};
use zk_proto::{Acl, ErrorCode, Id, Request};

use crate::pending::Pending;
use crate::tree::{CONFIG_NODE, QUOTA, Tree, ZOOKEEPER};

/// Who asks, and what the transaction will be stamped with.
#[derive(Debug, Clone, Copy)]
pub struct DecideCtx<'a> {
    /// The next zxid; it is used up whatever comes out.
    pub zxid: i64,
    /// Wall clock, milliseconds since 1970.
    pub time_ms: i64,
    /// 0 for what a server asks of itself (reaping).
    pub session_id: i64,
    pub cxid: i32,
    /// Identities of the session.
    pub auth: &'a [Id],
    /// Is the session alive and on this connection: the answer of [`crate::Sessions::check`]. It is looked at
    /// where Apache does, after a create's flags were checked.
    pub session: Result<(), ErrorCode>,
    /// `reconfigEnabled`
    pub reconfig_enabled: bool,
    /// `None` on a server that is alone.
    pub ensemble: Option<EnsembleView<'a>>,
}

/// What a leader knows of its ensemble, for deciding a reconfig.
#[derive(Debug, Clone, Copy)]
pub struct EnsembleView<'a> {
    pub active: &'a Config,
    /// The newest one proposed; differs from `active` while a reconfig is on its way.
    pub last_seen: &'a Config,
    /// This server and everyone who is in step with it, voter or not.
    pub synced: &'a BTreeSet<Sid>,
    /// `standaloneEnabled`: a server alone is no ensemble, so that one needs two voters at least.
    pub standalone_enabled: bool,
}

/// A transaction to log, and the refusal in it, if it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub header: TxnHeader,
    pub txn: Txn,
    /// The tree's digest after it; refusals carry none.
    pub digest: Option<TxnDigest>,
    /// The error to answer. A refused multi has its errors in its items instead, and `None` here.
    pub error: Option<ErrorCode>,
    /// The configuration that this transaction brings.
    pub reconfig: Option<Box<Config>>,
}

/// Decides one write. Reads, and writes that belong into a multi only, come out as Unimplemented.
pub fn decide(tree: &Tree, pending: &mut Pending, ctx: &DecideCtx<'_>, request: Request) -> Decision {
    let mut decider = Decider { tree, pending, ctx };
    let mut reconfig = None;
    let outcome = match request {
        Request::Create(create) => decider.create(create),
        Request::Delete { path, version } => decider.delete(path, version),
        Request::DeleteContainer { path } => decider.delete_container(path),
        Request::SetData { path, data, version } => decider.set_data(path, data, version),
        Request::SetAcl { path, acl, version } => decider.set_acl(path, acl, version),
        Request::Reconfig { joining, leaving, new_members, current_config_id } => decider
            .reconfig(joining.as_deref(), leaving.as_deref(), new_members.as_deref(), current_config_id)
            .map(|(txn, config)| {
                reconfig = Some(Box::new(config));
                (kind::RECONFIG, txn)
            }),
        Request::CreateSession { timeout_ms } => {
            Ok((kind::CREATE_SESSION, Txn::CreateSession { timeout_ms }))
        }
        Request::CloseSession => Ok(decider.close_session()),
        Request::Multi(ops) => return decider.multi(ops),
        _ => Err(ErrorCode::Unimplemented),
    };
    match outcome {
        Ok((kind, txn)) => {
            let digest = decider.digest();
            Decision { header: header(ctx, kind), txn, digest, error: None, reconfig }
        }
        Err(code) => refuse(ctx, code),
    }
}

/// The error transaction for a request that is refused before it can be decided (a body that cannot be read).
pub fn refuse(ctx: &DecideCtx<'_>, code: ErrorCode) -> Decision {
    Decision {
        header: header(ctx, kind::ERROR),
        txn: Txn::Error { err: code.code() },
        digest: None,
        error: Some(code),
        reconfig: None,
    }
}

fn header(ctx: &DecideCtx<'_>, kind: i32) -> TxnHeader {
    TxnHeader { client_id: ctx.session_id, cxid: ctx.cxid, zxid: ctx.zxid, time: ctx.time_ms, kind }
}

/// A record and its transaction type, or the refusal.
type Outcome = Result<(i32, Txn), ErrorCode>;

/// One decision in the making.
struct Decider<'a> {
    tree: &'a Tree,
    pending: &'a mut Pending,
    ctx: &'a DecideCtx<'a>,
}

impl Decider<'_> {
    fn digest(&self) -> Option<TxnDigest> {
        self.tree.config.digest_enabled.then(|| TxnDigest {
            version: DIGEST_VERSION,
            tree_digest: self.pending.digest(self.tree) as i64,
        })
    }

    fn require(&self, acl: Option<&[Acl]>, perm: i32) -> Result<(), ErrorCode> {
        if self.tree.config.auth.permits(acl, perm, self.ctx.auth) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }
}

fn check_path(path: &str) -> Result<(), ErrorCode> {
    zk_proto::path::validate(path).map_err(|_| ErrorCode::BadArguments)
}

/// The parent of a path somebody wants to create; the rest of the path is checked later.
fn parent_for_create(path: &str) -> Result<&str, ErrorCode> {
    match zk_proto::path::split(path) {
        Some((parent, _)) if !path.contains('\0') => Ok(parent),
        _ => Err(ErrorCode::BadArguments),
    }
}

/// The parent of a path somebody wants to delete. The nodes every tree has stay.
fn parent_for_delete(path: &str) -> Result<&str, ErrorCode> {
    if matches!(path, "/" | ZOOKEEPER | QUOTA | CONFIG_NODE) {
        return Err(ErrorCode::BadArguments);
    }
    parent_for_create(path)
}

/// The next version, if the caller knows the current one or does not care (-1).
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(current.wrapping_add(1))
}
