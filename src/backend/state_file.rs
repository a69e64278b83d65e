//! A file in the state directory that is replaced whole, so that a reader sees the old one or the new one; one that is not
//! ours, or that others could have written, is not believed.
//!
//! It has no lock: of two processes the last one to save wins.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Between the name and what tells one writer from another.
const TEMPORARY: &str = ".new-";
/// A temporary file that nobody has touched for so long was left by a process that was killed.
const LEFT: Duration = Duration::from_hours(1);

/// A kind of file.
#[derive(Debug, Clone, Copy)]
pub struct StateFile {
    /// In the state directory.
    pub name: &'static str,
    /// What the file says it is.
    pub format: &'static str,
    /// Of the format.
    pub version: u32,
    /// Bytes that are read.
    pub max_size: u64,
}

#[derive(Serialize, Deserialize)]
struct Document<T> {
    format: String,
    version: u32,
    #[serde(flatten)]
    content: T,
}

/// A file that is removed unless it takes its place.
struct Temporary {
    path: PathBuf,
    placed: bool,
}

// === impl StateFile ===

impl StateFile {
    /// What the folder's file holds. Removes what killed processes left beside it. Blocks.
    pub fn load<T: DeserializeOwned>(&self, folder: &Path) -> io::Result<T> {
        self.sweep(folder);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(folder.join(self.name))?;
        let metadata = file.metadata()?;
        let foreign = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0
        {
            return Err(foreign("the file can be written by others"));
        }
        let mut bytes = Vec::new();
        file.take(self.max_size + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.max_size {
            return Err(foreign("the file is too large"));
        }
        let document: Document<T> = serde_json::from_slice(&bytes)?;
        if document.format != self.format || document.version != self.version {
            return Err(foreign("the file is of another format or version"));
        }
        Ok(document.content)
    }

    /// Replaces the folder's file; makes the folder. Blocks.
    pub fn save<T: Serialize>(&self, folder: &Path, content: T) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Document {
            format: self.format.to_owned(),
            version: self.version,
            content,
        })?;
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (temporary, mut file) = Temporary::create(folder, self.name)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        temporary.place(&folder.join(self.name))?;
        // Not every file system syncs folders. After a crash the old file may be there, which is as true as the new one.
        let _later = File::open(folder).and_then(|folder| folder.sync_all()).is_err();
        Ok(())
    }

    /// Removes what killed processes left. What cannot be removed is in nobody's way.
    fn sweep(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let ours = entry.file_name().to_str().is_some_and(|name| {
                name.strip_prefix(self.name)
                    .is_some_and(|rest| rest.starts_with(TEMPORARY))
            });
            let modified = || entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let old = || modified().is_some_and(|modified| modified.elapsed().is_ok_and(|age| age > LEFT));
            if ours && old() {
                let _stays = fs::remove_file(entry.path()).is_err();
            }
        }
    }
}

// === impl Temporary ===

impl Temporary {
    /// A new file that only we can read.
    fn create(folder: &Path, name: &str) -> io::Result<(Self, File)> {
        /// Tells apart the writers of one process.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Random, because a process in another container may have the same number.
        let name = format!(
            "{name}{TEMPORARY}{}-{number}-{:016x}",
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
