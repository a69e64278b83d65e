//! Blobs that running creates have stored or found and that no manifest names yet: our own pruning leaves them alone.
//!
//! A create pins a digest before it looks whether the blob is there, and unpins after its manifest is written. Pruning
//! reads the manifests and removes while it holds the same mutex. So it sees the pin, or else the manifest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::Digest;

/// How many creates need each digest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<HashMap<Digest, usize>>>);

/// Keeps the blobs of one create.
#[derive(Debug)]
pub(crate) struct Pinned {
    pins: Pins,
    digests: Vec<Digest>,
}

/// While it lives no pin comes or goes.
#[derive(Debug)]
pub(crate) struct Frozen<'a>(MutexGuard<'a, HashMap<Digest, usize>>);

// === impl Pins ===

impl Pins {
    pub(crate) fn begin(&self) -> Pinned {
        Pinned {
            pins: self.clone(),
            digests: Vec::new(),
        }
    }

    pub(crate) fn freeze(&self) -> Frozen<'_> {
        Frozen(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Pinned ===

impl Pinned {
    pub(crate) fn pin(&mut self, digest: &Digest) {
        *self.pins.freeze().0.entry(digest.clone()).or_default() += 1;
        self.digests.push(digest.clone());
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.freeze();
        for digest in &self.digests {
            if let Some(count) = pins.0.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    pins.0.remove(digest);
                }
            }
        }
    }
}

// === impl Frozen ===

impl Frozen<'_> {
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_kept_until_the_last_lets_go() {
        let pins = Pins::default();
        let digest = Digest::of(b"x");
        let (mut one, mut two) = (pins.begin(), pins.begin());
        one.pin(&digest);
        two.pin(&digest);
        drop(one);
        assert!(pins.freeze().has(&digest));
        drop(two);
        assert!(!pins.freeze().has(&digest));
    }
}
