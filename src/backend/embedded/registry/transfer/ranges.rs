//! Sets of byte ranges.

use std::{iter, ops::Range};

/// Disjoint ranges that do not touch, in order, none of them empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u64>>);

// === impl Ranges ===

impl Ranges {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Where the first byte after the range that begins at 0 lies.
    pub(super) fn prefix(&self) -> u64 {
        self.0
            .first()
            .filter(|range| range.start == 0)
            .map_or(0, |range| range.end)
    }

    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Those that overlap or touch it.
        let first = self.0.partition_point(|old| old.end < range.start);
        let last = self.0.partition_point(|old| old.start <= range.end);
        let touched = &self.0[first..last];
        let start = touched.first().map_or(range.start, |old| old.start.min(range.start));
        let end = touched.last().map_or(range.end, |old| old.end.max(range.end));
        self.0.splice(first..last, iter::once(start..end));
    }

    /// The first range at or after `from` and before `size` that is not in it.
    pub(super) fn gap(&self, from: u64, size: u64) -> Option<Range<u64>> {
        let mut start = from;
        for range in &self.0[self.0.partition_point(|range| range.end <= from)..] {
            if range.start > start {
                return (start < size).then(|| start..range.start.min(size));
            }
            start = range.end;
        }
        (start < size).then_some(start..size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_nothing_else(ranges in prop::collection::vec((0_u64..40, 0_u64..10), 0..12)) {
            let (mut set, mut bytes) = (Ranges::default(), [false; 64]);
            for (start, len) in ranges {
                set.insert(start..start + len);
                (start..start + len).for_each(|at| bytes[usize::try_from(at).unwrap()] = true);
            }
            let held = |at: usize| set.iter().any(|range| range.contains(&(at as u64)));
            prop_assert!((0..64).all(|at| held(at) == bytes[at]));
            prop_assert!(set.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(set.len(), bytes.iter().filter(|held| **held).count() as u64);
            prop_assert_eq!(set.prefix(), bytes.iter().take_while(|held| **held).count() as u64);
            for from in 0..64 {
                let start = (from..60).find(|at| !bytes[*at]);
                let gap = start.map(|start| {
                    let end = (start..60).find(|at| bytes[*at]).unwrap_or(60);
                    start as u64..end as u64
                });
                prop_assert_eq!(set.gap(from as u64, 60), gap);
            }
        }
    }
}
