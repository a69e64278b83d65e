//! The file in the state directory. It is replaced whole, so that a reader sees the old one or the new one; one that is not
//! ours, or that others could have written, is not believed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{FileKey, Made, ModelKey};
use crate::model::Digest;

const NAME: &str = "digests.json";
/// Between the name and what tells one writer from another.
const TEMPORARY: &str = ".new-";
/// What the file says it is.
const FORMAT: &str = "model-control digests";
const VERSION: u32 = 1;
/// Bytes that are read: several times what the bounds of the tables allow.
const MAX_SIZE: u64 = 32 << 20;
/// A temporary file that nobody has touched for so long was left by a process that was killed.
const LEFT: Duration = Duration::from_hours(1);

pub(super) type Content = (Vec<(FileKey, Digest)>, Vec<(ModelKey, Made)>);

/// Each list begins with what was used longest ago.
#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    files: Vec<Known<FileKey, Digest>>,
    made: Vec<Known<ModelKey, Made>>,
}

#[derive(Serialize, Deserialize)]
struct Known<K, V> {
    key: K,
    value: V,
}

/// A file that is removed unless it takes its place.
struct Temporary {
    path: PathBuf,
    placed: bool,
}

/// What the folder's file holds; nothing where there is none that can be believed.
pub(super) fn load(folder: &Path) -> Content {
    sweep(folder);
    match read(folder) {
        Ok(document) => {
            let files = document.files.into_iter().map(|known| (known.key, known.value));
            let made = document.made.into_iter().map(|known| (known.key, known.value));
            (files.collect(), made.collect())
        }
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "remembered digests are not used: files are hashed anew");
            }
            Content::default()
        }
    }
}

/// Replaces the folder's file.
pub(super) fn save(folder: &Path, files: Vec<(FileKey, Digest)>, made: Vec<(ModelKey, Made)>) -> io::Result<()> {
    let document = Document {
        format: FORMAT.to_owned(),
        version: VERSION,
        files: files.into_iter().map(|(key, value)| Known { key, value }).collect(),
        made: made.into_iter().map(|(key, value)| Known { key, value }).collect(),
    };
    let bytes = serde_json::to_vec(&document)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (temporary, mut file) = Temporary::create(folder)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    temporary.place(&folder.join(NAME))?;
    // Not every file system syncs folders. After a crash the old file may be there, which is as true as the new one.
    let _later = File::open(folder).and_then(|folder| folder.sync_all()).is_err();
    Ok(())
}

fn read(folder: &Path) -> io::Result<Document> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(folder.join(NAME))?;
    let metadata = file.metadata()?;
    let foreign = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(foreign("the file can be written by others"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(foreign("the file is too large"));
    }
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.format != FORMAT || document.version != VERSION {
        return Err(foreign("the file is of another format or version"));
    }
    Ok(document)
}

/// Removes what killed processes left. What cannot be removed is in nobody's way.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.strip_prefix(NAME).is_some_and(|rest| rest.starts_with(TEMPORARY)));
        let modified = || entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let old = || modified().is_some_and(|modified| modified.elapsed().is_ok_and(|age| age > LEFT));
        if ours && old() {
            let _stays = fs::remove_file(entry.path()).is_err();
        }
    }
}

// === impl Temporary ===

impl Temporary {
    /// A new file that only we can read.
    fn create(folder: &Path) -> io::Result<(Self, File)> {
        /// Tells apart the writers of one process.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Random, because a process in another container may have the same number.
        let name = format!(
            "{NAME}{TEMPORARY}{}-{number}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = folder.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok((Self { path, placed: false }, file))
    }

    fn place(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            let _stays = fs::remove_file(&self.path).is_err();
        }
    }
}
