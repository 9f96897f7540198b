//! What the tests against the originals share. The tests themselves are one file a topic in `tests/`.

pub mod kafka;
pub mod zookeeper;
