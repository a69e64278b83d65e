//! What is remembered between creates: digests of files that have not changed, and what a create came to.
//!
//! | part | holds |
//! |---|---|
//! | here | the rules |
//! | `table` | a bounded map that forgets what was not used for longest |
//! | `file` | the file in the state directory |
//! | `recipe` | what a model was made from, as one digest |
//!
//! A file is the same when device, number, size and both of its times are: the time of the last change of a file's attributes
//! cannot be set by a program. File systems stamp changes with a coarse clock, so two changes within one of its steps look
//! alike: a file that changed less than two seconds before it was read is not remembered (git's "racy" rule).
//!
//! Losing all of it costs time only. So the file has no lock: of two processes the last one to save wins, and one that cannot
//! save goes on without. Rejected: a database. It is at most a few megabytes, read once and written after minutes of work.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use self::table::Table;
use crate::{
    model::{Digest, ModelName, Provenance},
    source::Stamp,
};

mod file;
pub(super) mod recipe;
mod table;
#[cfg(test)]
mod tests;

/// FAT's steps are the coarsest in use.
const CLOCK: Duration = Duration::from_secs(2);
/// Files, and models, that are remembered.
const MAX_ENTRIES: usize = 4096;
/// Digests of sources of all models together: two megabytes of the file.
const MAX_SOURCES: usize = 32_768;

/// What is remembered. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    tables: Mutex<Tables>,
    /// Held while the file is written, so that an older state never replaces a newer one. Whether a failure was told.
    saving: Mutex<bool>,
}

#[derive(Debug)]
struct Tables {
    files: Table<FileKey, Digest>,
    made: Table<ModelKey, Made>,
}

/// A state of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct FileKey {
    dev: u64,
    ino: u64,
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i64,
    ctime: i64,
}

/// A name in an engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct ModelKey {
    engine: String,
    model: String,
}

/// What a create came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// The manifest that the engine listed afterwards.
    pub(super) manifest: Digest,
    /// What it was made from and how: [`recipe::of`].
    pub(super) recipe: Digest,
    /// The files that were sent, the model's first.
    pub(super) sources: Vec<Digest>,
    /// The model layer that the engine stored; Ollama rewrites what it is sent.
    pub(super) stored: Digest,
    /// What callers are told of it; absent in files of older versions.
    #[serde(default)]
    pub(super) provenance: Option<Provenance>,
}

// === impl Memory ===

impl Memory {
    /// What was remembered in this folder, which is made if it is not there. A file that cannot be used is as good as none.
    pub fn open(folder: &Path) -> Self {
        let (files, made) = file::load(folder);
        let tables = Tables {
            files: Table::new(MAX_ENTRIES, files),
            made: Table::new(MAX_ENTRIES, made),
        };
        Self(Arc::new(Inner {
            folder: folder.to_owned(),
            tables: Mutex::new(tables),
            saving: Mutex::new(false),
        }))
    }

    /// The digest of the file that has this stamp.
    pub(super) fn get(&self, stamp: &Stamp) -> Option<Digest> {
        self.tables().files.get(&FileKey::of(stamp)?)
    }

    /// Forgets a digest that has turned out to be wrong: whether it was remembered. Blocks while that is saved.
    pub(super) fn forget(&self, stamp: &Stamp) -> bool {
        let forgotten = FileKey::of(stamp).is_some_and(|key| self.tables().files.forget(&key));
        if forgotten {
            self.save();
        }
        forgotten
    }

    /// Remembers one digest: as [`Memory::put_all`].
    #[cfg(test)]
    fn put(&self, stamp: &Stamp, digest: Digest, began: SystemTime) {
        self.put_all([(*stamp, digest)], began);
    }

    /// Remembers digests of files whose stamps were the same before and after they were read, which `began` then; those that
    /// changed too shortly before are left out. Blocks while it is saved.
    pub(super) fn put_all(&self, digests: impl IntoIterator<Item = (Stamp, Digest)>, began: SystemTime) {
        let mut changed = false;
        let mut tables = self.tables();
        for (stamp, digest) in digests {
            if let Some(key) = FileKey::of(&stamp).filter(|key| key.settled(began)) {
                changed |= tables.files.put(key, digest);
            }
        }
        drop(tables);
        if changed {
            self.save();
        }
    }

    /// What the last create of this name in this engine came to.
    pub(super) fn made(&self, engine: &str, model: &ModelName) -> Option<Made> {
        self.tables().made.get(&ModelKey::of(engine, model))
    }

    /// Remembers what a create came to. Blocks while it is saved.
    pub(super) fn note_made(&self, engine: &str, model: &ModelName, made: Made) {
        let mut tables = self.tables();
        let changed = tables.made.put(ModelKey::of(engine, model), made);
        tables.bound();
        drop(tables);
        if changed {
            self.save();
        }
    }

    /// Writes what is remembered now. Tells the first failure of several.
    fn save(&self) {
        let mut told = self.0.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, made) = {
            let tables = self.tables();
            (tables.files.oldest_first(), tables.made.oldest_first())
        };
        match file::save(&self.0.folder, files, made) {
            Ok(()) => *told = false,
            Err(error) if !*told => {
                *told = true;
                tracing::warn!(%error, "digests cannot be kept in the state directory: they are forgotten when the service ends");
            }
            Err(_) => {}
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tables ===

impl Tables {
    /// Forgets models until their sources are few enough.
    fn bound(&mut self) {
        while self.made.values().map(|made| made.sources.len()).sum::<usize>() > MAX_SOURCES {
            self.made.forget_oldest();
        }
    }
}

// === impl FileKey ===

impl FileKey {
    /// None where the times are not those of a clock.
    fn of(stamp: &Stamp) -> Option<Self> {
        Some(Self {
            dev: stamp.dev,
            ino: stamp.ino,
            size: stamp.size,
            mtime: stamp.mtime_ns.try_into().ok()?,
            ctime: stamp.ctime_ns.try_into().ok()?,
        })
    }

    /// Whether every change after `began` gives another key.
    fn settled(&self, began: SystemTime) -> bool {
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let trusted = i64::try_from(began.saturating_sub(CLOCK).as_nanos()).unwrap_or(0);
        self.mtime.max(self.ctime) < trusted
    }
}

// === impl ModelKey ===

impl ModelKey {
    fn of(engine: &str, model: &ModelName) -> Self {
        Self {
            engine: engine.to_owned(),
            model: model.canonical().to_ascii_lowercase(),
        }
    }
}
