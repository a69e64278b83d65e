//! The file: which bytes of it count, appended to at its known end, written anew when most of it counts no more.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use uuid::Uuid;

use super::{
    Bounds,
    line::{Kind, Line, Read, lines},
    lock::{self, Lock},
};

/// The journal, in the state directory.
pub(super) const NAME: &str = "operations.journal";
const TEMPORARY: &str = "operations.journal.new";

/// The file of one service.
#[derive(Debug)]
pub(super) struct JournalFile {
    folder: PathBuf,
    bounds: Bounds,
    file: File,
    /// Where the next line goes. What lies behind it, if anything does, is of a write that failed.
    length: u64,
    live: HashMap<Uuid, Span>,
    live_bytes: u64,
    /// Oldest end first.
    ended: VecDeque<Uuid>,
    _lock: Lock,
}

/// Where an operation's record lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    length: usize,
    time: SystemTime,
    ended: bool,
}

/// A file that is to take the place of another.
struct Rewritten {
    file: File,
    spans: Vec<(Uuid, Span)>,
    length: u64,
}

/// What a file held.
#[derive(Debug, Default)]
pub(in crate::operation) struct Held {
    bytes: Vec<u8>,
    /// Of the records that count: oldest end first, then what runs, oldest first.
    records: Vec<(Kind, Uuid, std::ops::Range<usize>)>,
    /// Lines that were torn or turned.
    pub(in crate::operation) broken: usize,
    /// Lines of a later version.
    pub(in crate::operation) newer: usize,
}

// === impl JournalFile ===

impl JournalFile {
    /// Takes the folder and reads what its journal holds.
    pub(super) fn open(folder: &Path, bounds: Bounds) -> io::Result<(Self, Held)> {
        let lock = lock::take(folder)?;
        let file = open(&folder.join(NAME))?;
        let mut bytes = Vec::new();
        (&file).take(bounds.file + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bounds.file {
            // None of ours grows so far.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the journal is too large"));
        }
        let mut journal = Self {
            folder: folder.to_owned(),
            bounds,
            file,
            length: 0,
            live: HashMap::new(),
            live_bytes: 0,
            ended: VecDeque::new(),
            _lock: lock,
        };
        let held = journal.index(bytes);
        // What was torn at the end goes: the next line would be written behind it.
        journal.file.set_len(journal.length)?;
        Ok((journal, held))
    }

    /// Appends lines at the end; all of them, or none that counts.
    pub(super) fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let (mut text, mut spans) = (String::new(), Vec::new());
        for line in lines {
            let start = self.length + text.len() as u64;
            text += &line.text;
            spans.push((line, start));
        }
        if let Err(error) = self.file.write_all_at(text.as_bytes(), self.length) {
            // A part of it may be there: no reader must take it for more.
            let _cut = self.file.set_len(self.length).is_ok();
            return Err(error);
        }
        self.length += text.len() as u64;
        for (line, start) in spans {
            self.count(line.kind, line.id, line.time, start, line.text.len());
        }
        self.trim();
        Ok(())
    }

    /// Makes durable what was appended.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether a smaller file would hold all that counts.
    pub(super) fn wasteful(&self) -> bool {
        self.length > self.bounds.compact && self.length / 2 > self.live_bytes
    }

    /// Writes what counts into a new file that takes the old one's place.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let path = self.folder.join(TEMPORARY);
        let written = self.rewrite(&path).and_then(|written| {
            fs::rename(&path, self.folder.join(NAME))?;
            // Not every file system syncs folders. After a crash the old file may be there, which is as true.
            let _later = File::open(&self.folder).and_then(|folder| folder.sync_all()).is_err();
            Ok(written)
        });
        let Rewritten { file, spans, length } = written.inspect_err(|_| {
            let _none = fs::remove_file(&path).is_err();
        })?;
        (self.file, self.length) = (file, length);
        self.live.extend(spans);
        Ok(())
    }

    fn rewrite(&mut self, path: &Path) -> io::Result<Rewritten> {
        self.forget_old();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(lock::flags())
            .open(path)?;
        let mut spans: Vec<_> = self.live.iter().map(|(id, span)| (*id, *span)).collect();
        spans.sort_unstable_by_key(|(_, span)| span.start);
        let (mut out, mut buffer, mut length) = (BufWriter::with_capacity(1 << 16, &file), Vec::new(), 0);
        for (_, span) in &mut spans {
            buffer.resize(span.length, 0);
            self.file.read_exact_at(&mut buffer, span.start)?;
            out.write_all(&buffer)?;
            span.start = length;
            length += span.length as u64;
        }
        out.flush()?;
        drop(out);
        file.sync_all()?;
        Ok(Rewritten { file, spans, length })
    }

    fn index(&mut self, bytes: Vec<u8>) -> Held {
        let mut held = Held::default();
        let mut payloads = HashMap::new();
        for (at, line) in lines(&bytes) {
            if line.ends_with(b"\n") {
                self.length = (at + line.len()) as u64;
            }
            match Read::of(line) {
                Read::Record(record) => {
                    if self.count(record.kind, record.id, record.time, at as u64, line.len()) {
                        let end = at + line.len() - 1;
                        payloads.insert(record.id, (record.kind, end - record.payload.len()..end));
                    }
                }
                Read::Newer => held.newer += 1,
                Read::Broken => held.broken += 1,
            }
        }
        self.ended.make_contiguous().sort_by_key(|id| self.live[id].time);
        self.trim();
        self.forget_old();
        let mut running: Vec<_> = self.live.iter().filter(|(_, span)| !span.ended).collect();
        running.sort_unstable_by_key(|(id, _)| **id);
        let ids = self.ended.iter().chain(running.into_iter().map(|(id, _)| id));
        let record = |id: &Uuid| payloads.remove(id).map(|(kind, range)| (kind, *id, range));
        held.records = ids.filter_map(record).collect();
        held.bytes = bytes;
        held
    }

    /// Takes a record into account; false when it comes after the end.
    fn count(&mut self, kind: Kind, id: Uuid, time: SystemTime, start: u64, length: usize) -> bool {
        let before = self.live.get(&id).copied();
        if before.is_some_and(|span| span.ended) {
            return false;
        }
        self.live_bytes -= before.map_or(0, |span| span.length as u64);
        if kind == Kind::Gone {
            self.live.remove(&id);
            return false;
        }
        let ended = kind == Kind::Ended;
        if ended {
            self.ended.push_back(id);
        }
        self.live_bytes += length as u64;
        let span = Span {
            start,
            length,
            time,
            ended,
        };
        self.live.insert(id, span);
        true
    }

    /// Ended ones go by count and by size.
    fn trim(&mut self) {
        while self.ended.len() > self.bounds.ended || self.live_bytes > self.bounds.file / 4 {
            let Some(id) = self.ended.pop_front() else { return };
            self.forget(id);
        }
    }

    /// And by age.
    fn forget_old(&mut self) {
        let limit = self.bounds.ended_for;
        let old = |span: &Span| span.time.elapsed().is_ok_and(|age| age > limit);
        while let Some(&id) = self.ended.front().filter(|id| self.live.get(id).is_none_or(old)) {
            self.ended.pop_front();
            self.forget(id);
        }
    }

    fn forget(&mut self, id: Uuid) {
        if let Some(span) = self.live.remove(&id) {
            self.live_bytes -= span.length as u64;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(lock::flags())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        let why = "the journal is no file of this user's alone: move it away";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(file)
}

// === impl Held ===

impl Held {
    /// The records that count with their payloads.
    pub(in crate::operation) fn records(&self) -> impl ExactSizeIterator<Item = (Kind, Uuid, &[u8])> {
        let payload = |(kind, id, range): &(Kind, Uuid, std::ops::Range<usize>)| {
            (*kind, *id, self.bytes.get(range.clone()).unwrap_or_default())
        };
        self.records.iter().map(payload)
    }
}
