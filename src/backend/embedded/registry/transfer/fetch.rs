//! Connections that fill what is missing.
//!
//! The first request is for a range that does not begin at 0, where there is one: its answer tells whether the registry
//! knows ranges, and the others start on that. They take the next missing range each; towards the end the ranges become
//! small, so that all end together. A registry that passes over ranges sends one stream, of which what is there already is
//! skipped.

use futures::{FutureExt as _, TryStreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Halt, Limits,
    ledger::Ledger,
    reader::Reader,
    source::{Source, Trouble},
    tries::Tries,
    writer::Job,
};

/// All connections of one blob. Dropping it closes them.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    pub(super) source: &'a Source,
    pub(super) limits: &'a Limits,
    /// Shared with other blobs.
    pub(super) connections: &'a Semaphore,
    pub(super) ledger: &'a Ledger,
    pub(super) writer: mpsc::Sender<Job>,
    pub(super) size: u64,
}

/// How a registry is asked.
#[derive(Debug, Clone, Copy)]
enum Mode<'a> {
    /// An answer that begins where it should is told.
    Ranges(&'a CancellationToken),
    /// It may begin at 0 whatever is asked.
    Stream,
}

// === impl Fetch ===

impl Fetch<'_> {
    /// Fetches all that is missing, and returns when it is written.
    pub(super) async fn run(self) -> Result<(), Halt> {
        match self.in_ranges().await {
            Err(Halt::Stream) => {
                self.settle().await?;
                self.fill(0, self.size, Mode::Stream).await?;
            }
            other => other?,
        }
        self.settle().await
    }

    async fn in_ranges(&self) -> Result<(), Halt> {
        let Some(first) = self.ledger.claim(self.limits, true) else {
            return Ok(());
        };
        let known = &CancellationToken::new();
        let scout = async {
            self.fill(first.start, first.end, Mode::Ranges(known)).await?;
            self.worker(known).await
        };
        let connections: FuturesUnordered<_> = [scout.boxed()].into_iter().collect();
        for _ in 1..self.limits.connections_per_blob {
            let other = async {
                known.cancelled().await;
                self.worker(known).await
            };
            connections.push(other.boxed());
        }
        connections.try_collect().await
    }

    async fn worker(&self, known: &CancellationToken) -> Result<(), Halt> {
        while let Some(range) = self.ledger.claim(self.limits, false) {
            self.fill(range.start, range.end, Mode::Ranges(known)).await?;
        }
        Ok(())
    }

    /// Brings what is missing of a claimed range, with as many requests as it takes.
    async fn fill(&self, mut at: u64, end: u64, mode: Mode<'_>) -> Result<(), Halt> {
        let mut tries = Tries::new(self.limits, self.ledger.written());
        while let Some(missing) = self.ledger.missing(at, end) {
            at = missing.start;
            self.source.admitted().await;
            let queued = Instant::now();
            let connection = self.connections.acquire().await.map_err(|_| Halt::Elsewhere)?;
            tries.waited(queued.elapsed());
            let asked = self.ask(&mut at, end, mode).await;
            drop(connection);
            let fault = match asked {
                Ok(()) => return Ok(()),
                Err(Trouble::Halt(halt)) => return Err(halt),
                Err(Trouble::Fault(fault)) => fault,
            };
            tracing::debug!(error = %fault.error, retry = ?fault.retry, at, end, "a request to the registry failed");
            self.source.learn(&fault);
            // What this connection brought counts at once, though the writer may still be at it.
            self.settle().await?;
            let wait = tries.after(fault, self.ledger.written()).map_err(Halt::Failed)?;
            sleep(wait).await;
        }
        Ok(())
    }

    /// One request. Moves `at` to where the next would go on.
    async fn ask(&self, at: &mut u64, end: u64, mode: Mode<'_>) -> Result<(), Trouble> {
        let opened = self.source.open(*at..end).await?;
        if opened.start == *at {
            if let Mode::Ranges(known) = mode {
                known.cancel();
            }
        } else if matches!(mode, Mode::Ranges(_)) {
            return Err(Trouble::Halt(Halt::Stream));
        }
        let mut reader = Reader::new(self, opened, *at);
        let read = reader.read(end).await;
        *at = reader.finish().await?;
        read
    }

    /// Waits until all that was handed to the writer is written.
    async fn settle(&self) -> Result<(), Halt> {
        let (done, settled) = oneshot::channel();
        self.writer.send(Job::Settle(done)).await.map_err(|_| Halt::Elsewhere)?;
        settled.await.map_err(|_| Halt::Elsewhere)
    }
}
