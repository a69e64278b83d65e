//! What lies at a path, opened, with the way to its neighbours.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{Dir, FileType, Mode, fstat},
};

use super::{
    Opened, beneath,
    error::{Error, Unusable},
};

/// Entries of a folder that are looked through.
pub(super) const MAX_ENTRIES: usize = 10_000;

/// What lies at a path.
#[derive(Debug)]
pub enum Located {
    /// A regular file.
    File(Lone),
    /// A folder.
    Folder(Folder),
}

/// An opened regular file that knows where its neighbours are.
#[derive(Debug)]
pub struct Lone {
    pub(super) opened: Opened,
    pub(super) siblings: Place,
}

/// An opened folder.
#[derive(Debug)]
pub struct Folder {
    pub(super) name: String,
    listing: OwnedFd,
    pub(super) place: Place,
}

/// Entries of a folder, sorted. Hidden ones are not a person's models (some systems keep a `._` file beside each file) and are
/// left out. A link may be a file; what the file system does not tell may be either.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) files: Vec<OsString>,
    pub(super) folders: Vec<OsString>,
}

/// A folder by the way it was reached. A neighbour is opened by the same way and under the same rule, so that a link of a
/// neighbour may lead wherever a link of the named file might.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Beneath a root, by a path relative to it.
    Beneath { root: Arc<OwnedFd>, path: PathBuf },
    /// Anywhere.
    Unconfined { path: PathBuf },
}

/// Opens a path that is the operator's word: no root is needed and links are followed. Still only regular files and
/// folders, and nothing that makes us wait. A relative path is one of the working folder.
pub fn open_unconfined(path: &Path) -> Result<Located, Error> {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(Error::Nul);
    }
    let name = name_of(path);
    Place::Unconfined { path: path.to_owned() }.locate(name)
}

/// What a path is called in messages.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

// === impl Folder ===

impl Folder {
    /// What is in it.
    pub(super) fn names(&self) -> Result<Names, Error> {
        self.names_within(&mut { MAX_ENTRIES })
    }

    /// The same, as long as there are no more than `budget` entries; it is lowered by what there are.
    pub(super) fn names_within(&self, budget: &mut usize) -> Result<Names, Error> {
        let failed = |errno: rustix::io::Errno| Error::reading(&self.name, errno.into());
        let mut names = Names::default();
        let mut entries = Dir::read_from(&self.listing).map_err(failed)?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            *budget = budget.checked_sub(1).ok_or_else(|| {
                let limit = MAX_ENTRIES;
                Error::unusable(&self.name, Unusable::TooManyEntries { limit })
            })?;
            if name.starts_with(b".") {
                continue;
            }
            let kind = entry.file_type();
            if kind != FileType::Directory {
                names.files.push(OsStr::from_bytes(name).to_owned());
            }
            if matches!(kind, FileType::Directory | FileType::Unknown) {
                names.folders.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.files.sort_unstable();
        names.folders.sort_unstable();
        Ok(names)
    }
}

// === impl Place ===

impl Place {
    /// Opens this place, called `name`, and tells what it is.
    pub(super) fn locate(self, name: String) -> Result<Located, Error> {
        let opened = self.open(&name)?;
        let stat = fstat(&opened).map_err(|errno| Error::reading(&name, errno.into()))?;
        let reason = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = Arc::new(File::from(opened));
                return Ok(Located::File(Lone {
                    opened: Opened { file_name: name, file },
                    siblings: self.parent(),
                }));
            }
            FileType::Directory => {
                return Ok(Located::Folder(Folder {
                    name,
                    listing: opened,
                    place: self,
                }));
            }
            FileType::Fifo => Unusable::Fifo,
            FileType::Socket => Unusable::Socket,
            FileType::Symlink => Unusable::Links,
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => Unusable::Device,
        };
        Err(Error::unusable(&name, reason))
    }

    /// Opens the regular file of this name in it.
    pub(super) fn file(&self, name: &OsStr) -> Result<Opened, Error> {
        match self.child(name).locate(name.to_string_lossy().into_owned())? {
            Located::File(lone) => Ok(lone.opened),
            Located::Folder(folder) => Err(Error::unusable(&folder.name, Unusable::Folder)),
        }
    }

    fn open(&self, name: &str) -> Result<OwnedFd, Error> {
        match self {
            Self::Beneath { root, path } => beneath::open(root.as_fd(), path, name),
            Self::Unconfined { path } => {
                // The folder of a file that was named without one.
                let path = if path.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    path
                };
                rustix::fs::open(path, beneath::READ, Mode::empty()).map_err(|errno| Error::opening(name, errno))
            }
        }
    }

    pub(super) fn child(&self, name: &OsStr) -> Self {
        match self {
            Self::Beneath { root, path } => Self::Beneath {
                root: Arc::clone(root),
                path: path.join(name),
            },
            Self::Unconfined { path } => Self::Unconfined { path: path.join(name) },
        }
    }

    fn parent(self) -> Self {
        let up = |path: PathBuf| path.parent().map(Path::to_owned).unwrap_or_default();
        match self {
            Self::Beneath { root, path } => Self::Beneath { root, path: up(path) },
            Self::Unconfined { path } => Self::Unconfined { path: up(path) },
        }
    }
}
