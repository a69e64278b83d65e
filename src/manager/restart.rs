//! When a model whose process ended by itself is loaded again by those who keep models: at once the first time, then later and
//! later, and in the end not before a person asks for it. Without that a model that crashes at its first request would be
//! loaded for ever.

use std::time::{Duration, SystemTime};

use crate::{
    backend::Death,
    engines::Engine,
    model::{Digest, Failure, ModelName, Reason},
};

/// Before the second time. Doubled with each end in a row.
const FIRST: Duration = Duration::from_secs(2);
/// The longest wait.
const LAST: Duration = Duration::from_mins(5);
/// So many ends in a row, each soon after the load, over a quarter of an hour: only a person can help.
const ENDS: u32 = 10;

/// Whether a model may be loaded again.
#[derive(Debug)]
pub(super) enum Again {
    /// Nothing is known against it.
    Now,
    /// It ends again and again.
    Not {
        /// Why.
        why: Failure,
        /// When it may; none: when somebody asks for it.
        until: Option<SystemTime>,
    },
}

/// A model that its engine refuses to load, each time.
#[derive(Debug, Clone)]
pub(super) struct Refusals {
    digest: Digest,
    in_a_row: u32,
    last: SystemTime,
    why: Failure,
}

/// Whether those who keep the model may load it now.
pub(super) fn again(engine: &Engine, name: &ModelName) -> Again {
    let Some(death) = engine.backend.death(name) else {
        return Again::Now;
    };
    let until = pause(death.in_a_row).map(|pause| death.time + pause);
    if until.is_some_and(|until| until <= SystemTime::now()) {
        return Again::Now;
    }
    Again::Not {
        why: failure(name, &death, until.is_some()),
        until,
    }
}

// === impl Refusals ===

impl Refusals {
    /// One more of this content, which is refused for the same reason as before or for another.
    pub(super) fn add(before: Option<Self>, digest: &Digest, why: Failure) -> Self {
        let row = before
            .filter(|before| before.digest == *digest)
            .map_or(0, |before| before.in_a_row);
        Self {
            digest: digest.clone(),
            in_a_row: row.saturating_add(1),
            last: SystemTime::now(),
            why,
        }
    }

    /// Whether this content may be loaded now: each try may take the memory of a model that is in use.
    pub(super) fn again(&self, digest: &Digest) -> Again {
        let until = pause(self.in_a_row.saturating_add(1)).map(|pause| self.last + pause);
        if self.digest != *digest || until.is_some_and(|until| until <= SystemTime::now()) {
            return Again::Now;
        }
        let mut why = self.why.clone();
        if until.is_none() {
            why.message += "; it is not loaded again until it is another one, or somebody asks for it";
        }
        Again::Not { why, until }
    }
}

/// After so many ends in a row; none: no more.
fn pause(in_a_row: u32) -> Option<Duration> {
    match in_a_row {
        0 | 1 => Some(Duration::ZERO),
        ENDS.. => None,
        row => Some(FIRST.saturating_mul(1 << (row - 2)).min(LAST)),
    }
}

fn failure(name: &ModelName, death: &Death, again: bool) -> Failure {
    let what = if again {
        "it is loaded again later"
    } else {
        "it is not loaded again until somebody asks for it"
    };
    let (count, how) = (death.in_a_row, &death.how);
    let message =
        format!("the engine of model `{name}` ended {count} times soon after it was loaded, last with {how}; {what}");
    Failure::new(Reason::ModelNotLoadable, message).with("model", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_in_a_row_waits_longer_and_the_last_one_for_a_person() {
        let pauses: Vec<_> = (1..=11).map(|row| pause(row).map(|pause| pause.as_secs())).collect();
        let expected = [0, 2, 4, 8, 16, 32, 64, 128, 256].map(Some);
        assert_eq!(pauses[..9], expected);
        assert_eq!(pauses[9..], [None, None]);
    }

    #[test]
    fn content_that_is_refused_waits_and_other_content_does_not() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let why = || Failure::new(Reason::ModelNotLoadable, "no");
        let mut refusals = Refusals::add(None, &one, why());
        for row in 1..9 {
            let Again::Not { until: Some(until), .. } = refusals.again(&one) else {
                panic!("{refusals:?}");
            };
            assert_eq!(until.duration_since(refusals.last).ok(), pause(row + 1));
            assert!(matches!(refusals.again(&other), Again::Now));
            refusals = Refusals::add(Some(refusals), &one, why());
        }
        let Again::Not { until: None, why } = refusals.again(&one) else {
            panic!("{refusals:?}");
        };
        assert!(why.message.contains("until it is another one"), "{}", why.message);
        assert_eq!(Refusals::add(Some(refusals), &other, why).in_a_row, 1);
    }
}
