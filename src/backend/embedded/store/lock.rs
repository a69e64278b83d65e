//! One process a store. The lock is the kernel's (`flock`), so a killed holder leaves none behind; the pid in the file is
//! only for the message. The file itself is never removed: removing it would let two processes lock two files of one name.
//!
//! An Ollama on the same folder takes no lock. What it adds or removes is seen by looking, and harms nothing.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the lock could not be had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it; its pid when it could be read.
    Held(Option<u32>),
    Io(io::Error),
}

// === impl Lock ===

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(LockError::Io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held(pid(&mut file))),
            Err(error) => return Err(LockError::Io(error.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk the pid cannot be written; the lock holds all the same.
        let _unnamed = write(&mut file).is_err();
        Ok(Self { _file: file })
    }
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first_and_gets_it_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let Err(LockError::Held(pid)) = Lock::take(&path) else {
            panic!("two have the lock");
        };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_dead_holders_pid_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "99999999999999\n").unwrap();
        let _lock = Lock::take(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }
}
