//! Probes one engine.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{FAILURES, PROBE_TIMEOUT, Publisher, Seen};
use crate::{
    backend::{Error, Kind},
    engines::Engine,
    model::{Capability, Running},
};

/// From one probe to the next at least, however many calls fail meanwhile and ask for one.
const GAP: Duration = Duration::from_millis(100);

/// After a failure that may be the first of an outage: it is known within seconds, whatever the interval.
pub(super) const SUSPECT: Duration = Duration::from_millis(500);

/// The task that probes one engine. Ends when it is cancelled.
pub(super) struct Prober {
    publisher: Publisher,
    engine: Engine,
    interval: Duration,
    changed: Arc<Notify>,
    seen: Seen,
    failures: u32,
}

// === impl Prober ===

impl Prober {
    pub(super) fn new(publisher: Publisher, engine: Engine, interval: Duration, changed: Arc<Notify>) -> Self {
        Self {
            publisher,
            engine,
            interval,
            changed,
            seen: Seen::default(),
            failures: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let changed = Arc::clone(&self.changed);
        let mut departures = self.engine.backend.departures();
        loop {
            // Registered before the probe, so that a change during it is probed again.
            let mut nudge = std::pin::pin!(changed.notified());
            nudge.as_mut().enable();
            if let Some(departures) = &mut departures {
                departures.mark_unchanged();
            }
            let soonest = Instant::now() + GAP;
            let probed = timeout(PROBE_TIMEOUT, self.look()).await;
            let late = || {
                Error::new(
                    Kind::Unreachable,
                    format!("no answer within {} seconds", PROBE_TIMEOUT.as_secs()),
                )
            };
            let before = Arc::clone(&self.seen.running);
            self.note(probed.unwrap_or_else(|_| Err(late())));
            self.publisher.publish(&self.engine, &self.seen);
            let stays = |old: &Running| self.seen.running.iter().any(|running| running.is(&old.name));
            if !before.iter().all(stays) {
                // Who keeps models in memory learns of one that is gone, after those who use it.
                changed.notify_waiters();
            }
            // Jitter of a tenth keeps probes of many services apart.
            let suspect = self.failures > 0 && self.seen.answers;
            let wait = if suspect {
                self.interval.min(SUSPECT)
            } else {
                self.interval
            };
            let wait = wait.mul_f64(0.9 + 0.2 * fastrand::f64());
            let departed = async {
                let changed = match &mut departures {
                    Some(departures) => departures.changed().await.is_ok(),
                    None => false,
                };
                if !changed {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = nudge => {}
                () = departed => {}
            }
            tokio::time::sleep_until(soonest).await;
        }
    }

    async fn look(&self) -> Result<Seen, Error> {
        let backend = &self.engine.backend;
        let version = backend.probe().await?;
        let models = backend.list().await?;
        // An unchanged list keeps its allocation: most probes change nothing.
        let same = models.len() == self.seen.models.len()
            && models
                .iter()
                .all(|model| self.seen.models.get(&model.name).is_some_and(|known| known == model));
        let models = if same {
            Arc::clone(&self.seen.models)
        } else {
            Arc::new(models.into_iter().map(|model| (model.name.clone(), model)).collect())
        };
        let (asked, pinned) = (Instant::now(), self.engine.memory.pins());
        let running = if self.engine.can(Capability::ListRunning) {
            backend.running().await?
        } else {
            Vec::new()
        };
        // What left memory must answer anew.
        self.engine
            .memory
            .only(asked, |name| running.iter().any(|running| running.is(name)));
        let running = if running == *self.seen.running {
            Arc::clone(&self.seen.running)
        } else {
            Arc::new(running)
        };
        let pinned = pinned.into_iter().map(|(name, pin)| (name, pin.level));
        Ok(Seen {
            pinned: Arc::new(pinned.collect()),
            running,
            answers: true,
            version,
            last_time: Some(SystemTime::now()),
            failure: None,
            models,
        })
    }

    fn note(&mut self, probed: Result<Seen, Error>) {
        let before = self.seen.answers;
        match probed {
            Ok(seen) => {
                self.failures = 0;
                self.seen = seen;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.seen.answers &= self.failures < FAILURES;
                self.seen.failure = Some(error);
            }
        }
        if before != self.seen.answers {
            let failure = self.seen.failure.as_ref().map(tracing::field::display);
            let endpoint = self.engine.backend.endpoint();
            tracing::info!(
                engine.endpoint = endpoint,
                answers = self.seen.answers,
                failure,
                "engine changed state"
            );
        }
    }
}
