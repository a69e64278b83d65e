//! Whether engines answer and what they list: the only writer of health.
//!
//! Each engine is probed periodically, with jitter, one probe at a time, under a timeout of its own; a change of what may be
//! there nudges it. It goes down after three failed probes in a row, of which two follow the first within seconds, and comes up
//! after one good one: an engine that flaps for a moment takes nobody out of service, one that is back is used at once. Nothing
//! counts as ready before it has been seen to be, and a question about health never reaches an engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, watch};

use crate::{
    backend::{Backend, Error},
    engines::{Engine, Entry, Setup},
    model::{Capability, Level, ModelInfo, ModelName, Protocol, Running},
};

mod health;
mod prober;

pub use self::health::Serving;
pub use crate::engines::Desired;

/// Failed probes in a row until an engine counts as down.
const FAILURES: u32 = 3;
/// An engine that has not answered by then has failed the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How everything is: one complete value.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// In the order of the configuration.
    pub backends: Vec<BackendState>,
    /// The service is shutting down: nothing serves any more.
    pub draining: bool,
}

/// How one backend is.
#[derive(Debug, Clone)]
pub struct BackendState {
    /// The entry; its engine is none when the framework is not supported.
    pub entry: Arc<Entry>,
    /// What the last probes saw.
    pub seen: Seen,
}

/// What the last probes of an engine saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// It answers. False before the first answer.
    pub answers: bool,
    /// Its version, when it has told it.
    pub version: String,
    /// When it last answered.
    pub last_time: Option<SystemTime>,
    /// Why the last probe failed.
    pub failure: Option<Error>,
    /// The models it listed last.
    pub models: Arc<BTreeMap<ModelName, Arc<ModelInfo>>>,
    /// The models in its memory.
    pub running: Arc<Vec<Running>>,
    /// The models that were pinned before it told of its memory: what is pinned now may not be among the others yet.
    pub pinned: Arc<BTreeMap<ModelName, Level>>,
}

/// Publishes readiness.
#[derive(Debug, Clone)]
pub struct Publisher {
    readiness: watch::Sender<Arc<Readiness>>,
}

// === impl Publisher ===

impl Publisher {
    /// Nothing has been seen yet.
    pub fn new(setup: &Setup) -> Self {
        let state = |entry: &Arc<Entry>| BackendState {
            entry: Arc::clone(entry),
            seen: Seen::default(),
        };
        let backends = setup.entries.iter().map(state).collect();
        Self {
            readiness: watch::Sender::new(Arc::new(Readiness {
                backends,
                draining: false,
            })),
        }
    }

    /// The value that changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Readiness>> {
        self.readiness.subscribe()
    }

    /// Another configuration is in force. What was seen of an engine that stays is not forgotten.
    pub fn replace(&self, setup: &Setup) {
        self.update(|readiness| {
            let seen = |entry: &Entry| {
                let engine = entry.engine.as_ref()?;
                let known = |state: &&BackendState| state.entry.engine.as_ref().is_some_and(|own| own.is(engine));
                Some(readiness.backends.iter().find(known)?.seen.clone())
            };
            let state = |entry: &Arc<Entry>| BackendState {
                entry: Arc::clone(entry),
                seen: seen(entry).unwrap_or_default(),
            };
            readiness.backends = setup.entries.iter().map(state).collect();
        });
    }

    /// Probes an engine, until it is dropped. `changed` asks for a probe at once.
    pub async fn probe(self, engine: Engine, interval: Duration, changed: Arc<Notify>) {
        prober::Prober::new(self, engine, interval, changed).run().await;
    }

    /// From now on nothing serves.
    pub fn drain(&self) {
        self.update(|readiness| readiness.draining = true);
    }

    fn publish(&self, engine: &Engine, seen: &Seen) {
        self.update(|readiness| {
            for state in &mut readiness.backends {
                if state.entry.engine.as_ref().is_some_and(|own| own.is(engine)) {
                    state.seen = seen.clone();
                }
            }
        });
    }

    fn update(&self, update: impl FnOnce(&mut Readiness)) {
        self.readiness.send_modify(|readiness| update(Arc::make_mut(readiness)));
    }
}

// === impl BackendState ===

impl BackendState {
    /// The engine, when the framework is supported.
    pub fn backend(&self) -> Option<&dyn Backend> {
        self.entry.engine.as_ref().map(|engine| &*engine.backend)
    }

    /// Where the engine is; empty without one.
    pub fn endpoint(&self) -> String {
        self.backend().map(Backend::endpoint).unwrap_or_default()
    }

    /// Where callers send inference and what it speaks; nothing when each model has an endpoint of its own.
    pub fn inference(&self) -> (String, Vec<Protocol>) {
        let protocols = self.backend().map(Backend::protocols).unwrap_or_default();
        let endpoint = match &self.entry.advertise {
            Some(advertised) => advertised.clone(),
            None if protocols.is_empty() => String::new(),
            None => self.endpoint(),
        };
        (endpoint, protocols)
    }

    /// What it can do now.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        self.backend().map(Backend::capabilities).unwrap_or_default()
    }

    /// Every configured model that counts is at its level.
    pub fn satisfied(&self) -> bool {
        self.entry
            .desired
            .iter()
            .filter(|desired| desired.counts())
            .all(|desired| self.has(desired))
    }

    /// The model is listed, with the pinned digest when one is pinned, and at its level.
    pub fn has(&self, desired: &Desired) -> bool {
        self.level(desired).is_some_and(|level| level >= desired.spec.level)
    }

    /// A listed model is at the level at which it is kept; none when it is not listed.
    pub fn keeps(&self, name: &ModelName) -> Option<bool> {
        let model = self.seen.models.get(name)?;
        let level = self.entry.engine.as_ref()?.level(model, &self.seen.running);
        Some(self.seen.pinned.get(name).is_none_or(|pinned| level >= *pinned))
    }

    /// How ready a configured model is; none when it is not there, or is not the pinned one.
    pub fn level(&self, desired: &Desired) -> Option<Level> {
        let model = self.seen.models.get(&desired.spec.name)?;
        let right = desired.spec.digest.as_ref().is_none_or(|pin| *pin == model.digest);
        let engine = self.entry.engine.as_ref().filter(|_| right)?;
        Some(engine.level(model, &self.seen.running))
    }
}

#[cfg(test)]
mod tests;
