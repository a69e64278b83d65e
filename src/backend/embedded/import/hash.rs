//! Digests of files by position, a megabyte at a time, as long as they are wanted.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use sha2::{Digest as _, Sha256};

use super::{check::Input, watermark::Watermark};
use crate::{
    backend::{Error, call::Reporter},
    gguf::merge::Piece,
    model::Digest,
};

/// Bytes read at a time: enough to keep the disk busy, little enough to stop at once.
const BUFFER: u64 = 1 << 20;

/// A digest in the making.
pub(super) struct Hashing<'a> {
    hasher: Sha256,
    buffer: Vec<u8>,
    reporter: &'a Reporter,
}

/// Why a range was not hashed.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody wants it.
    Unwanted(Error),
    /// It cannot be read; `UnexpectedEof` where the file has become shorter.
    Io(io::Error),
}

// === impl Hashing ===

impl<'a> Hashing<'a> {
    pub(super) fn new(reporter: &'a Reporter) -> Self {
        Self {
            hasher: Sha256::new(),
            buffer: vec![0; usize::try_from(BUFFER).unwrap_or(0)],
            reporter,
        }
    }

    /// Adds `len` bytes from `start`, and tells each step how many.
    fn range(&mut self, file: &File, start: u64, len: u64, mut told: impl FnMut(u64)) -> Result<(), Stop> {
        let end = start + len;
        let mut at = start;
        while at < end {
            self.reporter.check().map_err(Stop::Unwanted)?;
            let step = BUFFER.min(end - at);
            let buffer = &mut self.buffer[..usize::try_from(step).unwrap_or(0)];
            file.read_exact_at(buffer, at).map_err(Stop::Io)?;
            self.hasher.update(&*buffer);
            at += step;
            told(step);
        }
        Ok(())
    }

    fn finish(self) -> Digest {
        Digest::from_bytes(self.hasher.finalize().into())
    }

    /// The digest of the `size` bytes that another thread writes to `file`; nothing if it stops before.
    pub(super) fn behind(
        mut self,
        file: &File,
        size: u64,
        written: &Watermark,
        mut told: impl FnMut(u64),
    ) -> Result<Option<Digest>, Stop> {
        let mut at = 0;
        while at < size {
            let Some(level) = written.reached(at + 1) else {
                return Ok(None);
            };
            let start = at;
            self.range(file, start, level - start, |step| {
                at += step;
                told(at);
            })?;
        }
        Ok(Some(self.finish()))
    }
}

/// The digest that the stored file will have if nothing changes, and nothing is stored.
pub(super) fn planned(input: &Input, reporter: &Reporter, mut told: impl FnMut(u64)) -> Result<Digest, Error> {
    let mut hashing = Hashing::new(reporter);
    for piece in &input.pieces {
        match piece {
            Piece::Bytes(bytes) => {
                hashing.hasher.update(bytes);
                told(bytes.len() as u64);
            }
            Piece::Range { part, start, len } => {
                let file = &input.files[*part];
                hashing
                    .range(&file.opened, *start, *len, &mut told)
                    .map_err(|stop| stop.of(file))?;
            }
        }
    }
    Ok(hashing.finish())
}

/// The digests of the caller's files.
pub(super) fn files(input: &Input, reporter: &Reporter) -> Result<Vec<Digest>, Error> {
    let digest = |file: &super::check::File| {
        let mut hashing = Hashing::new(reporter);
        hashing
            .range(&file.opened, 0, file.size(), |_| ())
            .map_err(|stop| stop.of(file))?;
        Ok(hashing.finish())
    };
    input.files.iter().map(digest).collect()
}

// === impl Stop ===

impl Stop {
    /// While one of the caller's files was read.
    fn of(self, file: &super::check::File) -> Error {
        match self {
            Self::Unwanted(error) => error,
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => file.changed(),
            Self::Io(error) => file.unreadable(error),
        }
    }
}
