//! Where callers' paths may lead.
//!
//! A caller's path is first compared with the roots as text, so that a path outside them is refused without a look at the
//! file system: the answer is the same whether it exists or not. What lies under a root is then opened beneath the root's
//! descriptor (see `beneath`).
//!
//! An absolute link is refused even when it leads back into the root: it says where the root lies today. Relative ones that
//! stay beneath it work.

use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fd::OwnedFd,
    fs::{Mode, open},
};

use super::{
    beneath,
    error::{Error, Refusal},
    located::{Located, Place, name_of},
};

/// The folders beneath which callers may name files.
#[derive(Debug, Default)]
pub struct Roots(Vec<Root>);

/// A folder that was given as a root and is none.
#[derive(Debug, thiserror::Error)]
#[error("the model root `{}` is no folder that can be opened", path.display())]
pub struct RootError {
    /// As it was given.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

#[derive(Debug)]
struct Root {
    /// Held as long as we run: what takes the folder's place later is not the folder that the operator named.
    folder: Arc<OwnedFd>,
    /// As the operator wrote it, made absolute.
    written: PathBuf,
    /// Where it really lies, which is what a caller sees who resolved it.
    resolved: PathBuf,
}

// === impl Roots ===

impl Roots {
    /// Opens each root once. A root that is itself a link is followed now, and never again.
    pub fn new(paths: &[PathBuf]) -> Result<Self, RootError> {
        let open = |path: &PathBuf| {
            Root::open(path).map_err(|source| RootError {
                path: path.clone(),
                source,
            })
        };
        paths.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Opens what a caller names.
    pub fn open(&self, path: &str) -> Result<Located, Error> {
        if path.contains('\0') {
            return Err(Error::Nul);
        }
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(Error::NotAbsolute);
        }
        if self.0.is_empty() {
            return Err(Error::NotAllowed(Refusal::NoRoots));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::NotAllowed(Refusal::ParentFolder));
        }
        // Roots may lie in one another: what leads out of the inner one may still stay in the outer one.
        let mut answer = Err(Error::NotAllowed(Refusal::Outside));
        for place in self.0.iter().filter_map(|root| root.place(path)) {
            answer = place.locate(name_of(path));
            if !matches!(answer, Err(Error::NotAllowed(_))) {
                break;
            }
        }
        answer
    }
}

// === impl Root ===

impl Root {
    fn open(path: &Path) -> io::Result<Self> {
        let resolved = path.canonicalize()?;
        Ok(Self {
            folder: Arc::new(open(&resolved, beneath::PASS, Mode::empty())?),
            written: std::path::absolute(path)?,
            resolved,
        })
    }

    /// Where `path` lies beneath this root, when its text says that it does.
    fn place(&self, path: &Path) -> Option<Place> {
        let rest = path
            .strip_prefix(&self.written)
            .or_else(|_| path.strip_prefix(&self.resolved))
            .ok()?;
        Some(Place::Beneath {
            root: Arc::clone(&self.folder),
            path: rest.components().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
