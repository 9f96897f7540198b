//! Key → latest offset, within a budget of memory. Keys are held whole: no two can be taken for one.

use std::collections::HashMap;

/// What an entry costs besides the key's bytes.
const ENTRY_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct KeyMap {
    offsets: HashMap<Box<[u8]>, i64, foldhash::quality::RandomState>,
    bytes: usize,
    bytes_max: usize,
}

impl KeyMap {
    pub fn new(bytes_max: usize) -> Self {
        Self { offsets: HashMap::default(), bytes: 0, bytes_max }
    }

    /// Notes a later offset of a key; `false` if there is no room for a new key.
    pub fn insert(&mut self, key: &[u8], offset: i64) -> bool {
        if let Some(known) = self.offsets.get_mut(key) {
            *known = offset;
            return true;
        }
        // One key always fits, so that every pass gets on.
        if self.bytes + key.len() + ENTRY_BYTES > self.bytes_max && !self.offsets.is_empty() {
            return false;
        }
        self.bytes += key.len() + ENTRY_BYTES;
        self.offsets.insert(key.into(), offset);
        true
    }

    /// Whether a record is the latest of its key, as far as the map knows.
    pub fn is_latest(&self, key: &[u8], offset: i64) -> bool {
        self.offsets.get(key).is_none_or(|latest| offset >= *latest)
    }
}
