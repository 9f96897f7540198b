//! The table of access control lists: each distinct list is stored once and nodes hold its number
//! (`ReferenceCountedACLCache`).
//!
//! Numbers are never given twice in one run. After a fuzzy snapshot nodes may carry numbers the table does
//! not know yet; replaying the transactions that made them repairs that, see [`crate::tree::Tree::apply`].

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use zk_proto::Acl;

/// A shared access control list.
pub type AclList = Arc<[Acl]>;

/// Number of the list that was never set: everybody may do everything.
pub const OPEN_ACL_ID: i64 = -1;

#[derive(Debug)]
struct Entry {
    list: AclList,
    users: u64,
}

/// Lists by number and numbers by list.
#[derive(Debug, Default)]
pub struct AclTable {
    by_id: HashMap<i64, Entry, RandomState>,
    by_list: HashMap<AclList, i64, RandomState>,
    last_id: i64,
}

impl AclTable {
    /// The list with this number; `None` for [`OPEN_ACL_ID`] and for a number that is not known.
    pub fn get(&self, id: i64) -> Option<&AclList> {
        self.by_id.get(&id).map(|entry| &entry.list)
    }

    pub fn knows(&self, id: i64) -> bool {
        id == OPEN_ACL_ID || self.by_id.contains_key(&id)
    }

    /// The stored list equal to this one, if a node uses it.
    pub fn find(&self, list: &[Acl]) -> Option<&AclList> {
        self.by_list.get_key_value(list).map(|(list, _)| list)
    }

    /// The number of a list for one more user.
    pub fn intern(&mut self, list: &[Acl]) -> i64 {
        let id = match self.by_list.get(list) {
            Some(&id) => id,
            None => {
                self.last_id += 1;
                self.insert(self.last_id, Arc::from(list));
                self.last_id
            }
        };
        self.retain(id);
        id
    }

    /// One more user of a number.
    pub fn retain(&mut self, id: i64) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.users += 1;
        }
    }

    /// One user less; the last one takes the list along.
    pub fn release(&mut self, id: i64) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 {
            self.by_list.remove(&entry.list);
            self.by_id.remove(&id);
        }
    }

    /// Adds a list from a snapshot, without users.
    pub fn insert(&mut self, id: i64, list: AclList) {
        self.reserve_ids(id);
        self.by_list.insert(list.clone(), id);
        self.by_id.insert(id, Entry { list, users: 0 });
    }

    /// New numbers will be larger than this one.
    pub fn reserve_ids(&mut self, id: i64) {
        self.last_id = self.last_id.max(id);
    }

    /// Drops what no node uses, once a snapshot is read.
    pub fn purge_unused(&mut self) {
        self.by_id.retain(|_, entry| entry.users > 0);
        let by_id = &self.by_id;
        self.by_list.retain(|_, id| by_id.contains_key(id));
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Every list by ascending number.
    pub fn lists(&self) -> Vec<(i64, AclList)> {
        let mut lists: Vec<_> = self.by_id.iter().map(|(id, entry)| (*id, entry.list.clone())).collect();
        lists.sort_unstable_by_key(|(id, _)| *id);
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_a_number_until_their_last_user_leaves() {
        let mut table = AclTable::default();
        let open = table.intern(&Acl::open());
        assert_eq!(table.intern(&Acl::open()), open);
        let read = table.intern(&Acl::read_only());
        assert_ne!(open, read);
        table.release(open);
        assert!(table.knows(open));
        table.release(open);
        assert!(!table.knows(open));
        assert_eq!(table.intern(&Acl::open()), read + 1, "numbers are not given twice");
    }
}
