//! One piece of work on a name at a time, also when its operation has ended before it.
//!
//! A create that was cancelled goes on in Ollama; what is asked for next of that name waits for its end, or the older
//! content would replace the newer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;

use crate::model::ModelName;

type Lock = tokio::sync::Mutex<()>;

/// Names that are worked on.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<ModelName, Weak<Lock>>>);

// === impl Names ===

impl Names {
    /// The name, when nothing is going on with it.
    pub(super) fn try_hold(&self, name: &ModelName) -> Option<OwnedMutexGuard<()>> {
        self.lock(name).try_lock_owned().ok()
    }

    /// Waits for the name.
    pub(super) async fn hold(&self, name: &ModelName) -> OwnedMutexGuard<()> {
        self.lock(name).lock_owned().await
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
}
