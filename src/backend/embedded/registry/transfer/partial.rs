//! The file that a download grows in, until it is the blob.
//!
//! Another process that removes or replaces it costs another attempt. One that writes into it, in a folder that is ours,
//! is as little provided against as one that writes into `blobs/`.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use rustix::{fs::OFlags, io::Errno};

use super::{
    super::super::store::{self, Store, blobs, layout},
    Blob,
    ranges::Ranges,
    record::{self, Resume},
};
use crate::backend::Error;

/// An open partial file. All of it blocks.
#[derive(Debug)]
pub(super) struct Partial {
    store: Arc<Store>,
    blob: Blob,
    file: File,
}

/// Why a step on a partial file failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Another process has removed or replaced it, or made it shorter.
    Lost,
    Error(Error),
}

// === impl Partial ===

impl Partial {
    /// Opens what is there, or makes it. What is to be kept of it is told beside it: nothing when it is to start over,
    /// though the old bytes stay until others take their places, so that nobody else gets their room.
    pub(super) fn open(store: &Arc<Store>, blob: &Blob, over: bool) -> Result<(Self, Resume), Error> {
        let failed = |error| store::failed("open a partial file", error);
        let layout = store.layout();
        layout::make_folder(&layout.partials(), 0o700).map_err(failed)?;
        if over {
            absent(fs::remove_file(layout.record(&blob.digest))).map_err(failed)?;
        }
        let path = layout.partial(&blob.digest);
        let file = match open(&path) {
            // Nothing that we made.
            Err(error) if foreign(&error) => {
                absent(fs::remove_file(&path)).map_err(failed)?;
                open(&path)
            }
            opened => opened,
        };
        let file = file.map_err(failed)?;
        // After the file is there: of one that has just been made the record says nothing.
        let resume = Resume::read(layout, blob);
        if file.metadata().map_err(failed)?.len() > blob.size {
            file.set_len(blob.size).map_err(failed)?;
        }
        let partial = Self {
            store: Arc::clone(store),
            blob: blob.clone(),
            file,
        };
        Ok((partial, resume))
    }

    /// Of any file.
    #[cfg(test)]
    pub(super) fn of(store: &Arc<Store>, blob: &Blob, file: File) -> Self {
        let (store, blob) = (Arc::clone(store), blob.clone());
        Self { store, blob, file }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writing failed when `need` bytes were left.
    pub(super) fn write_failed(&self, need: u64, error: io::Error) -> Error {
        self.store.write_failed("store a blob", need, error)
    }

    /// Makes the whole file durable.
    pub(super) fn sync(&self) -> Result<(), Failed> {
        let failed = |error| Failed::Error(self.store.write_failed("sync what it stored", 0, error));
        self.file.sync_data().map_err(failed)
    }

    /// Makes `written` durable, and then says so on disk.
    pub(super) fn record(&self, written: &Ranges, validator: Option<&str>) -> Result<(), Failed> {
        let layout = self.store.layout();
        let left = self.blob.size.saturating_sub(written.len());
        let failed = |error| Failed::Error(self.store.write_failed("store a blob", left, error));
        self.file.sync_data().map_err(failed)?;
        let bytes = record::write(&self.blob, written, validator).map_err(|error| failed(error.into()))?;
        if !blobs::lies_at(&self.file, &layout.partial(&self.blob.digest)).map_err(failed)? {
            return Err(Failed::Lost);
        }
        match blobs::replace(layout, &layout.record(&self.blob.digest), &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failed::Lost),
            other => other.map_err(failed),
        }
    }

    /// Makes the whole, recorded and verified file the blob; whether that is new.
    pub(super) fn publish(&self) -> Result<bool, Failed> {
        let layout = self.store.layout();
        let Blob { digest, size } = &self.blob;
        let published = blobs::publish_partial(layout, &self.file, digest, *size);
        let new = published
            .map_err(|error| Failed::Error(store::failed("store a blob", error)))?
            .ok_or(Failed::Lost)?;
        self.forget(&layout.record(digest));
        Ok(new)
    }

    /// Removes it: no byte of it is of use.
    pub(super) fn remove(&self) {
        let layout = self.store.layout();
        self.forget(&layout.record(&self.blob.digest));
        self.forget(&layout.partial(&self.blob.digest));
    }

    fn forget(&self, path: &Path) {
        if let Err(error) = absent(fs::remove_file(path)) {
            // The sweep at the next start finds it.
            tracing::warn!(digest = %self.blob.digest, %error, "what is left of a download could not be removed");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(blobs::MODE)
        .custom_flags(
            (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)
                .bits()
                .cast_signed(),
        )
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// A link, a pipe, a device.
fn foreign(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
