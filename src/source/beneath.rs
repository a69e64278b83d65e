//! Opens a path beneath a folder, and nothing that is not.
//!
//! `openat2` lets the kernel follow links and refuse the ones that lead out, in one step that nobody can interleave. Where
//! it is missing (another system, an old kernel, a sandbox that filters it) the path is walked, one descriptor a part, and
//! no link is followed: a link cannot be judged and followed in one step there.

use std::path::{Component, Path};

#[cfg(target_os = "linux")]
use rustix::io::Errno;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, openat, statat},
};

use super::error::{Error, Refusal, Unusable};

/// How everything is opened that may turn out to be any kind of file: a named pipe must not make us wait, nor a terminal
/// become ours.
pub(super) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// How a folder is opened that is only passed through. It need not be readable.
#[cfg(target_os = "linux")]
pub(super) const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const PASS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Openings that are tried again when somebody renames folders meanwhile, so that the kernel cannot tell whether the path
/// stayed beneath.
#[cfg(target_os = "linux")]
const TRIES: usize = 64;

/// Opens `path`, which is relative and has no `..`, beneath `root`. `name` is for the error.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path, name: &str) -> Result<OwnedFd, Error> {
    #[cfg(target_os = "linux")]
    match resolve(root, path) {
        // Not in this kernel, or filtered: containers' filters of before 2020 answer EPERM.
        Err(Errno::NOSYS | Errno::PERM) => {}
        opened => return opened.map_err(|errno| Error::opening(name, errno)),
    }
    walk(root, path, name)
}

#[cfg(target_os = "linux")]
fn resolve(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};

    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    for _try in 1..TRIES {
        match openat2(root, path, READ, Mode::empty(), beneath) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    openat2(root, path, READ, Mode::empty(), beneath)
}

/// Opens part by part. Links are refused.
pub(super) fn walk(root: BorrowedFd<'_>, path: &Path, name: &str) -> Result<OwnedFd, Error> {
    let mut parts = path.components().peekable();
    let mut folder: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else {
            return Err(Error::NotAllowed(Refusal::Outside));
        };
        let flags = if parts.peek().is_some() { PASS } else { READ };
        let here = folder.as_ref().map_or(root, AsFd::as_fd);
        match openat(here, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => folder = Some(next),
            Err(errno) => {
                // Systems differ in what they call a link here, so it is asked for.
                let link = statat(here, part, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
                return Err(if link {
                    Error::unusable(name, Unusable::LinkRefused)
                } else {
                    Error::opening(name, errno)
                });
            }
        }
    }
    match folder {
        Some(opened) => Ok(opened),
        None => openat(root, ".", READ, Mode::empty()).map_err(|errno| Error::opening(name, errno)),
    }
}

#[cfg(test)]
mod tests;
