//! Small files that belong together: read within bounds, and compared with what they were.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::UnusableFile;

/// Bytes of one file: a hundred times what an installation writes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads until two in a row are the same; more than a change of a few files takes.
const TRIES: usize = 4;

/// Bits of a mode that say who may read.
const RIGHTS: u32 = 0o777;

/// Of contents and rights, or of why they could not be read.
pub(super) type Fingerprint = [u8; 32];

/// Which files.
#[derive(Debug)]
pub(in super::super) struct Files {
    paths: Vec<PathBuf>,
    /// Callers without a certificate are let in, to show a token.
    pub(in super::super) optional: bool,
}

/// One file. Forgotten when it is dropped.
pub(in super::super) struct Content {
    pub(in super::super) bytes: Zeroizing<Vec<u8>>,
    /// Everybody on the machine may read it.
    pub(in super::super) public: bool,
    mode: u32,
}

// === impl Files ===

impl Files {
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>, optional: bool) -> Self {
        Self {
            paths: paths.into_iter().collect(),
            optional,
        }
    }

    pub(in super::super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// As they are.
    pub(super) fn now(&self) -> (Fingerprint, Result<Vec<Content>, UnusableFile>) {
        let mut hash = Sha256::new();
        let mut contents = Ok(Vec::new());
        for path in &self.paths {
            match read(path) {
                Ok(content) => {
                    hash.update(content.mode.to_be_bytes());
                    hash.update(content.bytes.len().to_be_bytes());
                    hash.update(content.bytes.as_slice());
                    if let Ok(contents) = &mut contents {
                        contents.push(content);
                    }
                }
                Err(error) => {
                    hash.update(error.to_string());
                    if contents.is_ok() {
                        contents = Err(UnusableFile::new(path, format!("could not be read: {error}")));
                    }
                }
            }
        }
        (hash.finalize().into(), contents)
    }

    /// As they are once two reads agree: between the two files of a pair the folder may be exchanged.
    pub(super) fn settled(&self) -> (Fingerprint, Result<Vec<Content>, UnusableFile>) {
        let mut last = self.now();
        for _ in 1..TRIES {
            let next = self.now();
            if next.0 == last.0 {
                break;
            }
            last = next;
        }
        last
    }
}

fn read(path: &Path) -> io::Result<Content> {
    let regular = |metadata: &Metadata| {
        if metadata.is_file() {
            Ok(())
        } else {
            Err(io::Error::other("is no regular file"))
        }
    };
    // Before it is opened as well: that of a pipe would wait for a writer.
    regular(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    // What the links end at: a mounted secret is links with rights of their own.
    let mode = metadata.permissions().mode() & RIGHTS;
    // Once, so that no half of a secret stays in memory that was given back.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(metadata.len().min(MAX_BYTES)).unwrap_or_default() + 1,
    ));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    Ok(Content {
        bytes,
        public: mode & 0o004 != 0,
        mode,
    })
}
