//! Applying transactions: infallible, the same on every server, and idempotent.
//!
//! A snapshot is written while transactions go on, so it holds a mixture of moments; replaying from the zxid
//! in its name meets nodes that exist already or are gone already. Such transactions change what they still
//! have to change (the parent's cversion and pzxid never go back) and report an error nobody reads
//! (`DataTree.processTxn`).

use std::sync::Arc;

use bytes::Bytes;
use zk_proto::txn::{SubTxn, Txn, TxnHeader, kind};
use zk_proto::{Acl, ErrorCode, Stat, StatPersisted};

use crate::digest::node_digest;
use crate::event::{ChangeKind, TreeEvent};
use crate::node::Node;
use crate::owner::{CONTAINER_OWNER, Owner};
use crate::tree::{Tree, canonical, size_of_node};

/// What a transaction came to; [`crate::reply::write`] turns it into a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnResult {
    /// Nothing to tell: delete, check, sessions.
    Done,
    /// The path made, and for all but the plain create its Stat.
    Created { path: Arc<str>, stat: Option<Stat> },
    /// setData, setACL, reconfig
    Stat(Stat),
    /// The code of a refused request, or what a replay met. 0 stands before the culprit in a refused multi.
    Error(i32),
    /// Transaction type and result of each item.
    Multi(Vec<(i32, TxnResult)>),
}

struct NewNode<'a> {
    path: &'a str,
    data: &'a Option<Bytes>,
    acl: &'a [Acl],
    owner: i64,
    parent_cversion: i32,
    with_stat: bool,
}

impl Tree {
    /// Applies a transaction and appends what changed to `events`.
    pub fn apply(&mut self, header: &TxnHeader, txn: &Txn, events: &mut Vec<TreeEvent>) -> TxnResult {
        let result = self.apply_record(header, header.kind, txn, events);
        self.last_zxid = self.last_zxid.max(header.zxid);
        result
    }

    fn apply_record(
        &mut self,
        header: &TxnHeader,
        kind: i32,
        txn: &Txn,
        events: &mut Vec<TreeEvent>,
    ) -> TxnResult {
        let outcome = match txn {
            Txn::Create(t) => self.apply_create(
                header,
                NewNode {
                    path: &t.path,
                    data: &t.data,
                    acl: &t.acl,
                    owner: if t.ephemeral { header.client_id } else { 0 },
                    parent_cversion: t.parent_cversion,
                    with_stat: kind != kind::CREATE,
                },
                events,
            ),
            Txn::CreateTtl(t) => self.apply_create(
                header,
                NewNode {
                    path: &t.path,
                    data: &t.data,
                    acl: &t.acl,
                    owner: Owner::ttl_to_stored(t.ttl_ms),
                    parent_cversion: t.parent_cversion,
                    with_stat: true,
                },
                events,
            ),
            Txn::CreateContainer(t) => self.apply_create(
                header,
                NewNode {
                    path: &t.path,
                    data: &t.data,
                    acl: &t.acl,
                    owner: CONTAINER_OWNER,
                    parent_cversion: t.parent_cversion,
                    with_stat: true,
                },
                events,
            ),
            Txn::Delete { path } => self.apply_delete(path, header.zxid, events),
            Txn::SetData(t) => self.apply_set_data(header, &t.path, &t.data, t.version, events),
            Txn::SetAcl(t) => self.apply_set_acl(&t.path, &t.acl, t.version),
            Txn::Check(_) => Ok(TxnResult::Done),
            Txn::Error { err } => Ok(TxnResult::Error(*err)),
            Txn::Multi(items) => Ok(self.apply_multi(header, items, events)),
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.client_id, *timeout_ms);
                Ok(TxnResult::Done)
            }
            Txn::CloseSession { paths } => {
                self.apply_close_session(header, paths.as_deref().unwrap_or_default(), events);
                Ok(TxnResult::Done)
            }
        };
        outcome.unwrap_or_else(|code| TxnResult::Error(code.code()))
    }

    fn apply_create(
        &mut self,
        header: &TxnHeader,
        new: NewNode<'_>,
        events: &mut Vec<TreeEvent>,
    ) -> Result<TxnResult, ErrorCode> {
        let (parent_path, _) = zk_proto::path::split(new.path).ok_or(ErrorCode::NoNode)?;
        let existing = self.nodes.get(canonical(new.path)).map(|node| node.acl);
        let parent = self.nodes.get_mut(parent_path).ok_or(ErrorCode::NoNode)?;
        // The create may have been followed by a delete that the snapshot already shows.
        let cversion = match new.parent_cversion {
            -1 => parent.stat.cversion.wrapping_add(1),
            cversion => cversion,
        };
        if cversion > parent.stat.cversion {
            parent.stat.cversion = cversion;
            parent.stat.pzxid = header.zxid;
            if self.config.digest_enabled {
                redigest(parent, &mut self.digest);
            }
        }
        if let Some(acl) = existing {
            self.adopt_acl(new.path, acl, new.acl);
            return Err(ErrorCode::NodeExists);
        }
        let parent_acl = parent.acl;
        let acl = self.acls.intern(new.acl);
        let path: Arc<str> = Arc::from(new.path);
        self.insert(path.clone(), new.data.clone(), acl, first_stat(header, new.owner));
        self.on_created_for_quota(&path, new.data.as_ref());
        events.push(TreeEvent {
            kind: ChangeKind::Created,
            path: path.clone(),
            acl: self.acls.get(acl).cloned(),
            parent_acl: self.acls.get(parent_acl).cloned(),
        });
        let stat = new.with_stat.then(|| self.node(&path).expect("it was just inserted").stat(&self.config));
        Ok(TxnResult::Created { path, stat })
    }

    /// A node from a fuzzy snapshot may carry the number of a list that was added after the snapshot's table
    /// was written; the create that is now replayed knows the list.
    fn adopt_acl(&mut self, path: &str, current: i64, acl: &[Acl]) {
        if self.acls.knows(current) {
            return;
        }
        let id = self.acls.intern(acl);
        if let Some(node) = self.nodes.get_mut(canonical(path)) {
            node.acl = id;
        }
    }

    fn apply_delete(
        &mut self,
        path: &str,
        zxid: i64,
        events: &mut Vec<TreeEvent>,
    ) -> Result<TxnResult, ErrorCode> {
        let (parent_path, _) = zk_proto::path::split(path).ok_or(ErrorCode::NoNode)?;
        let parent = self.nodes.get_mut(parent_path).ok_or(ErrorCode::NoNode)?;
        parent.remove_child(path);
        if zxid > parent.stat.pzxid {
            parent.stat.pzxid = zxid;
            if self.config.digest_enabled {
                redigest(parent, &mut self.digest);
            }
        }
        let parent_acl = parent.acl;
        // A fuzzy snapshot may already show children of a later node of this path; they will be made again.
        if self.nodes.get(path).is_some_and(|node| node.child_count() > 0) {
            self.drop_children(path);
        }
        let node = self.remove(path).ok_or(ErrorCode::NoNode)?;
        let acl = self.acls.get(node.acl).cloned();
        self.acls.release(node.acl);
        self.on_deleted_for_quota(&node);
        events.push(TreeEvent {
            kind: ChangeKind::Deleted,
            path: node.path,
            acl,
            parent_acl: self.acls.get(parent_acl).cloned(),
        });
        Ok(TxnResult::Done)
    }

    /// decide never lets a node with children be deleted, so this is for replays only.
    #[cold]
    fn drop_children(&mut self, top: &str) {
        let mut open: Vec<Arc<str>> = vec![Arc::from(top)];
        let mut doomed = Vec::new();
        while let Some(path) = open.pop() {
            let Some(node) = self.nodes.get(&path) else { continue };
            let children: Vec<_> = node.children().iter().cloned().collect();
            open.extend(children.iter().cloned());
            doomed.extend(children);
        }
        for path in doomed.iter().rev() {
            if let Some(node) = self.remove(path) {
                self.acls.release(node.acl);
            }
        }
    }

    fn apply_set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: &Option<Bytes>,
        version: i32,
        events: &mut Vec<TreeEvent>,
    ) -> Result<TxnResult, ErrorCode> {
        let node = self.nodes.get_mut(canonical(path)).ok_or(ErrorCode::NoNode)?;
        let bytes_before = size_of_node(path, node.data.as_ref());
        let bytes_after = size_of_node(path, data.as_ref());
        node.data.clone_from(data);
        node.stat.mtime_ms = header.time;
        node.stat.mzxid = header.zxid;
        node.stat.version = version;
        if self.config.digest_enabled {
            redigest(node, &mut self.digest);
        }
        let stat = node.stat(&self.config);
        events.push(TreeEvent {
            kind: ChangeKind::DataChanged,
            path: node.path.clone(),
            acl: self.acls.get(node.acl).cloned(),
            parent_acl: None,
        });
        self.data_size_bytes = (self.data_size_bytes + bytes_after).saturating_sub(bytes_before);
        self.count_for_quota(path, bytes_after as i64 - bytes_before as i64, 0);
        Ok(TxnResult::Stat(stat))
    }

    fn apply_set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<TxnResult, ErrorCode> {
        let node = self.nodes.get_mut(canonical(path)).ok_or(ErrorCode::NoNode)?;
        // The new list first: its number is not given twice even if it is the old one.
        let id = self.acls.intern(acl);
        self.acls.release(std::mem::replace(&mut node.acl, id));
        node.stat.aversion = version;
        if self.config.digest_enabled {
            redigest(node, &mut self.digest);
        }
        Ok(TxnResult::Stat(node.stat(&self.config)))
    }

    /// The listed paths first, then whatever else the session owns (`DataTree.killSession`).
    fn apply_close_session(&mut self, header: &TxnHeader, listed: &[String], events: &mut Vec<TreeEvent>) {
        self.sessions.remove(&header.client_id);
        let owned = self.ephemerals.remove(&header.client_id).unwrap_or_default();
        for path in listed {
            // Already gone in the snapshot, or owned by a later session: a replay.
            let _ = self.apply_delete(path, header.zxid, events);
        }
        for path in owned {
            if self.nodes.contains_key(&path) {
                let _ = self.apply_delete(&path, header.zxid, events);
            }
        }
    }

    /// A refused multi is logged with the records it would have had; one error item makes all of it void.
    fn apply_multi(
        &mut self,
        header: &TxnHeader,
        items: &[SubTxn],
        events: &mut Vec<TreeEvent>,
    ) -> TxnResult {
        let refused = items.iter().any(|item| item.kind == kind::ERROR);
        let mut after_culprit = false;
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let result = match item.record() {
                Ok(Txn::Error { err }) => {
                    after_culprit = true;
                    TxnResult::Error(err)
                }
                _ if refused && after_culprit => TxnResult::Error(ErrorCode::RuntimeInconsistency.code()),
                _ if refused => TxnResult::Error(ErrorCode::Ok.code()),
                Ok(txn) => self.apply_record(header, item.kind, &txn, events),
                // Apache stops here without a word; what was applied before stays on every server alike.
                Err(_) => break,
            };
            let kind = if refused { kind::ERROR } else { item.kind };
            results.push((kind, result));
        }
        TxnResult::Multi(results)
    }
}

/// Stat of a node that begins with this transaction.
pub(crate) fn first_stat(header: &TxnHeader, owner: i64) -> StatPersisted {
    StatPersisted {
        czxid: header.zxid,
        mzxid: header.zxid,
        ctime_ms: header.time,
        mtime_ms: header.time,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: owner,
        pzxid: header.zxid,
    }
}

/// Brings a changed node's part of the digest up to date.
fn redigest(node: &mut Node, total: &mut u64) {
    let digest = node_digest(&node.path, node.data.as_deref(), &node.stat);
    *total = total.wrapping_sub(u64::from(node.digest)).wrapping_add(u64::from(digest));
    node.digest = digest;
}
