//! Whether and when to ask a registry again.
//!
//! Any byte that the blob gained since starts the count anew, whichever connection brought it: a registry that gives
//! slowly is obeyed, one that gives nothing is not asked for ever.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::{
    super::remote::{Fault, Retry},
    Limits,
};
use crate::backend::Error;

/// The tries of one connection.
#[derive(Debug)]
pub(in super::super) struct Tries {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
    no_progress: Duration,
    gained: u64,
    since: Instant,
}

// === impl Tries ===

impl Tries {
    /// `gained` is a count of the blob's bytes that only rises.
    pub(in super::super) fn new(limits: &Limits, gained: u64) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(limits.first_wait)
            .with_max_delay(limits.longest_wait)
            .with_max_times(limits.tries - 1)
            .with_jitter()
            .with_jitter_seed(fastrand::u64(..));
        Self {
            builder,
            waits: builder.build(),
            no_progress: limits.no_progress,
            gained,
            since: Instant::now(),
        }
    }

    /// Time that went by while it was others' turn.
    pub(in super::super) fn waited(&mut self, time: Duration) {
        self.since += time;
    }

    /// How long to wait after a fault; the error when it is final.
    pub(in super::super) fn after(&mut self, fault: Fault, gained: u64) -> Result<Duration, Error> {
        if gained > self.gained {
            self.gained = gained;
            self.since = Instant::now();
            self.waits = self.builder.with_jitter_seed(fastrand::u64(..)).build();
        }
        let least = match fault.retry {
            Retry::Never => return Err(fault.error),
            Retry::Soon => Duration::ZERO,
            Retry::After(least) => least,
        };
        let wait = self.waits.next().map(|wait| wait.max(least));
        match wait {
            Some(wait) if self.since.elapsed().saturating_add(wait) <= self.no_progress => Ok(wait),
            _ => Err(fault.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Kind;

    fn fault(retry: Retry) -> Fault {
        let error = Error::new(Kind::RegistryUnreachable, "x");
        Fault { error, retry }
    }

    fn limits() -> Limits {
        Limits {
            tries: 4,
            ..Limits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_end_unless_something_came() {
        let mut tries = Tries::new(&limits(), 7);
        let mut waits = Vec::new();
        while let Ok(wait) = tries.after(fault(Retry::Soon), 7) {
            waits.push(wait.as_millis());
        }
        assert_eq!(waits.len(), 3);
        for (wait, least) in waits.iter().zip([500, 1000, 2000]) {
            assert!((least..=2 * least).contains(wait), "{waits:?}");
        }
        tries.after(fault(Retry::Soon), 8).unwrap();
        tries.after(fault(Retry::Never), 9).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn the_registrys_wish_is_obeyed_within_the_bound() {
        let mut tries = Tries::new(&limits(), 0);
        let wish = Duration::from_mins(2);
        assert_eq!(tries.after(fault(Retry::After(wish)), 0).unwrap(), wish);
        tokio::time::advance(Duration::from_mins(4)).await;
        tries.after(fault(Retry::After(wish)), 0).unwrap_err();
        tries.waited(Duration::from_mins(4));
        tries.after(fault(Retry::After(wish)), 0).unwrap();
        tries.after(fault(Retry::After(Duration::MAX)), 9).unwrap_err();
    }
}
