//! Operations as the journal has them: what is written of each, and what becomes of it after a restart.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    iter, panic,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
    time::{Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    End, Ended, Left, Opening, Operations, Order, Record, Reporter, Status, Work,
    journal::{Held, Kind, Line},
    report::Stop,
};
use crate::telemetry::trace::Link;

/// The line of an operation that runs.
#[derive(Serialize)]
#[serde(bound = "")]
struct Begun<'a, W: Work> {
    label: &'a W::Label,
    create_time: SystemTime,
    /// None when it would be too long.
    intent: Option<&'a W::Intent>,
    keep: bool,
    taken_up: u32,
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct StoredBegun<W: Work> {
    label: W::Label,
    create_time: SystemTime,
    /// Read by itself: one that this version does not understand leaves an operation that can be told of.
    intent: Option<Box<RawValue>>,
    keep: bool,
    taken_up: u32,
}

/// The line of an operation that has ended. It stands for itself.
#[derive(Serialize)]
#[serde(bound = "")]
struct EndedLine<'a, W: Work> {
    label: &'a W::Label,
    create_time: SystemTime,
    time: SystemTime,
    progress: &'a W::Progress,
    result: &'a Result<W::Outcome, W::Failure>,
    cancelled: bool,
    continues: &'a Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct StoredEnded<W: Work> {
    label: W::Label,
    create_time: SystemTime,
    time: SystemTime,
    progress: W::Progress,
    result: Result<W::Outcome, W::Failure>,
    cancelled: bool,
    continues: Option<String>,
}

enum Stored<W: Work> {
    Begun(Box<Left<W>>),
    Ended(Box<Record<W>>),
    Unreadable,
}

// === impl Operations ===

impl<W: Work> Operations<W> {
    /// Waits until it is known what the journal held, and takes the ended operations into the table. What is left are those
    /// that ran: each is to be [taken up](Self::take_up) or [given up](Self::give_up). The second value comes when another
    /// service has the journal, or it cannot be read yet.
    pub async fn restore(&self, opening: Opening) -> (Vec<Left<W>>, Option<Later>) {
        match opening.first.await {
            Ok(Some(held)) => (self.take_in(held).await, None),
            _ => (Vec::new(), Some(Later(opening.later))),
        }
    }

    /// As [`restore`](Self::restore), once the journal can be had. None when the service ends before.
    pub async fn restore_later(&self, later: Later) -> Option<Vec<Left<W>>> {
        let held = later.0.await.ok()?;
        Some(self.take_in(held).await)
    }

    /// Goes on with an operation that a restart interrupted: the same id, and nobody follows it yet. False when other work
    /// holds one of its keys.
    pub fn take_up<J, F>(&self, left: &Left<W>, order: Order<W>, job: J) -> bool
    where
        J: FnOnce(Reporter<W>) -> F,
        F: Future<Output = End<W>> + Send + 'static,
    {
        let mut table = self.lock();
        let taken = |key| table.running.contains_key(key);
        if table.draining || taken(&order.key) || order.held.iter().any(taken) {
            return false;
        }
        let span = W::span(left.id, &order.label);
        let record = Record::new(left.id, left.create_time, order, left.taken_up + 1, Link::to(&span));
        self.launch(&mut table, &Arc::new(record), 0, span, job);
        drop(table);
        if let Some(line) = self.begun(left.id)
            && let Some(journal) = self.journal()
        {
            journal.push(line);
        }
        true
    }

    /// Ends an operation that a restart interrupted and that is not taken up.
    pub fn give_up(&self, left: Left<W>, progress: W::Progress, failure: W::Failure) {
        let ended = Ended {
            time: SystemTime::now(),
            result: Err(failure),
            cancelled: false,
            suspended: false,
            continues: None,
        };
        let record = Record::ended(left.id, left.label, left.create_time, progress, ended);
        if let (Some(journal), Some(line)) = (self.journal(), record.ended_line()) {
            journal.push(line);
        }
        self.insert_ended(vec![record]);
    }

    /// Writes what is needed to take an operation up again, unless just that is written. Returns when it is.
    pub(super) async fn note(&self, id: Uuid) {
        let Some(journal) = self.journal() else { return };
        if let Some(line) = self.begun(id) {
            journal.write(line).await;
        }
    }

    /// The line of a running operation; none when it is written already.
    fn begun(&self, id: Uuid) -> Option<Line> {
        let record = self.lock().by_id.get(&id).map(Arc::clone)?;
        if record.status.borrow().ended.is_some() {
            return None;
        }
        record.begun_line()
    }

    async fn take_in(&self, held: Held) -> Vec<Left<W>> {
        let (broken, newer) = (held.broken, held.newer);
        let (start, count) = (Instant::now(), held.records().count());
        let read = tokio::task::spawn_blocking(move || decode::<W>(&held)).await;
        let (mut ended, mut left, mut unreadable) = (Vec::new(), Vec::new(), 0);
        for stored in read.unwrap_or_else(|_broken| skipped(count)) {
            match stored {
                Stored::Ended(record) => ended.push(*record),
                Stored::Begun(begun) => left.push(*begun),
                Stored::Unreadable => unreadable += 1,
            }
        }
        let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if broken + newer + unreadable > 0 {
            tracing::warn!(
                broken,
                newer,
                unreadable,
                "records of operations were skipped: they are torn, or of another version"
            );
        }
        tracing::info!(
            ended = ended.len(),
            running = left.len(),
            duration_ms,
            "operations of an earlier run are known"
        );
        self.insert_ended(ended);
        left
    }

    fn insert_ended(&self, records: Vec<Record<W>>) {
        let now = Instant::now();
        let mut table = self.lock();
        for record in records {
            let time = record.status.borrow().ended.as_ref().map(|ended| ended.time);
            let age = time.and_then(|time| time.elapsed().ok()).unwrap_or_default();
            table.ended.push_back((now.checked_sub(age).unwrap_or(now), record.id));
            table.by_id.insert(record.id, Arc::new(record));
        }
        table.ended.make_contiguous().sort_by_key(|(at, _)| *at);
        self.forget_old(&mut table);
    }
}

/// What comes once the journal can be had.
#[derive(Debug)]
pub struct Later(tokio::sync::oneshot::Receiver<Held>);

/// On all processors: a start waits for it.
fn decode<W: Work>(held: &Held) -> Vec<Stored<W>> {
    /// A thread for fewer is not worth its start.
    const AT_LEAST: usize = 256;
    let records: Vec<_> = held.records().collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = records.len().div_ceil(threads).max(AT_LEAST);
    thread::scope(|scope| {
        let readers: Vec<_> = records
            .chunks(share)
            .map(|records| {
                let read = || records.iter().map(Stored::read).collect::<Vec<_>>();
                (records.len(), scope.spawn(read))
            })
            .collect();
        readers
            .into_iter()
            .flat_map(|(count, reader)| reader.join().unwrap_or_else(|_broken| skipped(count)))
            .collect()
    })
}

fn skipped<W: Work>(count: usize) -> Vec<Stored<W>> {
    iter::repeat_with(|| Stored::Unreadable).take(count).collect()
}

// === impl Stored ===

impl<W: Work> Stored<W> {
    /// One that breaks its reader, by a fault of ours, costs itself and none of the others.
    fn read(record: &(Kind, Uuid, &[u8])) -> Self {
        panic::catch_unwind(|| Self::of(record)).unwrap_or(Self::Unreadable)
    }

    fn of(&(kind, id, payload): &(Kind, Uuid, &[u8])) -> Self {
        let read = match kind {
            Kind::Begun => serde_json::from_slice::<StoredBegun<W>>(payload).map(|begun| {
                let intent = begun.intent.and_then(|intent| serde_json::from_str(intent.get()).ok());
                Self::Begun(Box::new(Left {
                    id,
                    label: begun.label,
                    create_time: begun.create_time,
                    intent,
                    keep: begun.keep,
                    taken_up: begun.taken_up,
                }))
            }),
            Kind::Ended => serde_json::from_slice::<StoredEnded<W>>(payload).map(|stored| {
                let ended = Ended {
                    time: stored.time,
                    result: stored.result,
                    cancelled: stored.cancelled,
                    suspended: false,
                    continues: stored.continues,
                };
                let record = Record::ended(id, stored.label, stored.create_time, stored.progress, ended);
                Self::Ended(Box::new(record))
            }),
            Kind::Gone => return Self::Unreadable,
        };
        read.unwrap_or(Self::Unreadable)
    }
}

// === impl Record ===

impl<W: Work> Record<W> {
    fn ended(id: Uuid, label: W::Label, create_time: SystemTime, progress: W::Progress, ended: Ended<W>) -> Self {
        let status = Status {
            running: true,
            progress: Arc::new(progress),
            ended: Some(Arc::new(ended)),
        };
        Self {
            id,
            label,
            create_time,
            place: None,
            taken_up: 0,
            status: watch::Sender::new(status),
            stop: Stop::default(),
            link: Link::default(),
            watchers: Arc::default(),
        }
    }

    /// The newest snapshot.
    pub(super) fn progress(&self) -> Arc<W::Progress> {
        Arc::clone(&self.status.borrow().progress)
    }

    /// None when the last one said the same.
    fn begun_line(&self) -> Option<Line> {
        let place = self.place.as_ref()?;
        // Held while the line is made, so that two callers write the later state last.
        let mut written = place.written.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |intent| {
            let begun = Begun::<W> {
                label: &self.label,
                create_time: self.create_time,
                intent,
                keep: place.keep.load(Ordering::Relaxed),
                taken_up: self.taken_up,
            };
            let payload = serde_json::to_string(&begun).ok()?;
            let mut hasher = DefaultHasher::new();
            payload.hash(&mut hasher);
            let line = Line::new(Kind::Begun, self.id, self.create_time, &payload)?;
            Some((line, hasher.finish()))
        };
        let (line, hash) = line(Some(&place.intent)).or_else(|| line(None))?;
        (written.replace(hash) != Some(hash)).then_some(line)
    }

    /// The line of its end, once that is set.
    fn ended_line(&self) -> Option<Line> {
        let status = self.status.borrow();
        self.line_of(&status.progress, status.ended.as_deref()?)
    }

    /// The line of this end.
    pub(super) fn line_of(&self, progress: &W::Progress, ended: &Ended<W>) -> Option<Line> {
        let payload = EndedLine::<W> {
            label: &self.label,
            create_time: self.create_time,
            time: ended.time,
            progress,
            result: &ended.result,
            cancelled: ended.cancelled,
            continues: &ended.continues,
        };
        let payload = serde_json::to_string(&payload).ok();
        payload
            .and_then(|payload| Line::new(Kind::Ended, self.id, ended.time, &payload))
            // That it has ended must be known all the same.
            .or_else(|| Line::new(Kind::Gone, self.id, ended.time, "{}"))
    }
}

#[cfg(test)]
mod tests;
