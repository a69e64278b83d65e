//! Room on the store's disk, promised to running creates, so that two of them do not both start on the last gigabyte.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::super::{Error, Kind};

/// Kept free beside the content, for manifests, folders and the file system's own books.
const MARGIN: u64 = 1 << 20;

/// What is promised and not yet written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    promised: Arc<Mutex<u64>>,
}

/// Room for one file. What is left of it is given back on drop.
#[derive(Debug)]
pub(crate) struct Room {
    space: Space,
    left: u64,
}

// === impl Space ===

impl Space {
    /// Promises `need` bytes of the file system that holds `folder`.
    pub(crate) fn reserve(&self, folder: &Path, need: u64) -> Result<Room, Error> {
        let free = free(folder).map_err(|error| super::failed("ask for the free space of the store", error))?;
        self.reserve_of(free, need)
    }

    fn reserve_of(&self, free: u64, need: u64) -> Result<Room, Error> {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let have = free.saturating_sub(*promised);
        let total = need.saturating_add(MARGIN);
        if have < total {
            return Err(disk_full(total, have));
        }
        *promised += need;
        drop(promised);
        Ok(Room {
            space: self.clone(),
            left: need,
        })
    }

    #[cfg(test)]
    pub(crate) fn promised(&self) -> u64 {
        *self.promised.lock().unwrap()
    }

    fn release(&self, bytes: u64) {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        *promised = promised.saturating_sub(bytes);
    }
}

// === impl Room ===

impl Room {
    /// Makes a room of its own of some of it: what one blob of several needs.
    pub(crate) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        Self {
            space: self.space.clone(),
            left: bytes,
        }
    }

    /// So much has been written: the file system counts it now.
    pub(crate) fn used(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.space.release(bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.space.release(self.left);
    }
}

/// Bytes that we may write.
pub(crate) fn free(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub(crate) fn disk_full(need: u64, have: u64) -> Error {
    Error::new(
        Kind::DiskFull { need, have },
        format!(
            "the store's disk has {have} bytes free and {need} are needed: make room, or choose a store on another disk"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_room_is_not_promised_twice() {
        let space = Space::default();
        let mut first = space.reserve_of(10 * MARGIN, 6 * MARGIN).unwrap();
        let error = space.reserve_of(10 * MARGIN, 6 * MARGIN).unwrap_err();
        let (need, have) = (7 * MARGIN, 4 * MARGIN);
        assert_eq!(error.kind, Kind::DiskFull { need, have });
        // Half of it is written: the disk has less, and less is promised.
        first.used(3 * MARGIN);
        space.reserve_of(7 * MARGIN, 3 * MARGIN).unwrap();
        // What is split off is promised until it is dropped too.
        let part = first.split(MARGIN);
        drop(first);
        space.reserve_of(7 * MARGIN, 6 * MARGIN).unwrap_err();
        drop(part);
        space.reserve_of(7 * MARGIN, 6 * MARGIN).unwrap();
        space.reserve_of(u64::MAX - 1, u64::MAX).unwrap_err();
    }

    #[test]
    fn parts_of_a_room_are_no_more_than_the_whole() {
        let space = Space::default();
        let mut whole = space.reserve_of(10 * MARGIN, 6 * MARGIN).unwrap();
        let (first, second) = (whole.split(4 * MARGIN), whole.split(4 * MARGIN));
        drop(first);
        space.reserve_of(10 * MARGIN, 7 * MARGIN).unwrap();
        space.reserve_of(10 * MARGIN, 8 * MARGIN).unwrap_err();
        drop((whole, second));
        assert_eq!(space.promised(), 0);
    }

    #[test]
    fn a_real_folder_has_room() {
        let folder = tempfile::tempdir().unwrap();
        Space::default().reserve(folder.path(), 1).unwrap();
        let error = Space::default().reserve(folder.path(), u64::MAX / 2).unwrap_err();
        assert!(matches!(error.kind, Kind::DiskFull { .. }));
    }
}
