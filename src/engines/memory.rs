//! What this service knows of an engine's memory beyond what the engine tells: which models answered, and which are to stay.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::{Canary, Digest, Level, LoadOptions, ModelName};

/// Of one engine, whatever the number of entries that name it.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Known>);

/// A model that is to stay in memory, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// Above on disk.
    pub level: Level,
    /// How it runs.
    pub options: LoadOptions,
}

#[derive(Debug, Default)]
struct Known {
    warm: HashMap<ModelName, Warm>,
    pins: HashMap<ModelName, Pin>,
    /// Not to stay any more, which their engine does not know yet.
    released: HashMap<ModelName, Pin>,
}

/// A model that answered.
#[derive(Debug)]
struct Warm {
    /// The manifest that it had been loaded from.
    digest: Option<Digest>,
    canary: Canary,
    since: Instant,
}

// === impl Memory ===

impl Memory {
    /// The model answered.
    pub fn warmed(&self, name: &ModelName, digest: Option<Digest>, canary: Canary) {
        let warm = Warm {
            digest,
            canary,
            since: Instant::now(),
        };
        self.lock().warm.insert(name.clone(), warm);
    }

    /// The model left memory, or was loaded anew: that it answered says nothing any more.
    pub fn cooled(&self, name: &ModelName) {
        self.lock().warm.remove(name);
    }

    /// What the model answered since it was loaded from this manifest.
    pub fn canary(&self, name: &ModelName, digest: Option<&Digest>) -> Option<Canary> {
        let known = self.lock();
        let warm = known.warm.get(name)?;
        (warm.digest.as_ref() == digest).then(|| warm.canary.clone())
    }

    /// Only these were in memory when it was asked for; what answered since then may be there although it is not among them.
    pub fn only(&self, asked: Instant, running: impl Fn(&ModelName) -> bool) {
        self.lock()
            .warm
            .retain(|name, warm| warm.since >= asked || running(name));
    }

    /// The model is to stay.
    pub fn pin(&self, name: &ModelName, pin: Pin) {
        self.lock().pins.insert(name.clone(), pin);
    }

    /// The model may go.
    pub fn unpin(&self, name: &ModelName) {
        self.lock().pins.remove(name);
    }

    /// The model may go, and its engine is still to be told.
    pub fn release(&self, name: &ModelName) {
        let mut known = self.lock();
        if let Some(pin) = known.pins.remove(name) {
            known.released.insert(name.clone(), pin);
        }
    }

    /// The models whose engine is to be told that they may go, and how they were to stay.
    pub fn released(&self) -> Vec<(ModelName, Pin)> {
        let known = self.lock();
        known
            .released
            .iter()
            .map(|(name, pin)| (name.clone(), pin.clone()))
            .collect()
    }

    /// The engine of a released model was told.
    pub fn let_go(&self, name: &ModelName) {
        self.lock().released.remove(name);
    }

    /// Whether the model is to stay.
    pub fn pinned(&self, name: &ModelName) -> bool {
        self.lock().pins.contains_key(name)
    }

    /// How ready the model is to stay; none: it may go.
    pub fn pin_of(&self, name: &ModelName) -> Option<Level> {
        self.lock().pins.get(name).map(|pin| pin.level)
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_look_that_is_older_than_the_answer_takes_nothing_away() {
        let memory = Memory::default();
        let name: ModelName = "m".parse().unwrap();
        let canary = Canary {
            check_time: SystemTime::UNIX_EPOCH,
            time_to_first_token: Duration::ZERO,
            text: String::new(),
            timeout: Duration::ZERO,
        };
        let before = Instant::now();
        memory.warmed(&name, None, canary.clone());
        memory.only(before, |_| false);
        assert_eq!(memory.canary(&name, None), Some(canary));
        memory.only(Instant::now() + Duration::from_secs(1), |_| false);
        assert_eq!(memory.canary(&name, None), None);
    }
}
