//! What a transaction changed, for those who watch.

use std::sync::Arc;

use crate::acl::AclList;

/// Kinds of changes. A creation or deletion also changes the parent's children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Created,
    Deleted,
    DataChanged,
}

/// One changed node, with the lists that decide who may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEvent {
    pub kind: ChangeKind,
    /// The root's path is empty here.
    pub path: Arc<str>,
    /// `None` means open to everybody, as in the next.
    pub acl: Option<AclList>,
    /// List of the parent; `None` also when only data changed.
    pub parent_acl: Option<AclList>,
}
