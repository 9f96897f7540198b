//! Reads, with the ACL checks of Apache 3.9.3 (`FinalRequestProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use zk_proto::{Acl, ErrorCode, Id, MultiReadOp, MultiResult, Stat, perms};

use crate::config::TreeConfig;
use crate::node::Node;
use crate::tree::Tree;

/// A node somebody may read.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    node: &'a Node,
    config: &'a TreeConfig,
}

impl<'a> NodeView<'a> {
    pub fn data(&self) -> Option<&'a Bytes> {
        self.node.data()
    }

    pub fn stat(&self) -> Stat {
        self.node.stat(self.config)
    }

    /// Names of the children, sorted. Write them with [`zk_proto::response::write_children`].
    pub fn child_names(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let name_at = self.node.path().len() + 1;
        self.node.children().iter().map(move |path| &path[name_at..])
    }
}

impl Tree {
    fn readable(&self, path: &str, perm: i32, auth: &[Id]) -> Result<NodeView<'_>, ErrorCode> {
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        self.require(node, perm, auth)?;
        Ok(NodeView { node, config: &self.config })
    }

    fn require(&self, node: &Node, perm: i32, auth: &[Id]) -> Result<(), ErrorCode> {
        if self.config.auth.permits(self.acl_ref(node), perm, auth) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// exists needs READ since 3.9.2 (ZOOKEEPER-2590). `NoNode` is the answer that leaves an exist watch.
    pub fn exists(&self, path: &str, auth: &[Id]) -> Result<Stat, ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        self.readable(path, perms::READ, auth).map(|view| view.stat())
    }

    pub fn get_data(&self, path: &str, auth: &[Id]) -> Result<NodeView<'_>, ErrorCode> {
        self.readable(path, perms::READ, auth)
    }

    /// For getChildren and getChildren2.
    pub fn get_children(&self, path: &str, auth: &[Id]) -> Result<NodeView<'_>, ErrorCode> {
        self.readable(path, perms::READ, auth)
    }

    /// The list as the caller may see it, and the Stat.
    pub fn get_acl(&self, path: &str, auth: &[Id]) -> Result<(Vec<Acl>, Stat), ErrorCode> {
        let view = self.readable(path, perms::READ | perms::ADMIN, auth)?;
        let acl = match self.acl_ref(view.node) {
            None => Acl::open(),
            Some(list) => self.config.auth.visible(list, auth),
        };
        Ok((acl, view.stat()))
    }

    /// Nodes below a path, at any depth.
    pub fn get_all_children_number(&self, path: &str, auth: &[Id]) -> Result<i32, ErrorCode> {
        let view = self.readable(path, perms::READ, auth)?;
        let count =
            if view.node.path().is_empty() { self.nodes.len() - 1 } else { self.count_below(view.node) };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    fn count_below(&self, top: &Node) -> usize {
        let mut count = 0;
        let mut open: Vec<&Node> = vec![top];
        while let Some(node) = open.pop() {
            count += node.child_count();
            open.extend(node.children().iter().filter_map(|path| self.nodes.get(path)));
        }
        count
    }

    /// Ephemerals of a session whose paths begin with `prefix`; an empty one or `/` means all.
    pub fn ephemerals_of(&self, session_id: i64, prefix: Option<&str>) -> Vec<Arc<str>> {
        let prefix = match prefix {
            Some(p) if !p.trim().is_empty() && p.trim() != "/" => p,
            _ => "",
        };
        let paths = self.ephemerals.get(&session_id).into_iter().flatten();
        paths.filter(|path| path.starts_with(prefix)).cloned().collect()
    }

    /// Each read by itself; a refused one does not stop the others.
    pub fn multi_read(&self, ops: &[MultiReadOp], auth: &[Id]) -> Vec<MultiResult> {
        let read = |op: &MultiReadOp| match op {
            MultiReadOp::GetData { path } => {
                let view = self.get_data(path, auth)?;
                Ok(MultiResult::GetData { data: view.data().cloned(), stat: view.stat() })
            }
            MultiReadOp::GetChildren { path } => {
                let view = self.get_children(path, auth)?;
                Ok(MultiResult::GetChildren { children: view.child_names().map(str::to_owned).collect() })
            }
        };
        ops.iter().map(|op| read(op).unwrap_or_else(MultiResult::Error)).collect()
    }
}
