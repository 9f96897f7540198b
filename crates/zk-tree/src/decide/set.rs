//! setData, setACL, and the version check of a multi.

use std::sync::Arc;

use bytes::Bytes;
use zk_proto::txn::{CheckVersionTxn, SetAclTxn, SetDataTxn, Txn, kind};
use zk_proto::{Acl, perms};

use super::{Decider, Outcome, check_path, next_version};

impl Decider<'_> {
    pub(super) fn set_data(&mut self, path: String, data: Option<Bytes>, version: i32) -> Outcome {
        self.ctx.session?;
        check_path(&path)?;
        let mut node = self.pending.node(self.tree, &path)?;
        self.require(node.acl.as_deref(), perms::WRITE)?;
        let bytes = |data: &Option<Bytes>| data.as_ref().map_or(0, |data| data.len() as i64);
        self.tree.check_quota(&path, bytes(&data) - bytes(&node.data), 0)?;
        let version = next_version(node.stat.version, version)?;
        node.stat.version = version;
        node.stat.mtime_ms = self.ctx.time_ms;
        node.stat.mzxid = self.ctx.zxid;
        node.data.clone_from(&data);
        self.pending.put(self.tree, self.ctx.zxid, node);
        Ok((kind::SET_DATA, Txn::SetData(SetDataTxn { path, data, version })))
    }

    pub(super) fn set_acl(&mut self, path: String, acl: Vec<Acl>, version: i32) -> Outcome {
        self.ctx.session?;
        check_path(&path)?;
        let acl = self.tree.config.auth.fixup(acl, self.ctx.auth)?;
        let mut node = self.pending.node(self.tree, &path)?;
        self.require(node.acl.as_deref(), perms::ADMIN)?;
        let version = next_version(node.stat.aversion, version)?;
        node.stat.aversion = version;
        node.acl = Some(Arc::from(acl.as_slice()));
        self.pending.put(self.tree, self.ctx.zxid, node);
        Ok((kind::SET_ACL, Txn::SetAcl(SetAclTxn { path, acl, version })))
    }

    pub(super) fn check(&mut self, path: String, version: i32) -> Outcome {
        self.ctx.session?;
        check_path(&path)?;
        let node = self.pending.node(self.tree, &path)?;
        self.require(node.acl.as_deref(), perms::READ)?;
        let version = next_version(node.stat.version, version)?;
        Ok((kind::CHECK, Txn::Check(CheckVersionTxn { path, version })))
    }
}
