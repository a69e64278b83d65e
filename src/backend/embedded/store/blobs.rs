//! Files become part of the store in one step: written and synced under a temporary name, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use super::{
    layout::{self, Layout},
    stamp::{Sort, Stamp},
};
use crate::model::{Digest, ModelName};

/// As Ollama makes them: other processes of the machine may read models.
pub(crate) const MODE: u32 = 0o644;

/// A file that is removed again unless it is published. What a killed process leaves is swept at the next start.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    file: File,
}

// === impl Temporary ===

impl Temporary {
    pub(crate) fn create(layout: &Layout) -> io::Result<Self> {
        // Unique within the process, which has the store for itself; what another left has been swept.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = layout.temporary().join(format!("{}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&path)?;
        Ok(Self { path, file })
    }

    fn holding(layout: &Layout, bytes: &[u8]) -> io::Result<Self> {
        let mut temporary = Self::create(layout)?;
        temporary.file.write_all(bytes)?;
        temporary.file.sync_data()?;
        Ok(temporary)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Takes the final name, in place of what has it. After it the guard finds nothing to remove.
    fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Absent after a rename; else the sweep at the next start finds it.
        let _swept_later = fs::remove_file(&self.path).is_err();
    }
}

/// Whether a whole blob of that size lies there.
pub(crate) fn present(layout: &Layout, digest: &Digest, size: u64) -> bool {
    Stamp::of_path(&layout.blob(digest)).is_ok_and(|stamp| stamp.sort == Sort::File && stamp.size == size)
}

/// Makes a synced file the blob of its digest, durably; false when one was there. It takes that one's place all the same:
/// of the two it is the one whose bytes were just hashed, and whoever reads the other goes on reading it.
pub(crate) fn publish(layout: &Layout, temporary: Temporary, digest: &Digest, size: u64) -> io::Result<bool> {
    let new = !present(layout, digest, size);
    temporary.rename(&layout.blob(digest))?;
    layout::sync_folder(&layout.blobs())?;
    Ok(new)
}

/// Stores small content that lies in memory; false when it was there.
pub(crate) fn put(layout: &Layout, digest: &Digest, bytes: &[u8]) -> io::Result<bool> {
    let path = layout.blob(digest);
    let size = bytes.len() as u64;
    // So small that looking is cheaper than believing.
    let there = layout::read_regular(&path, size).is_ok_and(|stored| stored == bytes);
    if there && touch(&path).is_ok() {
        return Ok(false);
    }
    Temporary::holding(layout, bytes)?.rename(&path)?;
    layout::sync_folder(&layout.blobs())?;
    Ok(true)
}

/// Makes a synced partial file the blob of its digest, durably: whether it is new, as [`publish`] says. Nothing when
/// another process has taken `file` from its place: what lies there now nobody has hashed.
pub(crate) fn publish_partial(layout: &Layout, file: &File, digest: &Digest, size: u64) -> io::Result<Option<bool>> {
    let path = layout.partial(digest);
    if !lies_at(file, &path)? || file.metadata()?.len() != size {
        return Ok(None);
    }
    let new = !present(layout, digest, size);
    fs::rename(&path, layout.blob(digest))?;
    layout::sync_folder(&layout.blobs())?;
    Ok(Some(new))
}

/// Whether `path` still names this file.
pub(crate) fn lies_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts small content at `path` in one step, in place of what is there.
pub(crate) fn replace(layout: &Layout, path: &Path, bytes: &[u8]) -> io::Result<()> {
    Temporary::holding(layout, bytes)?.rename(path)
}

/// Makes a blob young again, as Ollama does: pruning goes by age, ours and its.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    let (file, _) = layout::open_regular(path)?;
    file.set_modified(SystemTime::now())
}

/// Writes the manifest of `name`, durably, in place of the one that is there.
pub(crate) fn commit(layout: &Layout, name: &ModelName, bytes: &[u8]) -> io::Result<()> {
    let path = layout.manifest(name);
    let folder = path.parent().unwrap_or(layout.root());
    let known = folder.is_dir();
    layout::make_folder(folder, 0o755)?;
    Temporary::holding(layout, bytes)?.rename(&path)?;
    layout::sync_folder(folder)?;
    if !known {
        // New names in the folders above, up to `manifests`.
        for above in folder.ancestors().skip(1).take(3) {
            layout::sync_folder(above)?;
        }
    }
    Ok(())
}

/// Takes a manifest back that we wrote, unless somebody has written another since.
pub(crate) fn take_back(layout: &Layout, name: &ModelName, bytes: &[u8]) -> io::Result<()> {
    let path = layout.manifest(name);
    if layout::read_regular(&path, bytes.len() as u64)? == bytes {
        fs::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().join("store"));
        layout.create().unwrap();
        (folder, layout)
    }

    fn left_over(layout: &Layout) -> usize {
        fs::read_dir(layout.temporary()).unwrap().count()
    }

    #[test]
    fn what_is_not_published_is_gone() {
        let (_folder, layout) = layout();
        let temporary = Temporary::holding(&layout, b"half").unwrap();
        assert_eq!(left_over(&layout), 1);
        drop(temporary);
        assert_eq!(left_over(&layout), 0);
    }

    #[test]
    fn a_blob_is_stored_once_and_a_broken_one_repaired() {
        let (_folder, layout) = layout();
        let digest = Digest::of(b"content");
        assert!(put(&layout, &digest, b"content").unwrap());
        let path = layout.blob(&digest);
        let first = Stamp::of_path(&path).unwrap();
        let old = SystemTime::now() - std::time::Duration::from_hours(2);
        File::open(&path).unwrap().set_modified(old).unwrap();
        put(&layout, &digest, b"content").unwrap();
        let second = Stamp::of_path(&path).unwrap();
        assert!(second.modified() > old, "used again, so young again");
        assert_eq!(first.size, second.size);

        fs::write(&path, b"CONTENT").unwrap();
        put(&layout, &digest, b"content").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");

        fs::write(&path, b"short").unwrap();
        assert!(!present(&layout, &digest, 7));
        let temporary = Temporary::holding(&layout, b"content").unwrap();
        publish(&layout, temporary, &digest, 7).unwrap();
        assert!(present(&layout, &digest, 7));
        let again = Temporary::holding(&layout, b"content").unwrap();
        publish(&layout, again, &digest, 7).unwrap();
        assert_eq!(left_over(&layout), 0);
    }

    #[test]
    fn a_folder_in_a_blobs_place_is_an_error() {
        let (_folder, layout) = layout();
        let digest = Digest::of(b"content");
        fs::create_dir(layout.blob(&digest)).unwrap();
        assert!(!present(&layout, &digest, 4096));
        assert!(put(&layout, &digest, b"content").is_err());
        assert_eq!(left_over(&layout), 0);
    }

    #[test]
    fn only_our_own_manifest_is_taken_back() {
        let (_folder, layout) = layout();
        let name: ModelName = "a".parse().unwrap();
        commit(&layout, &name, b"ours").unwrap();
        take_back(&layout, &name, b"ours").unwrap();
        assert!(!layout.manifest(&name).exists());
        commit(&layout, &name, b"else").unwrap();
        take_back(&layout, &name, b"ours").unwrap();
        assert!(layout.manifest(&name).exists());
    }
}
