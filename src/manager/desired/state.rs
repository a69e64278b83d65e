//! How the configured models are, as far as their keepers know it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    engines::{Desired, Entry, Setup},
    manager::{drift::Sight, restart::Refusals},
    model::{Digest, Failure, Level, ModelName},
};

/// How the configured models are, by backend and name.
#[derive(Debug, Default)]
pub struct States(Mutex<HashMap<(String, ModelName), State>>);

/// How a configured model is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// None: it is not there.
    pub reached: Option<Level>,
    /// The digest that the engine lists now.
    pub current: Option<Digest>,
    /// What was seen of it last that was as it should be.
    pub(super) seen: Option<Sight>,
    /// Its engine refuses to load it.
    pub(super) refused: Option<Refusals>,
    /// Why it is below its level.
    pub failure: Option<Failure>,
    /// The operation that brings it there.
    pub operation: Option<uuid::Uuid>,
    /// When it is tried again.
    pub next_attempt: Option<SystemTime>,
}

// === impl States ===

impl States {
    /// How a configured model is; nothing is known before it was looked at.
    pub fn get(&self, backend: &str, name: &ModelName) -> State {
        self.lock()
            .get(&(backend.to_owned(), name.clone()))
            .cloned()
            .unwrap_or_default()
    }

    /// Forgets models that are not configured any more.
    pub(in crate::manager) fn only(&self, setup: &Setup) {
        self.lock().retain(|(backend, name), _| {
            let entry = setup.entries.iter().find(|entry| entry.name == *backend);
            entry.is_some_and(|entry| entry.desired.iter().any(|desired| desired.spec.name == *name))
        });
    }

    pub(super) fn update(&self, entry: &Entry, desired: &Desired, update: impl FnOnce(&mut State)) {
        update(
            self.lock()
                .entry((entry.name.clone(), desired.spec.name.clone()))
                .or_default(),
        );
    }

    /// Values are replaced whole: a panic elsewhere leaves none half-written.
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, ModelName), State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    pub(super) fn at(level: Level, digest: Digest) -> Self {
        Self {
            reached: Some(level),
            seen: Some(Sight {
                digest: digest.clone(),
                time: SystemTime::now(),
            }),
            current: Some(digest),
            ..Self::default()
        }
    }

    /// It is not as it should be. What was seen of it stays known.
    pub(super) fn fall(&mut self, failure: Option<Failure>) {
        *self = Self {
            failure,
            seen: self.seen.take(),
            refused: self.refused.take(),
            ..Self::default()
        };
    }
}
