//! The pins that callers set, in the state directory: a promise outlives a restart of who made it.
//!
//! What the configuration keeps in memory is not here: it may say otherwise by the next start. A pin is written before its
//! caller hears that it holds. When it cannot be written it holds all the same, until the service ends; that is told once.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    backend::state_file::StateFile,
    engines::{Pin, Setup},
    manager::Manager,
    model::ModelName,
};

const FILE: StateFile = StateFile {
    name: "pins.json",
    format: "model-control pins",
    version: 1,
    // Thousands of pins; no machine holds as many models.
    max_size: 4 << 20,
};

/// What the file holds, and where it is; none of a service that has no state directory.
#[derive(Debug, Default)]
pub(in crate::manager) struct Kept(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    folder: PathBuf,
    written: Vec<Promise>,
    /// Whether it was said that it cannot be written.
    told: bool,
}

/// A pin and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Promise {
    /// What tells the engine from others.
    engine: String,
    model: ModelName,
    pin: Pin,
}

#[derive(Serialize, Deserialize)]
struct Document {
    pins: Vec<Promise>,
}

// === impl Manager ===

impl Manager {
    /// Takes over the pins of the service that ran before in this folder, for the engines that are configured still.
    pub async fn restore_pins(&self, folder: &Path) {
        let from = folder.to_owned();
        let read = tokio::task::spawn_blocking(move || FILE.load::<Document>(&from)).await;
        let written = match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(document) => document.pins,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "pins of an earlier run cannot be read: what they kept may leave memory");
                }
                Vec::new()
            }
        };
        let setup = self.setup();
        for promise in &written {
            let engine = setup
                .supported()
                .find(|(_, engine)| engine.id.as_str() == promise.engine);
            if let Some((_, engine)) = engine.filter(|(_, engine)| !setup.keeps(engine, &promise.model)) {
                engine.memory.pin(&promise.model, promise.pin.clone());
            }
        }
        *self.shared.pins.0.lock().await = Some(Known {
            folder: folder.to_owned(),
            written,
            told: false,
        });
    }

    /// Writes the pins when they are others than were written.
    pub(in crate::manager) async fn keep_pins(&self) {
        let mut kept = self.shared.pins.0.lock().await;
        let Some(known) = &mut *kept else { return };
        let pins = of(&self.setup());
        if pins == known.written {
            return;
        }
        let (folder, document) = (known.folder.clone(), Document { pins: pins.clone() });
        let saved = tokio::task::spawn_blocking(move || FILE.save(&folder, document)).await;
        match saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => (known.written, known.told) = (pins, false),
            Err(error) if !known.told => {
                known.told = true;
                tracing::warn!(%error, "pins cannot be kept in the state directory: they are forgotten when the service ends");
            }
            Err(_) => {}
        }
    }
}

/// The pins of all engines that callers set, in one order.
fn of(setup: &Arc<Setup>) -> Vec<Promise> {
    let mut pins = Vec::new();
    for (_, engine) in setup.supported() {
        for (model, pin) in engine.memory.pins() {
            let promise = Promise {
                engine: engine.id.as_str().to_owned(),
                model,
                pin,
            };
            if !pins.contains(&promise) && !setup.keeps(engine, &promise.model) {
                pins.push(promise);
            }
        }
    }
    pins.sort_by_cached_key(|promise| (promise.engine.clone(), promise.model.canonical()));
    pins
}
