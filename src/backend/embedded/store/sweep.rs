//! Removes what nobody needs, and nothing when in doubt.
//!
//! - At the start: our temporary files, which a dead process left (we have the lock); and blobs that no manifest names and
//!   that are older than an hour, as Ollama does.
//!   Partial files of downloads stay for a week, unless their blob is there by now.
//! - After a model was replaced: blobs of the old manifest that no manifest names.
//!
//! No blob is removed while any manifest cannot be read, for nobody knows what it names; nor at the start while somebody
//! else downloads or writes into `blobs/`, for its manifest comes last. Partial files there are not ours: Ollama removes
//! its own.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    layout::{self, Layout, blob_digest},
    manifest::{MAX_MANIFEST, Manifest},
    pins::Pins,
};
use crate::model::{Digest, ModelName};

/// Younger blobs may belong to a manifest that is about to be written.
const GRACE: Duration = Duration::from_hours(1);

/// How long a download that broke off may still be resumed.
const RESUMABLE: Duration = Duration::from_hours(7 * 24);

/// A manifest that cannot be read, so that nothing may be removed.
#[derive(Debug, thiserror::Error)]
#[error("manifest `{name}` cannot be read")]
pub(crate) struct Unreadable {
    name: String,
    source: io::Error,
}

/// Clears what the last process left. Never fails: what cannot be removed stays until the next start.
pub(crate) fn at_open(layout: &Layout) {
    for path in files(&layout.temporary()) {
        remove(&path, "a temporary file of a process that has ended");
    }
    for path in files(&layout.partials()) {
        partial(layout, &path);
    }
    let (blobs, strangers): (Vec<_>, Vec<_>) = files(&layout.blobs())
        .into_iter()
        .partition(|path| path.file_name().and_then(blob_digest).is_some());
    if strangers.iter().any(|path| !old(path)) {
        tracing::info!("another process writes to the store: unused blobs stay until the next start");
        return;
    }
    let needed = match references(layout) {
        Ok(needed) => needed,
        Err(error) => {
            tracing::warn!(%error, cause = %error.source, "unused blobs stay, for it may need them");
            return;
        }
    };
    for path in blobs {
        let unused = path
            .file_name()
            .and_then(blob_digest)
            .is_some_and(|digest| !needed.contains(&digest));
        if unused && old(&path) {
            remove(&path, "a blob that no manifest names");
        }
    }
}

/// A partial file or its record. Age is that of the file: a record alone is of no use.
fn partial(layout: &Layout, path: &Path) {
    let whole = path.with_extension("");
    let digest = whole.file_name().and_then(blob_digest);
    if digest.is_some_and(|digest| layout.blob(&digest).exists()) {
        remove(path, "a partial file whose blob is there");
    } else if !whole.exists() {
        remove(path, "the record of a partial file that has gone");
    } else if older(&whole, RESUMABLE) {
        remove(path, "a partial file that nobody resumed");
    }
}

/// Removes those of `candidates` that no manifest names and no running create needs.
pub(crate) fn unused(layout: &Layout, candidates: impl IntoIterator<Item = Digest>, pins: &Pins) {
    // Held to the end: see the module of pins.
    let pins = pins.freeze();
    let needed = match references(layout) {
        Ok(needed) => needed,
        Err(error) => {
            tracing::warn!(%error, cause = %error.source, "blobs of a replaced model stay, for it may need them");
            return;
        }
    };
    for digest in candidates {
        if !needed.contains(&digest) && !pins.has(&digest) {
            let path = layout.blob(&digest);
            if path.exists() {
                remove(&path, "a blob of a replaced model");
            }
        }
    }
}

/// Every digest that a manifest names. Read anew each time: what is removed on its word is gone.
pub(crate) fn references(layout: &Layout) -> Result<HashSet<Digest>, Unreadable> {
    let mut needed = HashSet::new();
    let mut level = vec![(layout.manifests(), Vec::<String>::new())];
    // Host, namespace, model, tag. What lies elsewhere is no manifest to anybody.
    for depth in 1..=4 {
        let mut next = Vec::new();
        for (folder, parts) in level {
            let unreadable = |source| Unreadable {
                name: parts.join("/"),
                source,
            };
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory && depth > 1 => continue,
                Err(error) => return Err(unreadable(error)),
            };
            for entry in entries {
                let entry = entry.map_err(unreadable)?;
                let mut parts = parts.clone();
                parts.push(entry.file_name().to_string_lossy().into_owned());
                next.push((entry.path(), parts));
            }
        }
        level = next;
    }
    for (path, parts) in level {
        if path.is_dir() {
            continue;
        }
        let read =
            layout::read_regular(&path, MAX_MANIFEST).and_then(|bytes| Manifest::read(&bytes).map_err(io::Error::from));
        match read {
            Ok(manifest) => needed.extend(manifest.blobs().map(|layer| layer.digest.clone())),
            // Of a name that nobody can ask for (`.DS_Store`): not a manifest.
            Err(_) if !is_name(&parts) => {}
            Err(source) => {
                return Err(Unreadable {
                    name: parts.join("/"),
                    source,
                });
            }
        }
    }
    Ok(needed)
}

fn is_name(parts: &[String]) -> bool {
    let [host, namespace, model, tag] = parts else {
        return false;
    };
    ModelName::from_parts(host, namespace, model, tag).is_ok()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// By the link's own age where it is one: it is the link that would go.
fn old(path: &Path) -> bool {
    older(path, GRACE)
}

fn older(path: &Path, age: Duration) -> bool {
    fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|is| is >= age))
}

fn remove(path: &Path, what: &str) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(file = %name, what, "removed"),
        Err(error) => tracing::warn!(file = %name, what, %error, "could not be removed"),
    }
}

#[cfg(test)]
mod tests;
