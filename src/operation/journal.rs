//! What must be known of operations after a restart: which run, and how the ended ones ended.
//!
//! ```text
//! table, driver ──Line──> bounded queue ──> one thread ──> <state-dir>/operations.journal
//!                  <── acknowledged when written ──┘
//! ```
//!
//! **The promise.** A caller learns an operation's id after the line of its begin is written, and its end after the line of
//! its end is. Written means handed to the system: it outlives the process, however that ends. It is made durable within
//! [`SYNC_AFTER`], so that a machine that loses its power may forget the last moment; then an operation that had ended is
//! taken up again and finds its work done, for whatever is taken up again is safe to be done twice. One `fsync` a line
//! would make each end wait for the disk, and buy no more than that.
//!
//! **What it costs at most.** Records are lines with checksums, and a line that is torn or turned is skipped: it costs its
//! record. Lines of later versions are skipped, and go with the next compaction. Nobody waits for the disk longer than
//! [`PATIENCE`], and what happens to the journal never happens to the work: when it cannot be written the service goes on,
//! says so once, remembers up to [`MAX_MISSED`] bytes of what it would have written, and tries again every few seconds.
//!
//! **One service a folder**, by a lock. A second one is not refused but runs without a journal and says who has it: two
//! services by hand on one default folder have always worked, and in a rolling update the successor starts before its
//! predecessor has gone. It takes the journal over, with what runs in it, once the lock is free.
//!
//! A thread of its own does all reading and writing, for files block. It ends when the journal is closed or dropped.
//!
//! Rejected: a database (a dependency for one table with one writer); records of progress (numbers that are stale when they
//! are written: an operation that is taken up again counts on from far above what anybody can have seen).

use std::{path::Path, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

mod file;
pub(in crate::operation) mod line;
mod lock;
mod writer;

pub(in crate::operation) use self::{
    file::Held,
    line::{Kind, Line},
};

/// What was written is durable so much later.
const SYNC_AFTER: Duration = Duration::from_millis(200);
/// Nobody waits longer for a line to be written.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that are remembered while nothing can be written.
const MAX_MISSED: usize = 16 << 20;
/// Bytes that wait to be written, and what the shortest line counts for.
const MAX_WAITING: usize = 64 << 20;
const SHORTEST: usize = 16 << 10;

/// Bounds of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Ended operations that are kept.
    pub(super) ended: usize,
    /// How long.
    pub(super) ended_for: Duration,
    /// Bytes from which on it is written anew when half of it counts no more.
    pub(super) compact: u64,
    /// Bytes that are read. Four times what may count.
    pub(super) file: u64,
    /// Between two tries to write again.
    pub(super) retry: Duration,
}

/// Where operations are recorded. Cheap to clone: a handle.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    messages: std::sync::mpsc::SyncSender<Message>,
    room: Arc<Semaphore>,
}

/// What the folder's journal held, as soon as that is known.
#[derive(Debug)]
pub struct Opening {
    pub(super) first: oneshot::Receiver<Option<Held>>,
    pub(super) later: oneshot::Receiver<Held>,
}

#[derive(Debug)]
enum Message {
    Line {
        line: Line,
        written: oneshot::Sender<()>,
        /// Room in the queue, until it is written.
        _room: OwnedSemaphorePermit,
    },
    Close(oneshot::Sender<()>),
}

// === impl Bounds ===

impl Bounds {
    pub(super) fn new(limits: &super::Limits) -> Self {
        Self {
            ended: limits.ended,
            ended_for: limits.ended_for,
            compact: 4 << 20,
            file: 512 << 20,
            retry: Duration::from_secs(5),
        }
    }
}

// === impl Journal ===

impl Journal {
    /// Begins to open the journal in `folder`.
    pub(super) fn open(folder: &Path, bounds: Bounds) -> (Self, Opening) {
        let (messages, queue) = std::sync::mpsc::sync_channel(MAX_WAITING / SHORTEST + 1);
        let (first_tx, first) = oneshot::channel();
        let (later_tx, later) = oneshot::channel();
        let writer = writer::Writer::new(folder, bounds, first_tx, later_tx);
        let spawned = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&queue));
        if let Err(error) = spawned {
            tracing::warn!(%error, "operations are not recorded: a restart forgets them");
        }
        let room = Arc::new(Semaphore::new(MAX_WAITING / 1024));
        (Self { messages, room }, Opening { first, later })
    }

    /// Returns when the line is written, or cannot be, or after [`PATIENCE`]. It is on its way before the first wait, as
    /// long as there is room.
    pub(super) async fn write(&self, line: Line) {
        let work = async {
            let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size(&line)).await else {
                return;
            };
            if let Some(written) = self.send(line, room) {
                let _ended = written.await.is_err();
            }
        };
        if tokio::time::timeout(PATIENCE, work).await.is_err() {
            tracing::warn!("an operation is not recorded in time: the state directory is slow");
        }
    }

    /// As [`write`](Self::write), without a wait. It may be lost when there is no room.
    pub(super) fn push(&self, line: Line) {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(size(&line)) {
            self.send(line, room);
        }
    }

    /// Makes everything durable and gives the folder back. What comes later is not recorded.
    pub(super) async fn close(&self) {
        let (closed_tx, closed) = oneshot::channel();
        if self.messages.try_send(Message::Close(closed_tx)).is_ok() {
            let _ended = tokio::time::timeout(PATIENCE, closed).await.is_ok();
        }
    }

    fn send(&self, line: Line, room: OwnedSemaphorePermit) -> Option<oneshot::Receiver<()>> {
        let (written, receiver) = oneshot::channel();
        let message = Message::Line {
            line,
            written,
            _room: room,
        };
        // There are as many places as there is room for lines; else the thread has ended.
        self.messages.try_send(message).ok().map(|()| receiver)
    }
}

/// The room it takes, in KiB.
fn size(line: &Line) -> u32 {
    u32::try_from(line.text.len().max(SHORTEST).div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
