//! create, create2, createContainer, createTTL.

use std::sync::Arc;

use bytes::Bytes;
use zk_proto::txn::{CreateContainerTxn, CreateTtlTxn, CreateTxn, Txn};
use zk_proto::{Acl, CreateKind, CreateMode, CreateRequest, ErrorCode, perms};

use super::{Decider, Outcome, check_path, header, parent_for_create};
use crate::acl::AclList;
use crate::apply::first_stat;
use crate::owner::{CONTAINER_OWNER, Owner, TTL_MS_MAX};
use crate::pending::PendingNode;

impl Decider<'_> {
    pub(super) fn create(&mut self, request: CreateRequest) -> Outcome {
        let CreateRequest { kind, mut path, data, acl, flags, ttl_ms } = request;
        let mode = CreateMode::from_flags(flags).ok_or(ErrorCode::BadArguments)?;
        self.check_mode(kind, mode, ttl_ms)?;
        let parent_path = parent_for_create(&path)?;
        let acl = self.tree.config.auth.fixup(acl, self.ctx.auth)?;
        let mut parent = self.pending.node(self.tree, parent_path)?;
        self.require(parent.acl.as_deref(), perms::CREATE)?;
        if mode.is_sequential() {
            append_sequence(&mut path, parent.stat.cversion);
        }
        check_path(&path)?;
        if self.pending.exists(self.tree, &path) {
            return Err(ErrorCode::NodeExists);
        }
        let parent_owner = Owner::classify(parent.stat.ephemeral_owner, &self.tree.config);
        if matches!(parent_owner, Owner::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.tree.check_quota(&path, data.as_ref().map_or(0, |data| data.len() as i64), 1)?;

        parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.pzxid = self.ctx.zxid;
        parent.child_count += 1;
        let parent_cversion = parent.stat.cversion;
        self.pending.put(self.tree, self.ctx.zxid, parent);
        self.put_child(kind, mode, &path, &data, &acl, ttl_ms);

        let txn = match kind {
            CreateKind::Create | CreateKind::Create2 => {
                Txn::Create(CreateTxn { path, data, acl, ephemeral: mode.is_ephemeral(), parent_cversion })
            }
            CreateKind::Container => {
                Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion })
            }
            CreateKind::Ttl => Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms }),
        };
        Ok((kind.op().code(), txn))
    }

    /// Flags, TTL and session (`validateCreateRequest`).
    fn check_mode(&self, kind: CreateKind, mode: CreateMode, ttl_ms: i64) -> Result<(), ErrorCode> {
        if mode.is_ttl() {
            if !self.tree.config.extended_types_enabled {
                return Err(ErrorCode::Unimplemented);
            }
            if !(1..=TTL_MS_MAX).contains(&ttl_ms) {
                return Err(ErrorCode::BadArguments);
            }
        } else if ttl_ms >= 0 || kind == CreateKind::Ttl {
            // A createTTL without TTL flags and without a TTL makes Apache's apply throw; it is refused here.
            return Err(ErrorCode::BadArguments);
        }
        match self.ctx.session {
            // Ephemerals need a session all servers know (`checkGlobalSession`).
            Err(ErrorCode::UnknownSession) if mode.is_ephemeral() => Err(ErrorCode::SessionExpired),
            other => other,
        }
    }

    fn put_child(
        &mut self,
        kind: CreateKind,
        mode: CreateMode,
        path: &str,
        data: &Option<Bytes>,
        acl: &[Acl],
        ttl_ms: i64,
    ) {
        // As apply will see it: the operation decides, not the flags, what a container or TTL node is.
        let owner = match kind {
            CreateKind::Container => CONTAINER_OWNER,
            CreateKind::Ttl => Owner::ttl_to_stored(ttl_ms),
            _ if mode.is_ephemeral() => self.ctx.session_id,
            _ => 0,
        };
        let stat = first_stat(&header(self.ctx, 0), owner);
        let acl: AclList = self.tree.acls.find(acl).cloned().unwrap_or_else(|| Arc::from(acl));
        let node = PendingNode::new(Arc::from(path), stat, Some(acl), data.clone());
        self.pending.put(self.tree, self.ctx.zxid, node);
    }
}

/// Ten digits, as Java's `%010d`: the sign of a wrapped counter takes one of them.
fn append_sequence(path: &mut String, cversion: i32) {
    use std::fmt::Write;
    write!(path, "{cversion:010}").expect("writing to a string cannot fail");
}
