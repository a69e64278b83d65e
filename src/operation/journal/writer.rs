//! The thread that reads and writes the file.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    Bounds, MAX_MISSED, Message, SYNC_AFTER,
    file::{Held, JournalFile},
    line::Line,
};
use crate::telemetry::metrics;

/// Lines that are written at once, at most.
const BATCH: usize = 256;

/// Writes what it is sent until its senders are gone.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    bounds: Bounds,
    file: Option<JournalFile>,
    /// The first line since the last sync was written then.
    unsynced: Option<Instant>,
    /// Nothing can be written since then, or since the last try.
    broken: Option<Instant>,
    missed: VecDeque<Line>,
    missed_bytes: usize,
    lost: usize,
    first: Option<oneshot::Sender<Option<Held>>>,
    later: Option<oneshot::Sender<Held>>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        folder: &Path,
        bounds: Bounds,
        first: oneshot::Sender<Option<Held>>,
        later: oneshot::Sender<Held>,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            bounds,
            file: None,
            unsynced: None,
            broken: None,
            missed: VecDeque::new(),
            missed_bytes: 0,
            lost: 0,
            first: Some(first),
            later: Some(later),
        }
    }

    /// Ends when it is told to, or when nobody can send any more.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        self.open();
        loop {
            let waits = [
                self.unsynced.map(|at| at + SYNC_AFTER),
                self.broken.map(|at| at + self.bounds.retry),
            ];
            let next = match waits.into_iter().flatten().min() {
                Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Message::Line {
                    line,
                    written,
                    _room: room,
                }) => {
                    let (mut lines, mut waiting, mut rooms) = (vec![line], vec![written], vec![room]);
                    let mut closing = None;
                    while lines.len() < BATCH {
                        match queue.try_recv() {
                            Ok(Message::Line {
                                line,
                                written,
                                _room: room,
                            }) => {
                                lines.push(line);
                                waiting.push(written);
                                rooms.push(room);
                            }
                            Ok(Message::Close(closed)) => {
                                closing = Some(closed);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.write(lines);
                    drop(rooms);
                    for written in waiting {
                        let _gone = written.send(()).is_err();
                    }
                    if let Some(closed) = closing {
                        return self.close(Some(closed));
                    }
                }
                Ok(Message::Close(closed)) => return self.close(Some(closed)),
                Err(RecvTimeoutError::Disconnected) => return self.close(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.keep_up();
        }
    }

    fn close(mut self, closed: Option<oneshot::Sender<()>>) {
        self.sync();
        // The lock goes first: who is told that it is closed may open it.
        drop(self.file.take());
        if let Some(closed) = closed {
            let _gone = closed.send(()).is_err();
        }
    }

    /// What is due whether something came or not.
    fn keep_up(&mut self) {
        if self.unsynced.is_some_and(|at| at.elapsed() >= SYNC_AFTER) {
            self.sync();
        }
        if self.broken.is_some_and(|at| at.elapsed() >= self.bounds.retry) {
            self.retry();
        }
    }

    fn open(&mut self) {
        match JournalFile::open(&self.folder, self.bounds) {
            Ok((file, held)) => {
                self.file = Some(file);
                if let Some(first) = self.first.take() {
                    let _gone = first.send(Some(held)).is_err();
                } else if let Some(later) = self.later.take() {
                    let _gone = later.send(held).is_err();
                }
            }
            Err(error) => {
                self.fail("open", &error);
                if let Some(first) = self.first.take() {
                    let _gone = first.send(None).is_err();
                }
            }
        }
    }

    fn write(&mut self, lines: Vec<Line>) {
        if let (None, Some(file)) = (self.broken, &mut self.file) {
            match file.append(&lines) {
                Ok(()) => {
                    self.unsynced.get_or_insert_with(Instant::now);
                    if file.wasteful() {
                        match file.compact() {
                            Ok(()) => self.unsynced = None,
                            // The old one is as true.
                            Err(error) => tracing::debug!(%error, "the journal of operations stays as long as it is"),
                        }
                    }
                    return;
                }
                Err(error) => self.fail("write", &error),
            }
        }
        for line in lines {
            self.missed_bytes += line.len();
            self.missed.push_back(line);
        }
        while self.missed_bytes > MAX_MISSED {
            let Some(line) = self.missed.pop_front() else { break };
            self.missed_bytes -= line.len();
            self.lost += 1;
        }
    }

    fn sync(&mut self) {
        if let (Some(_), Some(file)) = (self.unsynced.take(), &self.file)
            && let Err(error) = file.sync()
        {
            self.fail("sync", &error);
        }
    }

    fn retry(&mut self) {
        self.broken = Some(Instant::now());
        if self.file.is_none() {
            self.open();
        }
        let Some(file) = &mut self.file else { return };
        let missed = self.missed.make_contiguous();
        if file.append(missed).and_then(|()| file.sync()).is_err() {
            return;
        }
        tracing::info!(
            records = missed.len(),
            lost = self.lost,
            "operations are recorded again"
        );
        self.broken = None;
        self.missed.clear();
        (self.missed_bytes, self.lost) = (0, 0);
    }

    /// Said once, until it works again.
    fn fail(&mut self, step: &'static str, error: &io::Error) {
        metrics::journal_failed();
        if self.broken.replace(Instant::now()).is_none() {
            tracing::warn!(
                %error,
                step,
                "operations are not recorded, and a restart would forget them: tried again until it works"
            );
        }
    }
}
