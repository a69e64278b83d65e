//! Where things lie: Ollama's layout, and a folder of our own beside it that Ollama never looks into.
//!
//! ```text
//! <store>/manifests/<host>/<namespace>/<model>/<tag>
//! <store>/blobs/sha256-<64 digits>
//! <store>/.model-control/lock
//! <store>/.model-control/tmp/…
//! <store>/.model-control/partial/sha256-<64 digits>         a download that goes on, or may
//! <store>/.model-control/partial/sha256-<64 digits>.json    what of it is durable
//! ```
//!
//! Links are followed, as Ollama does: people put blobs on other disks that way. The store is the operator's own.

use std::{
    ffi::OsStr,
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::model::{Digest, ModelName};

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

// === impl Layout ===

impl Layout {
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Creates what is missing of the folders.
    pub(crate) fn create(&self) -> io::Result<()> {
        // What others may see is as Ollama makes it; what is ours nobody else needs.
        make_folder(&self.root, 0o755)?;
        make_folder(&self.manifests(), 0o755)?;
        make_folder(&self.blobs(), 0o755)?;
        make_folder(&self.own(), 0o700)?;
        make_folder(&self.temporary(), 0o700)?;
        make_folder(&self.partials(), 0o700)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn own(&self) -> PathBuf {
        self.root.join(".model-control")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.own().join("tmp")
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.own().join("partial")
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(blob_name(digest))
    }

    pub(crate) fn record(&self, digest: &Digest) -> PathBuf {
        self.partials().join(blob_name(digest) + ".json")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(blob_name(digest))
    }

    /// The parts of a name are checked: none can be `..` or hold a separator.
    pub(crate) fn manifest(&self, name: &ModelName) -> PathBuf {
        let mut path = self.manifests();
        path.extend(name.parts());
        path
    }
}

pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// The digest that a file of `blobs/` is named for; nothing for what is no blob (partial downloads of an Ollama, say).
pub(crate) fn blob_digest(file_name: &OsStr) -> Option<Digest> {
    let hex = file_name.to_str()?.strip_prefix("sha256-")?;
    let digest: Digest = format!("sha256:{hex}").parse().ok()?;
    (digest.hex() == hex).then_some(digest)
}

pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Opens a regular file for reading. Anything else is refused, and a pipe that took a file's place does not block.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    if !std::fs::metadata(path)?.is_file() {
        return Err(refused());
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused());
    }
    Ok((file, metadata))
}

/// The bytes of a regular file that is no longer than `limit`.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, metadata) = open_regular(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or(0));
    // One byte more than allowed: a file that grows is noticed as well.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_of_a_blob_is_one() {
        let digest = Digest::of(b"x");
        let name = blob_name(&digest);
        assert_eq!(blob_digest(OsStr::new(&name)), Some(digest));
        for other in [
            format!("{name}-partial"),
            name.to_uppercase(),
            name.replace('-', ":"),
            "x".to_owned(),
        ] {
            assert_eq!(blob_digest(OsStr::new(&other)), None, "{other}");
        }
    }

    #[test]
    fn reading_is_bounded_and_never_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert_eq!(read_regular(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read_regular(folder.path(), 4).is_err());
        assert!(read_regular(Path::new("/dev/zero"), 4).is_err());
    }
}
