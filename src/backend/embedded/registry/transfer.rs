//! Blobs from registries to the store: in parallel ranges, resumed, verified, once a digest whoever asks.
//!
//! | file | holds |
//! |---|---|
//! | `limits` | connections, sizes and waits, with their defaults |
//! | `task` | one download to its end: attempts, and what each that fails means |
//! | `attempt` | one attempt: what runs side by side |
//! | `fetch` | connections that fill what is missing |
//! | `source` | opening a range: validator, total, ranges that are passed over |
//! | `reader` | one body's bytes into batches |
//! | `tries` | whether and when to ask again |
//! | `ledger`, `ranges` | which bytes are asked for, written and recorded |
//! | `writer` | the thread that writes |
//! | `hash` | the digest of what is written, close behind |
//! | `partial`, `record` | the file that it grows in, and what of that is durable |
//!
//! ```text
//! connections ──batches──▶ writer ──marks──▶ hash, record, progress
//!      ▲                                       │
//!      └───────────── permits ◀────────────────┘   at most so many bytes that no record names
//! ```
//!
//! One task a download polls all its connections; one blocking thread writes, and short blocking jobs hash and sync. The
//! hasher reads back what is stored, so the digest is true of the file. A byte that is written is not written again in the
//! same attempt, so it is true of the file to the end.
//!
//! Rejected: hashing what arrives (true of bytes that nobody stored, and useless out of order); a file a part (twice the
//! writing); allocating the whole file first (a cancelled pull would keep the disk full); a task a connection (a dropped one
//! leaves writes behind).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use self::limits::Limits;
use self::{record::Resume, task::Task};
use super::{
    super::store::{Room, Store},
    remote::Remote,
};
use crate::{
    backend::{Error, Kind},
    model::Digest,
};

mod attempt;
mod fetch;
mod hash;
mod ledger;
mod limits;
mod partial;
mod ranges;
mod reader;
mod record;
mod source;
mod task;
pub(super) mod tries;
mod writer;

/// Downloads of one store. Cheap to clone. To be used inside a Tokio runtime.
#[derive(Debug, Clone)]
pub(crate) struct Downloads {
    shared: Arc<Shared>,
}

/// What to download.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    /// Bytes, as the manifest says.
    pub(crate) size: u64,
}

/// Interest in a running download. Dropping the last one stops the transfer and keeps what came, for a resume.
#[derive(Debug)]
pub(crate) struct Download {
    state: watch::Receiver<State>,
    joined: bool,
    interest: Arc<Interest>,
    gone: CancellationToken,
}

/// How far a download has come: the latest value, which changes at most some ten times a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Bytes on disk, those of an earlier process included. Never falls within an attempt.
    pub(crate) completed: u64,
    /// Counts from 0; another one starts from nothing.
    pub(crate) attempt: u32,
    /// Why it started over.
    pub(crate) text: Option<String>,
    /// Whether the blob is new in the store, or why it is not there. Nothing changes after.
    pub(crate) ended: Option<Result<bool, Error>>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    limits: Limits,
    connections: Semaphore,
    running: Mutex<HashMap<Digest, Running>>,
}

/// One download that has not ended, or that nobody wants and that is about to.
#[derive(Debug)]
struct Running {
    size: u64,
    state: watch::Receiver<State>,
    interest: Weak<Interest>,
    /// Cancelled once it has let go of the partial file.
    gone: CancellationToken,
}

/// Shared by all who want a download.
#[derive(Debug)]
struct Interest(CancellationToken);

/// Takes a download out of the table, however its task ends.
#[derive(Debug)]
struct Ending {
    shared: Arc<Shared>,
    digest: Digest,
    interest: Weak<Interest>,
    gone: CancellationToken,
}

/// Why an attempt ends before its time.
#[derive(Debug)]
enum Halt {
    Failed(Error),
    /// It is to be followed by another.
    Over(Restart),
    /// The registry passes over ranges. Never leaves the attempt.
    Stream,
    /// What it waited for has ended, and knows why.
    Elsewhere,
}

/// Why an attempt is to be followed by another one, unless there were enough.
#[derive(Debug)]
enum Restart {
    /// The registry's validator is another one than before.
    Changed,
    /// The digest is not the blob's but this.
    Mismatch(Digest),
    /// Another process has touched the partial file.
    Lost,
}

// === impl Downloads ===

impl Downloads {
    pub(crate) fn new(store: Arc<Store>, limits: Limits) -> Self {
        let limits = limits.sound();
        let connections = Semaphore::new(limits.connections);
        Self {
            shared: Arc::new(Shared {
                store,
                limits,
                connections,
                running: Mutex::default(),
            }),
        }
    }

    /// Bytes that a download would add to the disk: none when one runs (that one has its room), fewer than `size` when a
    /// partial file is there. Blocks: reads a small file.
    pub(crate) fn needed_room(&self, blob: &Blob) -> u64 {
        let runs = |running: &Running| running.interest.strong_count() > 0;
        if self.shared.running().get(&blob.digest).is_some_and(runs) {
            return 0;
        }
        let there = Resume::read(self.shared.store.layout(), blob).durable.len();
        blob.size.saturating_sub(there)
    }

    /// Joins the running download of that digest, or begins one from `remote`.
    ///
    /// Who joins shares the fate of the download: when its registry fails for good, all learn that, and each may begin
    /// again with a registry of its own. The caller has pinned the digest. `room` is given back when a download runs
    /// already.
    pub(crate) fn fetch(&self, blob: Blob, remote: Arc<dyn Remote>, room: Option<Room>) -> Download {
        let mut running = self.shared.running();
        let before = running.get(&blob.digest);
        if let Some((before, interest)) = before.and_then(|before| Some((before, before.interest.upgrade()?))) {
            if before.size != blob.size {
                return Download::refused(&blob);
            }
            return Download {
                state: before.state.clone(),
                joined: true,
                interest,
                gone: before.gone.clone(),
            };
        }
        // One that nobody wants any more is about to let go of the partial file.
        let before = before.map(|before| before.gone.clone());
        let (unwanted, gone) = (CancellationToken::new(), CancellationToken::new());
        let interest = Arc::new(Interest(unwanted.clone()));
        let (state_tx, state) = watch::channel(State::default());
        let ending = Ending {
            shared: Arc::clone(&self.shared),
            digest: blob.digest.clone(),
            interest: Arc::downgrade(&interest),
            gone: gone.clone(),
        };
        running.insert(
            blob.digest.clone(),
            Running {
                size: blob.size,
                state: state.clone(),
                interest: Arc::downgrade(&interest),
                gone: gone.clone(),
            },
        );
        drop(running);
        let task = Task {
            shared: Arc::clone(&self.shared),
            blob,
            remote,
            room,
            state: state_tx,
            unwanted,
        };
        // Ends with the blob, with an error, or soon after nobody wants it.
        tokio::spawn(run(task, before, ending));
        Download {
            state,
            joined: false,
            interest,
            gone,
        }
    }
}

async fn run(mut task: Task, before: Option<CancellationToken>, ending: Ending) {
    if let Some(before) = before {
        before.cancelled().await;
    }
    let ended = task.run().await;
    let Task { room, state, .. } = task;
    // In this order: who sees the end finds the room free, and begins a new download if it asks again.
    drop(room);
    drop(ending);
    state.send_modify(|state| state.ended = Some(ended));
}

// === impl Shared ===

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<Digest, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Download ===

impl Download {
    fn refused(blob: &Blob) -> Self {
        let message = format!(
            "blob {} is being downloaded with another size: one of the manifests is wrong",
            blob.digest
        );
        let ended = Some(Err(Error::new(Kind::Protocol, message)));
        let (_, state) = watch::channel(State {
            ended,
            ..State::default()
        });
        let gone = CancellationToken::new();
        gone.cancel();
        Self {
            state,
            joined: false,
            interest: Arc::new(Interest(CancellationToken::new())),
            gone,
        }
    }

    /// The latest state.
    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The states to come, for who follows several downloads. Interest stays with this value.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Whether somebody else had begun it.
    pub(crate) fn joined(&self) -> bool {
        self.joined
    }

    /// Waits until the state is another than it was, or has ended. Cancel-safe.
    #[cfg(test)]
    pub(crate) async fn changed(&mut self) -> State {
        let closed = self.state.changed().await.is_err();
        let mut state = self.state();
        if closed && state.ended.is_none() {
            state.ended = Some(Err(fault_of_ours()));
        }
        state
    }

    /// Waits for the end. Cancel-safe.
    #[cfg(test)]
    pub(crate) async fn ended(&mut self) -> Result<bool, Error> {
        let state = self.state.wait_for(|state| state.ended.is_some()).await;
        let ended = state.ok().and_then(|state| state.ended.clone());
        ended.unwrap_or_else(|| Err(fault_of_ours()))
    }

    /// Lets go; if nobody else wants it, returns once the transfer has stopped and what came is recorded.
    pub(crate) async fn cancel(self) {
        let Self { interest, gone, .. } = self;
        if let Some(last) = Arc::into_inner(interest) {
            drop(last);
            gone.cancelled().await;
        }
    }
}

// === impl Interest ===

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

// === impl Ending ===

impl Drop for Ending {
    fn drop(&mut self) {
        let mut running = self.shared.running();
        if running
            .get(&self.digest)
            .is_some_and(|running| running.interest.ptr_eq(&self.interest))
        {
            running.remove(&self.digest);
        }
        drop(running);
        self.gone.cancel();
    }
}

fn broken(error: tokio::task::JoinError) -> Halt {
    Halt::Failed(fault_of_ours().because(error))
}

fn fault_of_ours() -> Error {
    Error::new(Kind::Internal, "the download broke off by a fault of this service")
}

#[cfg(test)]
mod tests;
