//! The digest of what is written, as soon as it has no gap before it.

use std::{io, os::unix::fs::FileExt as _, sync::Arc};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Halt, Restart, broken, ledger::Marks, partial::Partial};
use crate::{backend::embedded::store, model::Digest};

/// Bytes read at a time: they stay in the processor's cache.
const BUFFER: u64 = 256 << 10;
/// Bytes of one blocking job: how long a cancel may wait for it.
const STEP: u64 = 16 << 20;

struct Hashing {
    hasher: Sha256,
    buffer: Vec<u8>,
    at: u64,
}

/// Hashes the whole file while it grows, reading back what is stored.
pub(super) async fn follow(
    partial: &Arc<Partial>,
    size: u64,
    mut marks: watch::Receiver<Marks>,
    jobs: &TaskTracker,
) -> Result<Digest, Halt> {
    let mut hashing = Hashing {
        hasher: Sha256::new(),
        buffer: vec![0; usize::try_from(BUFFER).unwrap_or(0)],
        at: 0,
    };
    while hashing.at < size {
        let marks = marks.wait_for(|marks| marks.prefix > hashing.at).await;
        let end = marks.map_err(|_| Halt::Elsewhere)?.prefix.min(hashing.at + STEP);
        let partial = Arc::clone(partial);
        let step = jobs.spawn_blocking(move || hashing.step(&partial, end));
        hashing = step.await.map_err(broken)?.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Halt::Over(Restart::Lost),
            _ => Halt::Failed(store::failed("read what it stored", error)),
        })?;
    }
    Ok(Digest::from_bytes(hashing.hasher.finalize().into()))
}

// === impl Hashing ===

impl Hashing {
    fn step(mut self, partial: &Partial, end: u64) -> io::Result<Self> {
        while self.at < end {
            let len = BUFFER.min(end - self.at);
            let buffer = &mut self.buffer[..usize::try_from(len).unwrap_or(0)];
            partial.file().read_exact_at(buffer, self.at)?;
            self.hasher.update(&*buffer);
            self.at += len;
        }
        Ok(self)
    }
}
