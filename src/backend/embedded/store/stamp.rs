//! Which state of a file or folder was seen, and whether a later change could look the same.

use std::{
    io,
    os::fd::AsFd,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, CWD, FileType, Stat};

/// File systems stamp changes with a coarse clock: two changes within one tick look alike. What changed less than this
/// before it was read is read again next time (git's "racy" rule). FAT's two seconds are the coarsest in use.
const CLOCK: Duration = Duration::from_secs(2);

/// The state of a file or folder. The change time cannot be set by anybody, so equal stamps mean equal content once
/// [`Stamp::settled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    dev: u64,
    ino: u64,
    pub(crate) size: u64,
    /// Nanoseconds since 1970, as far as they fit: to the year 2262. So is the next.
    modified: i64,
    changed: i64,
    pub(crate) sort: Sort,
}

/// What lies there, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    File,
    Folder,
    /// A pipe, a device, a socket: never opened.
    Other,
}

// === impl Stamp ===

impl Stamp {
    /// Of what lies at `path` beneath `base`, links followed; it is not opened.
    pub(crate) fn at(base: impl AsFd, path: impl rustix::path::Arg) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::statat(base, path, AtFlags::empty())?))
    }

    pub(crate) fn of_path(path: &Path) -> io::Result<Self> {
        Self::at(CWD, path)
    }

    pub(crate) fn of_file(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::fstat(file)?))
    }

    /// Whether every change after `seen_at` gives another stamp.
    pub(crate) fn settled(&self, seen_at: SystemTime) -> bool {
        let now = seen_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = self.changed.max(self.modified);
        i64::try_from(now.saturating_sub(CLOCK).as_nanos()).is_ok_and(|trusted| changed < trusted)
    }

    /// Nothing when the content was changed before 1970 or beyond what a clock holds.
    pub(crate) fn modified(&self) -> SystemTime {
        let nanoseconds = u64::try_from(self.modified).unwrap_or(0);
        UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }
}

impl From<Stat> for Stamp {
    fn from(stat: Stat) -> Self {
        let sort = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Sort::File,
            FileType::Directory => Sort::Folder,
            _ => Sort::Other,
        };
        // The fields' integer types differ from system to system; all of them fit.
        let number = |number: i128| u64::try_from(number).unwrap_or(u64::MAX);
        let time = |seconds: i128, rest: i128| i64::try_from(seconds * 1_000_000_000 + rest).unwrap_or(i64::MAX);
        Self {
            dev: number(i128::from(stat.st_dev)),
            ino: number(i128::from(stat.st_ino)),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            changed: time(i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
            sort,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_change_is_not_settled_and_an_old_one_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stamp = Stamp::of_path(file.path()).unwrap();
        assert_eq!(stamp.sort, Sort::File);
        assert!(!stamp.settled(SystemTime::now()));
        assert!(stamp.settled(SystemTime::now() + CLOCK * 2));
        assert!(!stamp.settled(UNIX_EPOCH), "a clock that was set back settles nothing");
    }
}
