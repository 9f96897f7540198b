//! A snapshot that comes from the leader becomes a tree, piece by piece.

use zk_store::{SnapshotStream, StreamError};
use zk_tree::{Tree, TreeBuilder, TreeConfig};

use crate::recovery::build;

/// What is known of the tree so far.
pub(crate) struct Receiving {
    stream: SnapshotStream,
    builder: TreeBuilder,
    zxid: i64,
}

impl Receiving {
    /// `part_max` bounds one node or list, `zxid` is the snapshot's.
    pub(crate) fn new(zxid: i64, part_max: usize, config: TreeConfig) -> Self {
        Self { stream: SnapshotStream::new(part_max), builder: TreeBuilder::new(config), zxid }
    }

    pub(crate) fn zxid(&self) -> i64 {
        self.zxid
    }

    /// Takes bytes; what lies behind the snapshot once it is complete.
    pub(crate) fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, StreamError> {
        let builder = &mut self.builder;
        self.stream.push(bytes, &mut |part| build(builder, part))
    }

    /// The tree of a complete snapshot.
    pub(crate) fn finish(self) -> Result<Tree, String> {
        self.builder.finish(self.zxid).map_err(|e| e.to_string())
    }
}
