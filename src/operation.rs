//! Single flight that outlives its callers: register or join, follow, cancel, end exactly once.
//!
//! It knows no model: what is worked on, what conflicts, how progress looks and what comes of it are the types of a [`Work`].
//!
//! ```text
//! join_or_start ──> table (one lock) ──> driver task ──> job(Reporter)
//!       │                                    │
//!       └── Subscription <── watch ──────────┘
//! ```
//!
//! Two orders matter. An operation *leaves the table before its end is published*, else a caller that saw the end and calls
//! again would join a dead one. It is *given up under the lock under which callers join*, else a new caller could join what
//! is being cancelled; who comes in between waits for its end and starts anew.
//!
//! A subscriber that is slow misses snapshots, and holds nobody up: the newest value is kept, nothing is queued.
//!
//! With a journal an operation outlives the process too: the ended ones are known again after a restart, and those that ran
//! are handed to whoever can go on with them. What that needs is part of an [`Order`]: its intent.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use uuid::Uuid;

use crate::telemetry::trace::Link;

mod driver;
mod journal;
mod kept;
mod report;
mod subscription;
mod table;

pub use self::{
    journal::Opening,
    kept::Later,
    report::Reporter,
    subscription::{Subscription, Watcher},
    table::Operations,
};

/// The types of one kind of work.
pub trait Work: Send + Sync + Sized + 'static {
    /// What one operation at a time may work on.
    type Key: Clone + Eq + Hash + fmt::Debug + Send + Sync;
    /// What two callers must agree on to share an operation.
    type Content: Send + Sync;
    /// What is needed to do it again after a restart. It is written as it is by then: callers who join may have changed it.
    type Intent: Serialize + DeserializeOwned + Send + Sync;
    /// What describes it to people.
    type Label: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync;
    /// How far it has come: a complete value.
    type Progress: Clone + Serialize + DeserializeOwned + Send + Sync;
    /// What came of it.
    type Outcome: Clone + Serialize + DeserializeOwned + Send + Sync;
    /// Why nothing came of it.
    type Failure: Clone + Serialize + DeserializeOwned + Send + Sync;

    /// What becomes of a caller who wants `new` while `running` runs on the same key. Called under the table's lock: it may
    /// note in `running` what the new caller wants beyond it.
    fn meet(running: &Self::Content, new: &Self::Content) -> Meeting;
    /// What each line of the operation's log carries, without a parent: an operation outlives the call that began it.
    fn span(id: Uuid, label: &Self::Label) -> tracing::Span;
    /// The work has ended, and took so long: for whoever counts.
    fn ended(_label: &Self::Label, _took: Duration, _ended: &Ended<Self>) {}
    /// The failure of work that was stopped.
    fn stopped(id: Uuid, why: Why) -> Self::Failure;
    /// The failure of work that broke off by a fault of ours.
    fn fault(id: Uuid) -> Self::Failure;
}

/// What becomes of a caller who meets work on the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// It is the same work: both follow it.
    Join,
    /// The new work begins when the running one has ended.
    Wait,
    /// The new work is refused.
    Conflict,
}

/// Work to be done.
#[derive(Debug)]
pub struct Order<W: Work> {
    /// What it works on.
    pub key: W::Key,
    /// What else nobody may work on meanwhile.
    pub held: Vec<W::Key>,
    /// What describes it.
    pub label: W::Label,
    /// What two callers must agree on.
    pub content: W::Content,
    /// What is needed to do it again.
    pub intent: W::Intent,
    /// What the caller's leaving does.
    pub on_disconnect: OnDisconnect,
    /// Before anything was done.
    pub first: W::Progress,
}

/// What a caller's leaving does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The work goes on.
    Keep,
    /// The work is cancelled when the last caller leaves, if all of them asked for this.
    Cancel,
}

/// Why work was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody cancelled it.
    Cancelled,
    /// All its callers left.
    Abandoned,
    /// The service ends.
    ShuttingDown,
}

/// How a job ends.
#[derive(Debug)]
pub enum End<W: Work> {
    /// With an outcome.
    Done(W::Outcome),
    /// With a failure.
    Failed(W::Failure),
    /// It was told to stop, and did as far as it could.
    Stopped {
        /// What goes on all the same.
        continues: Option<String>,
    },
}

/// An operation as it is now.
pub struct View<W: Work> {
    /// Version 7: newer ones sort later.
    pub id: Uuid,
    /// What it is.
    pub label: W::Label,
    /// When it was registered.
    pub create_time: SystemTime,
    /// Those who follow it now: callers, and who only watches.
    pub followers: usize,
    /// Where it is.
    pub status: Status<W>,
}

/// The part of an operation that changes.
pub struct Status<W: Work> {
    /// Waits until the job says that it runs.
    pub running: bool,
    /// The newest snapshot.
    pub progress: Arc<W::Progress>,
    /// Set once, last.
    pub ended: Option<Arc<Ended<W>>>,
}

/// An operation's end.
pub struct Ended<W: Work> {
    /// When.
    pub time: SystemTime,
    /// What came of it.
    pub result: Result<W::Outcome, W::Failure>,
    /// It was stopped.
    pub cancelled: bool,
    /// It was stopped because the service ends, which is no end of the work: a successor may take it up under the same id.
    pub suspended: bool,
    /// It was stopped, but this goes on.
    pub continues: Option<String>,
}

/// Why an operation was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused<L> {
    /// Other work on the same key is running.
    #[error("operation {id} is working on it with other content")]
    Conflict {
        /// The running one.
        id: Uuid,
        /// What that is.
        label: L,
    },
    /// As many run as may.
    #[error("{limit} operations are running, which is the limit")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// No new work is taken.
    #[error("no new work is taken")]
    ShuttingDown,
}

/// Bounds of the table.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Operations that run at a time.
    pub running: usize,
    /// Ended ones that are remembered.
    pub ended: usize,
    /// How long.
    pub ended_for: std::time::Duration,
}

/// An operation that ran when the service ended, as the journal has it.
pub struct Left<W: Work> {
    /// Its id, which stays.
    pub id: Uuid,
    /// What it is.
    pub label: W::Label,
    /// When it was registered.
    pub create_time: SystemTime,
    /// What is needed to do it again; none when it was not kept, or this version does not understand it.
    pub intent: Option<W::Intent>,
    /// Whether a caller wanted it to go on without callers.
    pub keep: bool,
    /// How often it was taken up before.
    pub taken_up: u32,
}

/// One operation: fixed facts, and the one value that changes.
struct Record<W: Work> {
    id: Uuid,
    /// None of one that had ended before this run.
    place: Option<Place<W>>,
    label: W::Label,
    create_time: SystemTime,
    /// How often it was taken up after a restart.
    taken_up: u32,
    status: watch::Sender<Status<W>>,
    stop: report::Stop,
    /// For those who join.
    link: Link,
    /// Each watcher has a share of it. A number of its own would have to be told of each that goes.
    watchers: Arc<()>,
}

/// What an operation needs while it runs.
struct Place<W: Work> {
    key: W::Key,
    held: Vec<W::Key>,
    content: W::Content,
    intent: W::Intent,
    /// Somebody wanted it to go on without callers.
    keep: AtomicBool,
    /// What the journal was last told of it.
    written: Mutex<Option<u64>>,
}

// === impl Status ===

impl<W: Work> Clone for Status<W> {
    fn clone(&self) -> Self {
        Self {
            running: self.running,
            progress: Arc::clone(&self.progress),
            ended: self.ended.clone(),
        }
    }
}

impl<W: Work> fmt::Debug for Status<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("running", &self.running)
            .field("ended", &self.ended.is_some())
            .finish_non_exhaustive()
    }
}

// === impl View ===

impl<W: Work> fmt::Debug for View<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("id", &self.id)
            .field("label", &self.label)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

// === impl Left ===

impl<W: Work> fmt::Debug for Left<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left")
            .field("id", &self.id)
            .field("label", &self.label)
            .field("taken_up", &self.taken_up)
            .finish_non_exhaustive()
    }
}

// === impl Record ===

impl<W: Work> Record<W> {
    fn new(id: Uuid, create_time: SystemTime, order: Order<W>, taken_up: u32, link: Link) -> Self {
        let status = Status {
            running: false,
            progress: Arc::new(order.first),
            ended: None,
        };
        let place = Place {
            key: order.key,
            held: order.held,
            content: order.content,
            intent: order.intent,
            keep: AtomicBool::new(order.on_disconnect == OnDisconnect::Keep),
            written: Mutex::new(None),
        };
        Self {
            id,
            place: Some(place),
            label: order.label,
            create_time,
            taken_up,
            status: watch::Sender::new(status),
            stop: report::Stop::default(),
            link,
            watchers: Arc::default(),
        }
    }

    fn watchers(&self) -> usize {
        Arc::strong_count(&self.watchers) - 1
    }

    fn keys(&self) -> impl Iterator<Item = &W::Key> {
        let place = self.place.as_ref();
        place
            .into_iter()
            .flat_map(|place| std::iter::once(&place.key).chain(&place.held))
    }
}

// === impl Ended ===

impl<W: Work> fmt::Debug for Ended<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("time", &self.time)
            .field("cancelled", &self.cancelled)
            .field("suspended", &self.suspended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
