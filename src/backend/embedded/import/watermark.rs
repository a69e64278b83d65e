//! How far one thread has come, for others that follow it.
//!
//! Rejected: a channel of chunks. It would carry the content through memory; here only a number moves, and the follower
//! reads what is stored.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A number that only rises, until no more is to come.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    level: u64,
    closed: bool,
}

/// Closes the watermark however its holder ends, so that nobody waits for ever.
#[derive(Debug)]
pub(super) struct Rising<'a>(&'a Watermark);

// === impl Watermark ===

impl Watermark {
    /// The one side: it alone raises, and says by its end that no more comes.
    pub(super) fn rising(&self) -> Rising<'_> {
        Rising(self)
    }

    /// The other side: waits until the level is at least `level` and answers it; nothing when that will not be.
    pub(super) fn reached(&self, level: u64) -> Option<u64> {
        let state = self
            .changed
            .wait_while(self.lock(), |state| state.level < level && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        (state.level >= level).then_some(state.level)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Rising ===

impl Rising<'_> {
    pub(super) fn raise(&self, level: u64) {
        let mut state = self.0.lock();
        state.level = state.level.max(level);
        self.0.changed.notify_all();
    }
}

impl Drop for Rising<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_follower_sees_every_level_in_order_and_then_the_end() {
        for _ in 0..200 {
            let mark = Watermark::default();
            thread::scope(|scope| {
                let follower = scope.spawn(|| {
                    let mut seen = 0;
                    while let Some(level) = mark.reached(seen + 1) {
                        assert!(level > seen);
                        seen = level;
                    }
                    seen
                });
                let rising = mark.rising();
                for level in 1..=100 {
                    rising.raise(level);
                }
                drop(rising);
                assert_eq!(follower.join().unwrap(), 100);
            });
        }
    }

    #[test]
    fn a_leader_that_panics_leaves_nobody_waiting() {
        let mark = Watermark::default();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                let rising = mark.rising();
                rising.raise(1);
                panic!("of the test");
            });
            assert_eq!(mark.reached(2), None);
            assert_eq!(mark.reached(1), Some(1));
            leader.join().unwrap_err();
        });
    }
}
