//! Open files, at most so many at once, shared by all logs of a broker.
//!
//! A segment owns a key, not a file: ten thousand partitions must work under a limit of 20 000 open files.
//! Eviction is second-chance (clock). A file in use stays open through its `Arc` after it is evicted.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::disk;
use crate::error::Result;

/// Names a file in the cache for as long as its owner lives, whatever its path becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKey(u64);

/// The cache.
#[derive(Debug)]
pub struct FileCache {
    capacity: usize,
    next_key: AtomicU64,
    clock: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Clock {
    slots: Vec<Slot>,
    places: HashMap<FileKey, usize, foldhash::fast::RandomState>,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    key: FileKey,
    file: Arc<File>,
    recently_used: bool,
}

impl FileCache {
    /// Keeps up to `capacity` files open (at least one).
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), next_key: AtomicU64::new(0), clock: Mutex::default() }
    }

    /// A key no other file has.
    pub fn new_key(&self) -> FileKey {
        FileKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// The file if it is open, else opened from `path` for reading and writing.
    pub fn get(&self, key: FileKey, path: impl FnOnce() -> std::path::PathBuf) -> Result<Arc<File>> {
        if let Some(file) = self.clock.lock().find(key) {
            return Ok(file);
        }
        self.open(key, &path(), false)
    }

    /// Opens, creating the file if it is missing.
    pub fn create(&self, key: FileKey, path: &Path) -> Result<Arc<File>> {
        self.open(key, path, true)
    }

    fn open(&self, key: FileKey, path: &Path, create: bool) -> Result<Arc<File>> {
        let file = Arc::new(disk::open_rw(path, create)?);
        // The evicted file closes outside the lock.
        let evicted = self.clock.lock().insert(key, file.clone(), self.capacity);
        drop(evicted);
        Ok(file)
    }

    /// Forgets a file that is deleted or about to be.
    pub fn remove(&self, key: FileKey) {
        let removed = self.clock.lock().remove(key);
        drop(removed);
    }

    /// Files open now.
    pub fn len(&self) -> usize {
        self.clock.lock().slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Clock {
    fn find(&mut self, key: FileKey) -> Option<Arc<File>> {
        let slot = &mut self.slots[*self.places.get(&key)?];
        slot.recently_used = true;
        Some(slot.file.clone())
    }

    fn insert(&mut self, key: FileKey, file: Arc<File>, capacity: usize) -> Option<Arc<File>> {
        if let Some(place) = self.places.get(&key) {
            return Some(std::mem::replace(&mut self.slots[*place].file, file));
        }
        let slot = Slot { key, file, recently_used: false };
        if self.slots.len() < capacity {
            self.places.insert(key, self.slots.len());
            self.slots.push(slot);
            return None;
        }
        let victim = self.next_victim();
        self.places.remove(&self.slots[victim].key);
        self.places.insert(key, victim);
        Some(std::mem::replace(&mut self.slots[victim], slot).file)
    }

    /// Ends within two rounds: the first clears every mark.
    fn next_victim(&mut self) -> usize {
        loop {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if !std::mem::take(&mut self.slots[at].recently_used) {
                return at;
            }
        }
    }

    fn remove(&mut self, key: FileKey) -> Option<Slot> {
        let place = self.places.remove(&key)?;
        let slot = self.slots.swap_remove(place);
        if let Some(moved) = self.slots.get(place) {
            self.places.insert(moved.key, place);
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never more files than asked for, and what is used often stays.
    #[test]
    fn is_bounded_and_keeps_hot_files() {
        let dir = tempfile::tempdir().unwrap();
        let cache = FileCache::new(4);
        let hot = cache.new_key();
        let first = cache.create(hot, &dir.path().join("hot")).unwrap();
        for i in 0..100 {
            let key = cache.new_key();
            cache.create(key, &dir.path().join(format!("{i}"))).unwrap();
            let again = cache.get(hot, || panic!("the hot file was evicted")).unwrap();
            assert!(Arc::ptr_eq(&first, &again));
            assert!(cache.len() <= 4);
        }
        cache.remove(hot);
        let reopened = cache.get(hot, || dir.path().join("hot")).unwrap();
        assert!(!Arc::ptr_eq(&first, &reopened));
    }

    /// A removed slot in the middle does not lose the others.
    #[test]
    fn removal_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let cache = FileCache::new(3);
        let keys: Vec<_> = (0..3).map(|_| cache.new_key()).collect();
        for (i, key) in keys.iter().enumerate() {
            cache.create(*key, &dir.path().join(i.to_string())).unwrap();
        }
        cache.remove(keys[0]);
        for key in &keys[1..] {
            cache.get(*key, || panic!("lost")).unwrap();
        }
        assert_eq!(cache.len(), 2);
    }
}
