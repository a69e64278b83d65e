//! Blobs from registries to the store: in parallel ranges, resumed, verified, once a digest whoever asks.
//!
//! | file | holds |
//! |---|---|
//! | `limits` | connections, sizes and waits, with their defaults |
//! | `download` | one blob to its end: attempts, cancel, publishing |
//! | `attempt` | one attempt: what runs side by side |
//! | `fetch` | connections that fill what is missing |
//! | `source` | opening a range: validator, total, ranges that are passed over |
//! | `reader` | one body's bytes into batches |
//! | `tries` | whether and when to ask again |
//! | `ledger`, `ranges` | which bytes are asked for, written and recorded |
//! | `writer` | the thread that writes |
//! | `hash` | the digest of what is written, close behind |
//! | `record` | what of a partial file is durable, on disk |
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
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::limits::Limits;
use super::{
    super::store::{Room, Store},
    remote::Remote,
};
use crate::{
    backend::{Error, Kind},
    model::Digest,
};

mod limits;

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
    interest: Arc<Interest>,
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
    connections: Arc<Semaphore>,
    running: Mutex<HashMap<Digest, Running>>,
}

/// One download that has not ended, or that nobody wants and that is about to.
#[derive(Debug)]
struct Running {
    state: watch::Receiver<State>,
    interest: Weak<Interest>,
    /// Cancelled once it has let go of the partial file.
    gone: CancellationToken,
}

/// Shared by all who want a download.
#[derive(Debug)]
struct Interest(CancellationToken);

// === impl Downloads ===

impl Downloads {
    pub(crate) fn new(store: Arc<Store>, limits: Limits) -> Self {
        let connections = Arc::new(Semaphore::new(limits.connections.max(1)));
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
    pub(crate) fn needed_room(&self, _blob: &Blob) -> u64 {
        0
    }

    /// Joins the running download of that digest, or begins one from `remote`.
    ///
    /// Who joins shares the fate of the download: when its registry fails for good, all learn that, and each may begin
    /// again with a registry of its own. The caller has pinned the digest. `room` is given back when a download runs
    /// already.
    pub(crate) fn fetch(&self, _blob: Blob, _remote: Arc<dyn Remote>, _room: Option<Room>) -> Download {
        let (_, state) = watch::channel(State::default());
        Download {
            state,
            interest: Arc::new(Interest(CancellationToken::new())),
        }
    }
}

// === impl Download ===

impl Download {
    /// The latest state.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until the state is another than it was, or has ended. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> State {
        let _closed = self.state.changed().await;
        self.state()
    }

    /// Waits for the end. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<bool, Error> {
        let broken = || Error::new(Kind::Internal, "the download broke off by a fault of this service");
        let state = self.state.wait_for(|state| state.ended.is_some()).await;
        state
            .ok()
            .and_then(|state| state.ended.clone())
            .unwrap_or_else(|| Err(broken()))
    }

    /// Lets go; if nobody else wants it, returns once the transfer has stopped and what came is recorded.
    pub(crate) async fn cancel(self) {
        drop(self.interest);
    }
}

// === impl Interest ===

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
