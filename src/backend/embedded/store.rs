//! A model store on disk, in Ollama's layout.
//!
//! | file | holds |
//! |---|---|
//! | `layout` | where things lie; bounded reading |
//! | `manifest` | manifest and configuration, as bytes |
//! | `blobs` | files that appear whole or not at all |
//! | `scan` | which whole models are there; the cache |
//! | `facts` | what a header tells |
//! | `lock`, `space`, `pins` | who else is at work: another process, other creates |
//! | `sweep` | removing what nobody needs |
//! | `stamp` | which state of a file was seen |
//!
//! A model exists from the moment that its manifest is renamed into place; all its blobs are durable by then. So a process
//! that is killed at any point leaves whole models, temporary files of its own, and perhaps blobs that nobody names.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use self::{
    blobs::Temporary,
    layout::Layout,
    lock::{Lock, LockError},
    manifest::{MAX_MANIFEST, Manifest},
    pins::{Pinned, Pins},
    scan::Scan,
    space::Space,
};
use super::{
    super::{Error, Kind},
    registry::SettingsError,
    runner::RunnerSettingsError,
};
use crate::model::{Digest, ModelInfo, ModelName};

pub(super) use self::space::Room;

pub(super) mod blobs;
mod change;
pub(super) mod facts;
pub(super) mod layout;
mod lock;
pub(super) mod manifest;
mod pins;
mod scan;
mod space;
pub(super) mod stamp;
mod sweep;

/// Why a store could not be opened. For the operator, who named the folder.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// One process at a time has a store.
    #[error(
        "the store {} is in use by another process{}: stop that, or choose another store",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The store.
        path: PathBuf,
        /// The process that has it, when it could be told.
        pid: Option<u32>,
    },
    /// The client of registries could not be made.
    #[error(transparent)]
    Registries(#[from] SettingsError),
    /// How models are to run.
    #[error(transparent)]
    Runner(#[from] RunnerSettingsError),
    /// A folder could not be made, or the lock not be asked for.
    #[error("the store {} cannot be opened", path.display())]
    Io {
        /// The store.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An open store. One process has it.
#[derive(Debug)]
pub(super) struct Store {
    layout: Layout,
    scan: Mutex<Scan>,
    space: Space,
    pins: Pins,
    /// Held while it is decided whether a name is free and its manifest is written.
    commits: Mutex<()>,
    _lock: Lock,
}

/// What replaces a manifest, and how it went.
#[derive(Debug)]
pub(super) struct Commit<'a> {
    pub(super) name: &'a ModelName,
    pub(super) manifest: &'a Manifest,
    /// The manifest to the byte: a registry's is stored as it came, so that its digest stays.
    pub(super) bytes: &'a [u8],
    /// Take the name whatever has it by now.
    pub(super) replace: bool,
    /// Else only if [`Store::present`] still says what it said when it was decided that the name is free.
    pub(super) over: Option<Digest>,
}

/// What came of a commit.
#[derive(Debug)]
pub(super) enum Committed {
    /// It is written, and all its blobs are there.
    Whole,
    /// Another process removed a blob meanwhile. The manifest has been taken back.
    BlobVanished,
}

// === impl Store ===

impl Store {
    /// Opens or makes a store, and removes what a dead process left in it.
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let layout = Layout::at(path);
        let path = || layout.root().to_owned();
        let io = |source| OpenError::Io { path: path(), source };
        layout.create().map_err(io)?;
        let lock = Lock::take(&layout.lock()).map_err(|error| match error {
            LockError::Held(pid) => OpenError::Locked { path: path(), pid },
            LockError::Io(source) => io(source),
        })?;
        sweep::at_open(&layout);
        Ok(Self {
            layout,
            scan: Mutex::default(),
            space: Space::default(),
            pins: Pins::default(),
            commits: Mutex::default(),
            _lock: lock,
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A cheap, real answer: the folders can be reached.
    pub(super) fn probe(&self) -> Result<(), Error> {
        for folder in [self.layout.manifests(), self.layout.blobs()] {
            std::fs::read_dir(folder).map_err(gone)?;
        }
        Ok(())
    }

    /// All whole models.
    pub(super) fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        let mut scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.all(&self.layout).map_err(gone)
    }

    /// The whole model of this name, in whatever spelling.
    pub(super) fn find(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        let mut scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.find(&self.layout, name).map_err(gone)
    }

    /// The manifest file of a name as it is now, whole or not: its digest, and what it says where it can be read.
    pub(super) fn present(&self, name: &ModelName) -> Option<(Digest, Option<Manifest>)> {
        let bytes = self.read(name)?;
        Some((Digest::of(&bytes), Manifest::read(&bytes).ok()))
    }

    /// The manifest file of a name, to the byte.
    pub(super) fn stored(&self, name: &ModelName) -> Option<Vec<u8>> {
        self.read(name)
    }

    fn read(&self, name: &ModelName) -> Option<Vec<u8>> {
        layout::read_regular(&self.layout.manifest(name), MAX_MANIFEST).ok()
    }

    /// Keeps blobs from our own pruning.
    pub(super) fn pins(&self) -> Pinned {
        self.pins.begin()
    }

    /// Promises room for `bytes` more.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Room, Error> {
        self.space.reserve(&self.layout.temporary(), bytes)
    }

    /// Room that is promised and not used.
    #[cfg(test)]
    pub(super) fn promised(&self) -> u64 {
        self.space.promised()
    }

    /// A file to write to, which is removed unless it is published.
    pub(super) fn temporary(&self) -> Result<Temporary, Error> {
        Temporary::create(&self.layout).map_err(|error| failed("make a file", error))
    }

    /// Writing a file failed when `need` bytes were left.
    pub(super) fn write_failed(&self, action: &str, need: u64, error: io::Error) -> Error {
        if out_of_space(&error) {
            let have = space::free(&self.layout.temporary()).unwrap_or(0);
            // Else it is something other than bytes that the file system lacks.
            if have < need {
                return space::disk_full(need, have).because(error);
            }
        }
        failed(action, error)
    }

    /// Removes those of the blobs that no manifest names and no running create needs.
    pub(super) fn remove_unused(&self, digests: impl IntoIterator<Item = Digest>) {
        sweep::unused(&self.layout, digests, &self.pins);
    }

    /// Writes a manifest whose blobs are stored and pinned.
    pub(super) fn commit(&self, commit: &Commit<'_>) -> Result<Committed, Error> {
        let Commit {
            name,
            manifest,
            bytes,
            replace,
            over,
        } = commit;
        let action = "write the manifest";
        let _one_at_a_time = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.read(name);
        if !replace && old.as_deref().map(Digest::of) != *over {
            // Another create, or another process, was faster.
            return Err(exists(name));
        }
        let need = bytes.len() as u64;
        blobs::commit(&self.layout, name, bytes).map_err(|error| self.write_failed(action, need, error))?;
        // An Ollama on the same folder may have pruned blobs that no manifest named until now.
        let whole = manifest
            .blobs()
            .all(|layer| blobs::present(&self.layout, &layer.digest, layer.size));
        if !whole {
            match old {
                Some(old) => blobs::commit(&self.layout, name, &old),
                None => blobs::take_back(&self.layout, name, bytes),
            }
            .map_err(|error| failed("take the manifest back", error))?;
            return Ok(Committed::BlobVanished);
        }
        if let Some(old) = old.and_then(|old| Manifest::read(&old).ok()) {
            self.remove_unused(old.blobs().map(|layer| layer.digest.clone()));
        }
        Ok(Committed::Whole)
    }

    /// The spelling in which a name lies on disk already, whole or not; else its own.
    pub(super) fn spelling(&self, name: &ModelName) -> ModelName {
        fn search(folder: &Path, wanted: &[&str]) -> Option<Vec<String>> {
            let Some((first, rest)) = wanted.split_first() else {
                return Some(Vec::new());
            };
            let mut same: Vec<String> = std::fs::read_dir(folder)
                .ok()?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| name.eq_ignore_ascii_case(first))
                .collect();
            same.sort();
            same.into_iter().find_map(|name| {
                let mut found = search(&folder.join(&name), rest)?;
                found.insert(0, name);
                Some(found)
            })
        }
        search(&self.layout.manifests(), &name.parts())
            .and_then(|parts| match parts.as_slice() {
                [host, namespace, model, tag] => ModelName::from_parts(host, namespace, model, tag).ok(),
                _ => None,
            })
            .unwrap_or_else(|| name.clone())
    }
}

/// The name is taken.
pub(super) fn exists(name: &ModelName) -> Error {
    Error::new(
        Kind::Exists,
        format!("model `{name}` is there with other content: ask for it to be replaced, or choose another name"),
    )
}

/// A step on the store failed. The error's text may name paths, so it goes to the log only.
pub(super) fn failed(action: &str, error: io::Error) -> Error {
    if out_of_space(&error) {
        return Error::new(
            Kind::DiskFull { need: 0, have: 0 },
            format!("the store's disk became full (to {action}): make room, or choose a store on another disk"),
        )
        .because(error);
    }
    let way_out = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: the operator may mount it writable, or configure another store"
        }
        io::ErrorKind::PermissionDenied => {
            "the system denies it: the operator may give this service the right to read and write there"
        }
        io::ErrorKind::NotFound => {
            "a part of it is gone: the operator may keep other processes from removing its folders and files"
        }
        kind => return Error::new(Kind::Internal, format!("the store could not {action}: {kind}")).because(error),
    };
    Error::new(Kind::StoreUnusable, format!("it could not {action}, for {way_out}")).because(error)
}

pub(super) fn out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn gone(error: io::Error) -> Error {
    Error::new(
        Kind::Unreachable,
        format!("the store's folder cannot be read: {}", error.kind()),
    )
    .because(error)
}
