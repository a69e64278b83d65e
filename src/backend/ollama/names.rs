//! One piece of work on a name at a time, also when its operation has ended before it.
//!
//! A create that was cancelled goes on in Ollama; what is asked for next of that name waits for its end, or the older
//! content would replace the newer. Work that is followed waits as long as it takes, says so, and can be cancelled; a short
//! question waits a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::{Shared, silence};
use crate::{
    backend::{Error, Kind, call::TaskReporter},
    model::{Event, ModelName},
};

/// How often Ollama is asked whether it still runs.
const SILENCE: Duration = Duration::from_secs(30);
/// For work that nobody can cancel: as long as the last step of a create may take.
const SOON: Duration = Duration::from_secs(5);

type Lock = tokio::sync::Mutex<()>;
/// A name that is held.
pub(super) type Held = OwnedMutexGuard<()>;

/// Names that are worked on.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<ModelName, Weak<Lock>>>);

// === impl Shared ===

impl Shared {
    /// Waits for the name, until the work is no longer wanted.
    pub(super) async fn held(&self, name: &ModelName, reporter: &TaskReporter) -> Result<Held, Error> {
        if let Some(held) = self.names.try_hold(name) {
            return Ok(held);
        }
        let text = "Ollama finishes an earlier create of this name first";
        reporter.report(Event::Text(text.to_owned())).await;
        let free = async { Ok(silence::bear(&self.client, reporter, SILENCE, self.names.hold(name)).await) };
        // Rare, and larger than the work of most callers.
        let held = Box::pin(reporter.unless_stopped(free)).await?;
        reporter.report(Event::Text(String::new())).await;
        Ok(held)
    }
}

// === impl Names ===

impl Names {
    /// The name, when nothing is going on with it.
    fn try_hold(&self, name: &ModelName) -> Option<Held> {
        self.lock(name).try_lock_owned().ok()
    }

    async fn hold(&self, name: &ModelName) -> Held {
        self.lock(name).lock_owned().await
    }

    /// Waits for the name for a moment.
    pub(super) async fn hold_soon(&self, name: &ModelName) -> Result<Held, Error> {
        timeout(SOON, self.hold(name)).await.map_err(|_late| {
            let message = format!("Ollama finishes an earlier create of `{name}`: ask again when that is over");
            Error::new(Kind::Busy(None), message)
        })
    }

    fn lock(&self, name: &ModelName) -> Arc<Lock> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = names.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        names.insert(name.clone(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_held_once_and_forgotten_when_it_is_free() {
        let names = Names::default();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let held = names.hold(&a).await;
        assert!(names.try_hold(&"A:latest".parse().unwrap()).is_none());
        drop(names.try_hold(&b).unwrap());
        drop(held);
        drop(names.try_hold(&a).unwrap());
        drop(names.try_hold(&b).unwrap());
        assert_eq!(
            names.0.lock().unwrap().len(),
            1,
            "what was free when it was looked at is gone"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_question_waits_a_moment() {
        let names = Names::default();
        let name = "a".parse().unwrap();
        let held = names.hold(&name).await;
        let error = names.hold_soon(&name).await.unwrap_err();
        assert_eq!(error.kind, Kind::Busy(None), "{error}");
        let (second, ()) = tokio::join!(names.hold_soon(&name), async {
            tokio::time::sleep(SOON / 2).await;
            drop(held);
        });
        second.unwrap();
    }
}
