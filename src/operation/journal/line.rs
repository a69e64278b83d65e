//! One line, one record: `1 <checksum> <kind> <id> <milliseconds> <payload>`.
//!
//! What decides whether a record counts stands before the payload, so that a start reads no payload that it throws away. The
//! checksum is a CRC-32 of all that follows it: it finds what a crash tore and a disk turned, and no more is asked of it, for
//! the folder is the service's own.

use std::{
    fmt::Write as _,
    io::BufRead as _,
    str::{self, FromStr as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

/// Bytes of the longest line. Requests may hold licences and templates; what is longer is not kept whole.
pub(in crate::operation) const MAX_LINE: usize = 1 << 20;
/// Changed when an older service could no longer read a line, and would misread it.
const VERSION: &str = "1";

/// What a record says of its operation. The last one of an operation counts, but nothing comes after an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operation) enum Kind {
    /// It runs.
    Begun,
    /// It has ended, and so.
    Ended,
    /// It has ended, and how is not kept.
    Gone,
}

/// One record, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::operation) struct Line {
    pub(in crate::operation) kind: Kind,
    pub(in crate::operation) id: Uuid,
    /// Of the begin or the end.
    pub(in crate::operation) time: SystemTime,
    pub(super) text: String,
}

/// One record as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) kind: Kind,
    pub(super) id: Uuid,
    pub(super) time: SystemTime,
    pub(super) payload: &'a str,
}

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    Record(Stored<'a>),
    /// Of a later version, or a kind that came later.
    Newer,
    /// Torn, turned or too long.
    Broken,
}

/// Each line of a file with where it begins, its end included. The last one may be torn.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let (mut rest, mut at) = (bytes, 0);
    std::iter::from_fn(move || {
        let whole = rest;
        // Of a slice in memory nothing fails.
        let length = rest.skip_until(b'\n').ok().filter(|length| *length > 0)?;
        let line = (at, &whole[..length]);
        at += length;
        Some(line)
    })
}

// === impl Line ===

impl Line {
    /// None when it would be too long.
    pub(in crate::operation) fn new(kind: Kind, id: Uuid, time: SystemTime, payload: &str) -> Option<Self> {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut body = String::with_capacity(payload.len() + 64);
        // JSON has no line breaks, for it escapes them. Nothing fails in memory.
        let written = write!(body, "{} {id} {millis} {payload}", kind.letter());
        if written.is_err() || body.len() + 16 > MAX_LINE || payload.contains('\n') {
            return None;
        }
        let text = format!("{VERSION} {:08x} {body}\n", crc32fast::hash(body.as_bytes()));
        Some(Self { kind, id, time, text })
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

// === impl Read ===

impl<'a> Read<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        Self::parse(line).unwrap_or(Self::Broken)
    }

    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").filter(|line| line.len() < MAX_LINE)?;
        let mut parts = line.splitn(2, |byte| *byte == b' ');
        let (version, rest) = (str::from_utf8(parts.next()?).ok()?, parts.next()?);
        if version != VERSION {
            // What it looks like is not known: only that it says so.
            let newer = version.parse::<u32>().is_ok_and(|version| version > 1);
            return newer.then_some(Self::Newer);
        }
        let (checksum, body) = (rest.get(..8)?, rest.get(9..)?);
        let checksum = u32::from_str_radix(str::from_utf8(checksum).ok()?, 16).ok()?;
        if checksum != crc32fast::hash(body) {
            return None;
        }
        let mut words = str::from_utf8(body).ok()?.splitn(4, ' ');
        let Some(kind) = Kind::of(words.next()?) else {
            return Some(Self::Newer);
        };
        let id = Uuid::from_str(words.next()?).ok()?;
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(words.next()?.parse().ok()?))?;
        let payload = words.next()?;
        Some(Self::Record(Stored {
            kind,
            id,
            time,
            payload,
        }))
    }
}

// === impl Kind ===

impl Kind {
    fn letter(self) -> &'static str {
        match self {
            Self::Begun => "b",
            Self::Ended => "e",
            Self::Gone => "g",
        }
    }

    fn of(letter: &str) -> Option<Self> {
        match letter {
            "b" => Some(Self::Begun),
            "e" => Some(Self::Ended),
            "g" => Some(Self::Gone),
            _ => None,
        }
    }
}
