//! The names in one folder, read again when its stamp changes.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::super::stamp::{Sort, Stamp};

/// A folder whose members are each followed by a `T`, in sorted order.
#[derive(Debug)]
pub(super) struct Folder<T> {
    /// The stamp under which the names were read, once it tells of every change.
    trusted: Option<Stamp>,
    members: BTreeMap<String, T>,
    /// What was told to the log last, so that it is told once.
    complaint: Option<String>,
}

// === impl Folder ===

impl<T> Default for Folder<T> {
    fn default() -> Self {
        Self {
            trusted: None,
            members: BTreeMap::new(),
            complaint: None,
        }
    }
}

impl<T: Default> Folder<T> {
    /// The members of that name in any casing, or all.
    pub(super) fn named<'a>(&'a mut self, wanted: Option<&'a str>) -> impl Iterator<Item = (&'a String, &'a mut T)> {
        self.members
            .iter_mut()
            .filter(move |(name, _)| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name)))
    }

    /// Brings the names up to date; false when there is no folder to look into, which the log is told where it is odd.
    pub(super) fn look(&mut self, stamp: io::Result<Stamp>, path: impl FnOnce() -> PathBuf, now: SystemTime) -> bool {
        let result = match stamp {
            // Files of other tools between the folders are nobody's business.
            Ok(stamp) if stamp.sort != Sort::Folder => return false,
            Ok(stamp) if self.trusted == Some(stamp) => return true,
            Ok(stamp) => self.update(stamp, &path(), now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => Err(error),
        };
        let complaint = result.err().map(|error| error.to_string());
        if let Some(error) = complaint.as_ref().filter(|_| complaint != self.complaint) {
            tracing::warn!(%error, "a folder of the store cannot be read: its models are not listed");
        }
        self.complaint = complaint;
        self.complaint.is_none()
    }

    /// Reads the names unless the stamp says that they are the same.
    pub(super) fn update(&mut self, stamp: Stamp, path: &Path, now: SystemTime) -> io::Result<()> {
        if self.trusted == Some(stamp) {
            return Ok(());
        }
        self.trusted = None;
        let mut names = HashSet::new();
        for entry in fs::read_dir(path)? {
            // A name that is no text is no name of a model.
            if let Ok(name) = entry?.file_name().into_string() {
                names.insert(name);
            }
        }
        self.members.retain(|name, _| names.contains(name));
        for name in names {
            self.members.entry(name).or_default();
        }
        self.trusted = stamp.settled(now).then_some(stamp);
        Ok(())
    }
}
