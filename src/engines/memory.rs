//! What this service knows of an engine's memory beyond what the engine tells: which models answered, and which are to stay.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::model::{Canary, Digest, Level, LoadOptions, ModelName};

/// Of one engine, whatever the number of entries that name it.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Known>);

/// A model that is to stay in memory, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// Above on disk.
    pub level: Level,
    /// How it runs.
    pub options: LoadOptions,
}

#[derive(Debug, Default)]
struct Known {
    /// With the manifest that answered.
    warm: HashMap<ModelName, (Option<Digest>, Canary)>,
    pins: HashMap<ModelName, Pin>,
}

// === impl Memory ===

impl Memory {
    /// The model answered.
    pub fn warmed(&self, name: &ModelName, digest: Option<Digest>, canary: Canary) {
        self.lock().warm.insert(name.clone(), (digest, canary));
    }

    /// The model left memory, or was loaded anew: that it answered says nothing any more.
    pub fn cooled(&self, name: &ModelName) {
        self.lock().warm.remove(name);
    }

    /// What the model answered since it was loaded from this manifest.
    pub fn canary(&self, name: &ModelName, digest: Option<&Digest>) -> Option<Canary> {
        let known = self.lock();
        let (of, canary) = known.warm.get(name)?;
        (of.as_ref() == digest).then(|| canary.clone())
    }

    /// Only these are in memory.
    pub fn only(&self, running: impl Fn(&ModelName) -> bool) {
        self.lock().warm.retain(|name, _| running(name));
    }

    /// The model is to stay.
    pub fn pin(&self, name: &ModelName, pin: Pin) {
        self.lock().pins.insert(name.clone(), pin);
    }

    /// The model may go.
    pub fn unpin(&self, name: &ModelName) {
        self.lock().pins.remove(name);
    }

    /// Whether the model is to stay.
    pub fn pinned(&self, name: &ModelName) -> bool {
        self.lock().pins.contains_key(name)
    }

    /// The models that are to stay.
    pub fn pins(&self) -> Vec<(ModelName, Pin)> {
        let known = self.lock();
        known
            .pins
            .iter()
            .map(|(name, pin)| (name.clone(), pin.clone()))
            .collect()
    }

    /// Values are replaced whole: a panic elsewhere leaves none half-written.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
