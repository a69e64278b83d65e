//! The stamps of all blobs, read together: one `stat` a blob, however many models share it.

use std::{
    collections::HashMap,
    fs, io,
    time::{Duration, Instant, SystemTime},
};

use super::super::{
    layout::{Layout, blob_digest},
    stamp::{Sort, Stamp},
};
use crate::model::Digest;

/// A blob that is changed in place leaves its folder's stamp as it was: so often the blobs are looked at all the same.
const TRUST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Table {
    blobs: HashMap<Digest, Stamp>,
    /// Rises when any blob comes, goes or changes: what was concluded before must be concluded again.
    generation: u64,
    trusted: Option<(Stamp, Instant)>,
}

// === impl Table ===

impl Table {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&Stamp> {
        self.blobs.get(digest)
    }

    pub(super) fn refresh(&mut self, layout: &Layout, now: SystemTime) -> io::Result<()> {
        let path = layout.blobs();
        let stamp = Stamp::of_path(&path)?;
        if let Some((trusted, at)) = self.trusted
            && trusted == stamp
            && at.elapsed() < TRUST
        {
            return Ok(());
        }
        self.trusted = None;
        let folder = fs::File::open(&path)?;
        let mut blobs = HashMap::with_capacity(self.blobs.len());
        for entry in fs::read_dir(&path)? {
            let name = entry?.file_name();
            let Some(digest) = blob_digest(&name) else { continue };
            // Gone since, or a link to nothing: as good as not there.
            if let Ok(blob) = Stamp::at(&folder, name.as_os_str())
                && blob.sort == Sort::File
            {
                blobs.insert(digest, blob);
            }
        }
        if blobs != self.blobs {
            self.blobs = blobs;
            self.generation += 1;
        }
        self.trusted = stamp.settled(now).then(|| (stamp, Instant::now()));
        Ok(())
    }

    /// Looks at one blob now.
    pub(super) fn recheck(&mut self, layout: &Layout, digest: &Digest) {
        let now = Stamp::of_path(&layout.blob(digest))
            .ok()
            .filter(|stamp| stamp.sort == Sort::File);
        if self.blobs.get(digest) == now.as_ref() {
            return;
        }
        self.generation += 1;
        match now {
            Some(stamp) => self.blobs.insert(digest.clone(), stamp),
            None => self.blobs.remove(digest),
        };
    }
}
