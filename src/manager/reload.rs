//! A new configuration in the place of the old one. What runs goes on with what it began with.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::Manager;
use crate::{
    engines::{EngineId, Setup},
    model::{Failure, Level},
};

/// Between two looks whether an engine has become idle.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// What became of reloads.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<Told>);

/// What became of reloads until now.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Reloads that were taken.
    pub taken: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// Why the last one was refused, and when; none when it was taken.
    pub last_failure: Option<(Failure, SystemTime)>,
}

// === impl Manager ===

impl Manager {
    /// Puts this configuration in force. Operations that run keep theirs; whoever asks from now on meets the new one.
    pub fn replace(&self, setup: &Arc<Setup>) {
        let old = self.shared.setup.swap(Arc::clone(setup));
        self.shared.desired.only(setup);
        unpin(&old, setup);
        self.shared.reloads.note(|told| {
            told.taken += 1;
            told.last_failure = None;
        });
        self.shared.changed.notify_waiters();
    }

    /// A reload was refused: the configuration in force stays.
    pub fn refused(&self, why: Failure) {
        self.shared.reloads.note(|told| {
            told.refused += 1;
            told.last_failure = Some((why, SystemTime::now()));
        });
    }

    /// What is to be in force is so already, whatever was refused before.
    pub fn restored(&self) {
        self.shared.reloads.note(|told| told.last_failure = None);
    }

    /// What became of reloads.
    pub fn reloads(&self) -> Told {
        self.shared.reloads.lock().clone()
    }

    /// Returns once no operation works on the engine.
    pub async fn idle(&self, engine: &EngineId) {
        // Looked at again and again: nobody waits for it, and an end is told a moment before it leaves the table.
        while self.operations().any(|(id, _)| id == engine) {
            let changed = self.shared.changed.notified();
            let _early = tokio::time::timeout(IDLE_LOOK, changed).await.is_ok();
        }
    }
}

/// Models that were kept in memory because the configuration wanted it, and now does not, may go.
fn unpin(old: &Setup, new: &Setup) {
    for (entry, engine) in old.supported() {
        let kept = entry
            .desired
            .iter()
            .filter(|desired| desired.spec.level > Level::OnDisk);
        for name in kept.map(|desired| &desired.spec.name) {
            if !new.keeps(engine, name) {
                engine.memory.release(name);
            }
        }
    }
}

// === impl Reloads ===

impl Reloads {
    fn note(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.lock());
    }

    /// Values are replaced whole: a panic elsewhere leaves none half-written.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
