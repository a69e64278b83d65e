//! The thread that writes: one a download, so that nothing is written after it has ended.
//!
//! Rejected: a blocking job a batch. Parallel writes to one file wait for each other anyway, and a connection that is
//! dropped would leave its job behind.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{ledger::Ledger, partial::Partial};
use crate::backend::{Error, Kind};

/// Batches that wait for the writer.
pub(super) const QUEUE: usize = 4;
/// Pieces of one batch: what one system call takes.
const PIECES: usize = 256;

/// Neighbouring bytes as they came, not copied together.
#[derive(Debug)]
pub(super) struct Batch {
    at: u64,
    len: usize,
    pieces: Vec<Bytes>,
    since: Instant,
}

#[derive(Debug)]
pub(super) enum Job {
    Write(Batch),
    /// Answered when all before it is written.
    Settle(oneshot::Sender<()>),
}

/// Tells whoever waits that nothing will be written any more, however the writer ends.
struct Closing<'a>(&'a Ledger);

/// Writes until nobody has more. Blocks.
pub(super) fn write(
    partial: &Partial,
    ledger: &Arc<Ledger>,
    size: u64,
    mut jobs: mpsc::Receiver<Job>,
) -> Result<(), Error> {
    let _closing = Closing(ledger);
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Write(batch) => {
                let range = batch.at..batch.end();
                // The hasher may have read them. Nobody asks for the same bytes twice; if that is broken, no wrong blob
                // comes of it.
                if ledger.missing(range.start, range.end).as_ref() != Some(&range) {
                    return Err(Error::new(
                        Kind::Internal,
                        "a range was fetched twice by a fault of this service",
                    ));
                }
                batch
                    .write(partial)
                    .map_err(|error| partial.write_failed(size.saturating_sub(ledger.written()), error))?;
                ledger.wrote(range);
            }
            Job::Settle(done) => {
                let _gone = done.send(()).is_err();
            }
        }
    }
    Ok(())
}

// === impl Batch ===

impl Batch {
    pub(super) fn new(at: u64) -> Self {
        Self {
            at,
            len: 0,
            pieces: Vec::new(),
            since: Instant::now(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn end(&self) -> u64 {
        self.at + self.len as u64
    }

    /// When its first byte came.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn takes_more(&self, limit: usize) -> bool {
        self.len < limit && self.pieces.len() < PIECES
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if self.len == 0 {
            self.since = Instant::now();
        }
        self.len += piece.len();
        self.pieces.push(piece);
    }

    #[cfg(target_os = "linux")]
    fn write(self, partial: &Partial) -> io::Result<()> {
        let (mut at, end) = (self.at, self.end());
        let mut slices: Vec<_> = self.pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
        let mut slices = slices.as_mut_slice();
        while at < end {
            match rustix::io::pwritev(partial.file(), slices, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    io::IoSlice::advance_slices(&mut slices, written);
                    at += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn write(self, partial: &Partial) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let mut at = self.at;
        for piece in self.pieces {
            partial.file().write_all_at(&piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}

// === impl Closing ===

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
