//! A bounded map that forgets what was not used for longest.

use std::{collections::HashMap, hash::Hash};

/// At most so many entries, each with when it was used last.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: HashMap<K, (V, u64)>,
    max: usize,
    uses: u64,
}

// === impl Table ===

impl<K: Hash + Eq + Clone, V: Clone + PartialEq> Table<K, V> {
    /// With these entries, the one that was used last at the end.
    pub(super) fn new(max: usize, entries: Vec<(K, V)>) -> Self {
        let mut table = Self {
            entries: HashMap::new(),
            max,
            uses: 0,
        };
        for (key, value) in entries {
            table.put(key, value);
        }
        table
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let (value, used) = self.entries.get_mut(key)?;
        *used = self.uses;
        Some(value.clone())
    }

    /// Whether it was not there.
    pub(super) fn put(&mut self, key: K, value: V) -> bool {
        self.uses += 1;
        let changed = self.entries.get(&key).is_none_or(|(old, _)| *old != value);
        self.entries.insert(key, (value, self.uses));
        if self.entries.len() > self.max {
            self.forget_oldest();
        }
        changed
    }

    /// Whether it was there.
    pub(super) fn forget(&mut self, key: &K) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Looks at all entries: there are a few thousand, and what calls it has just read a file or made a model.
    pub(super) fn forget_oldest(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, (_, used))| *used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|(value, _)| value)
    }

    pub(super) fn oldest_first(&self) -> Vec<(K, V)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(_, (_, used))| *used);
        let plain = |(key, (value, _)): (&K, &(V, u64))| (key.clone(), value.clone());
        entries.into_iter().map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let mut table = Table::new(3, vec![(0, 'a'), (1, 'b'), (2, 'c'), (3, 'd')]);
        assert_eq!(table.get(&0), None);
        assert_eq!(table.get(&1), Some('b'));
        assert!(table.put(4, 'e'));
        assert!(!table.put(4, 'e'));
        assert!(table.put(3, 'f'));
        assert_eq!(table.oldest_first(), [(1, 'b'), (4, 'e'), (3, 'f')]);
        assert!(table.forget(&4) && !table.forget(&4));
        assert_eq!(table.oldest_first(), [(1, 'b'), (3, 'f')]);
    }
}
