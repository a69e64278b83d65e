//! Which bytes of a blob are asked for, which are written, and how many of these no record names.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{AcquireError, Semaphore, watch};

use super::{Limits, ranges::Ranges};
use crate::backend::embedded::store::Room;

/// The share of a blob after which what is written is recorded. A process that is killed loses at most twice that, and
/// what its connections had in hand: below 2 % of the blob, where the floor of the limits does not say otherwise.
const SHARE: u64 = 512;
/// But no more bytes than this, which also bounds dirty pages.
const MOST: u64 = 64 << 20;

/// The books of one attempt.
#[derive(Debug)]
pub(super) struct Ledger {
    size: u64,
    /// Bytes written after which a record is due.
    pub(super) due: u64,
    books: Mutex<Books>,
    marks: watch::Sender<Marks>,
    /// Bytes that may still be written before a record names those that were.
    ahead: Semaphore,
}

#[derive(Debug)]
struct Books {
    /// Written, or claimed by a connection that will not rest before they are.
    asked: Ranges,
    written: Ranges,
    recorded: u64,
    room: Option<Room>,
}

/// How far the writing has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    /// Bytes from the start on without a gap.
    pub(super) prefix: u64,
    /// All bytes.
    pub(super) written: u64,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(size: u64, durable: Ranges, room: Option<Room>, limits: &Limits) -> Self {
        let due = (size / SHARE).clamp(limits.record.min(MOST), MOST);
        // Several batches beyond what makes a record due, or it might never become so.
        let ahead = (2 * due).max(4 * limits.batch as u64);
        let marks = Marks {
            prefix: durable.prefix(),
            written: durable.len(),
        };
        Self {
            size,
            due,
            books: Mutex::new(Books {
                asked: durable.clone(),
                recorded: durable.len(),
                written: durable,
                room,
            }),
            marks: watch::Sender::new(marks),
            ahead: Semaphore::new(usize::try_from(ahead).unwrap_or(Semaphore::MAX_PERMITS)),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn marks(&self) -> watch::Receiver<Marks> {
        self.marks.subscribe()
    }

    pub(super) fn written(&self) -> u64 {
        self.marks.borrow().written
    }

    /// The next range to ask for. With `past` one that does not begin at 0, where there is a choice: only such an answer
    /// tells whether the registry knows ranges.
    pub(super) fn claim(&self, limits: &Limits, past: bool) -> Option<Range<u64>> {
        let mut books = self.books();
        let gap = books.asked.gap(0, self.size)?;
        let remaining = self.size - books.asked.len();
        let share = remaining / (2 * limits.connections_per_blob as u64);
        let length = share.clamp(limits.smallest_part, limits.part);
        let start = if past && gap.start == 0 && gap.end > length {
            length
        } else {
            gap.start
        };
        let range = start..gap.end.min(start.saturating_add(length));
        books.asked.insert(range.clone());
        Some(range)
    }

    /// The first bytes from `from` on that are not written.
    pub(super) fn missing(&self, from: u64, end: u64) -> Option<Range<u64>> {
        self.books().written.gap(from, end)
    }

    /// Waits until `bytes` more may be written; an error once nobody writes.
    pub(super) async fn admit(&self, bytes: usize) -> Result<(), AcquireError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.ahead.acquire_many(bytes).await?.forget();
        Ok(())
    }

    /// Nobody writes any more: whoever waits for admission gets an error.
    pub(super) fn close(&self) {
        self.ahead.close();
    }

    /// These bytes have been written.
    pub(super) fn wrote(&self, range: Range<u64>) {
        let mut books = self.books();
        if let Some(room) = &mut books.room {
            room.used(range.end - range.start);
        }
        books.written.insert(range);
        let marks = Marks {
            prefix: books.written.prefix(),
            written: books.written.len(),
        };
        drop(books);
        self.marks.send_replace(marks);
    }

    /// What is written, for a record.
    pub(super) fn snapshot(&self) -> Ranges {
        self.books().written.clone()
    }

    /// Bytes written that no record names.
    pub(super) fn unrecorded(&self) -> u64 {
        let books = self.books();
        books.written.len() - books.recorded
    }

    /// A record names `bytes` in all.
    pub(super) fn recorded(&self, bytes: u64) {
        let mut books = self.books();
        let more = bytes.saturating_sub(books.recorded);
        books.recorded += more;
        drop(books);
        self.ahead.add_permits(usize::try_from(more).unwrap_or(0));
    }

    /// The room that was not used, for another attempt.
    pub(super) fn into_room(self) -> Option<Room> {
        self.books.into_inner().unwrap_or_else(PoisonError::into_inner).room
    }
}
