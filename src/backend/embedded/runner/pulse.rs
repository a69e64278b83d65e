//! Whether an engine that runs still lives. One that computes a long batch does not answer, but works; one that neither answers
//! nor works is hung, and would be told as ready for ever.
//!
//! Looks are counted, not time: what was frozen with us and thawed again has missed none.

use std::time::Duration;

use tokio::time::Instant;

use super::{RunnerLimits, process::Work};

/// Looks in a row, over the time of a stall, until an engine counts as hung.
const LOOKS: u32 = 8;
/// The shortest and the longest time between two of them.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));

/// What was seen of an engine.
#[derive(Debug)]
pub(super) struct Pulse {
    between: Duration,
    counted: Instant,
    quiet: u32,
    work: Option<Work>,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new(limits: &RunnerLimits) -> Self {
        Self {
            between: (limits.stall / LOOKS).clamp(BETWEEN.0, BETWEEN.1),
            counted: Instant::now(),
            quiet: 0,
            work: None,
        }
    }

    /// Between two looks at most.
    pub(super) fn between(&self) -> Duration {
        self.between
    }

    /// After a look: whether it is hung. `work` is what the process has done so far.
    pub(super) fn is_hung(&mut self, answers: bool, work: Option<Work>) -> bool {
        if answers || work != self.work {
            self.quiet = 0;
            self.work = work;
            self.counted = Instant::now();
        } else if self.counted.elapsed() >= self.between {
            self.quiet += 1;
            self.counted = Instant::now();
        }
        self.quiet >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_neither_answers_nor_works_for_long_is_hung() {
        let limits = RunnerLimits::default();
        let (idle, busy) = (Some(Work::default()), None);
        for (answers, other) in [(true, idle), (false, busy)] {
            let mut pulse = Pulse::new(&limits);
            for look in 0..100 {
                tokio::time::advance(pulse.between()).await;
                let work = if look % 2 == 0 { idle } else { other };
                assert!(!pulse.is_hung(answers, work), "{answers} {look}");
            }
        }
        let mut pulse = Pulse::new(&limits);
        let start = Instant::now();
        while !pulse.is_hung(false, idle) {
            tokio::time::advance(pulse.between()).await;
            assert!(start.elapsed() < limits.stall * 2);
        }
        assert!(start.elapsed() >= limits.stall, "{:?}", start.elapsed());
        // Frozen for an hour, it is looked at as often as before.
        let mut pulse = Pulse::new(&limits);
        assert!(!pulse.is_hung(false, idle));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(!pulse.is_hung(false, idle));
    }
}
