//! One input becomes one stored file, with the digest of what is stored.
//!
//! Up to four threads work at once, none of which holds content beyond a buffer of a megabyte:
//!
//! ```text
//! copy   ──written──▶ hash       of the stored bytes, from the page cache
//!   ▲          └────▶ sync       in steps, so that the end does not wait for the whole disk
//!   └──────synced───────┘        at most so far ahead, which bounds dirty pages as well
//! parts                          digests of the caller's files, for split ones alone
//! ```
//!
//! The copy is made in the kernel (`copy_file_range`), or costs nothing where the file system can share blocks (`FICLONE`).
//! Rejected: hashing what is read from the source. The digest would be true of bytes that nobody stored.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{
    super::store::{Room, Store, blobs::Temporary},
    check::Input,
    hash::{self, Hashing, Stop},
    progress::Progress,
    watermark::{Rising, Watermark},
};
use crate::{
    backend::{Error, Kind, call::Reporter},
    gguf::merge::Piece,
    model::Digest,
};

/// Bytes copied at a time, between two looks at whether it is still wanted.
#[cfg(target_os = "linux")]
const CHUNK: u64 = 8 << 20;
/// The same without the kernel's help, through a buffer.
const BUFFER: usize = 1 << 20;
/// Bytes between two syncs.
const SYNC: u64 = 64 << 20;
/// How far the copy may be ahead of the disk.
const AHEAD: u64 = 512 << 20;
/// In errors.
const ACTION: &str = "store a model's file";

/// A stored file that is not published yet.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) temporary: Temporary,
    pub(super) digest: Digest,
    /// Of the caller's files.
    pub(super) sources: Vec<Digest>,
}

/// How bytes are moved. Each is tried, and given up where the file systems cannot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    pub(super) share: bool,
    pub(super) kernel: bool,
}

struct Copying<'a> {
    store: &'a Store,
    input: &'a Input,
    to: &'a File,
    reporter: &'a Reporter,
    room: Room,
    written: Rising<'a>,
    synced: &'a Watermark,
    failed: &'a AtomicBool,
    at: u64,
    kernel: bool,
    buffer: Vec<u8>,
}

/// Why a copy stopped early.
#[derive(Debug)]
enum Halt {
    Cause(Error),
    /// Another thread failed, and knows why.
    Elsewhere,
}

/// Stores `input` durably under a temporary name.
pub(super) fn store(store: &Store, input: &Input, means: Means, reporter: &Reporter) -> Result<Stored, Error> {
    let temporary = store.temporary()?;
    let to = temporary.file();
    let shared = means.share && share(input, to);
    let room = store.reserve(if shared { 0 } else { input.size })?;
    let (written, synced, failed) = (Watermark::default(), Watermark::default(), AtomicBool::new(false));
    let (digest, sources) = thread::scope(|scope| {
        // Owned here: whatever fails below, its end is the end of those who follow it.
        let mut copying = Copying {
            store,
            input,
            to,
            reporter,
            room,
            written: written.rising(),
            synced: &synced,
            failed: &failed,
            at: 0,
            kernel: means.kernel,
            buffer: Vec::new(),
        };
        let (rising, follow) = (synced.rising(), &written);
        let syncing = spawn(scope, &failed, move || sync(store, to, input.size, follow, &rising))?;
        let hashing = spawn(scope, &failed, || digest(store, to, input, &written, reporter))?;
        let parts = match input.whole() {
            Some(_) => None,
            None => Some(spawn(scope, &failed, || hash::files(input, reporter))?),
        };
        let copied = if shared {
            copying.advance(input.size)
        } else {
            copying.run()
        };
        drop(copying);
        // The cause before what follows from it: a copy stops because the disk refused, a hash because the copy stopped.
        join(syncing)?;
        if let Err(Halt::Cause(error)) = copied {
            return Err(error);
        }
        let digest = join(hashing)?;
        let sources = parts.map(join).transpose()?;
        let digest = digest.ok_or_else(broken)?;
        Ok((digest.clone(), sources.unwrap_or_else(|| vec![digest])))
    })?;
    Ok(Stored {
        temporary,
        digest,
        sources,
    })
}

type Joined<'scope, T> = thread::ScopedJoinHandle<'scope, Result<T, Error>>;

/// A thread whose failure stops the copy.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    failed: &'scope AtomicBool,
    work: impl FnOnce() -> Result<T, Error> + Send + 'scope,
) -> Result<Joined<'scope, T>, Error> {
    thread::Builder::new()
        .name("import".to_owned())
        .spawn_scoped(scope, || work().inspect_err(|_| failed.store(true, Ordering::Relaxed)))
        .map_err(|error| Error::new(Kind::Internal, "the system gives no thread to store a model with").because(error))
}

fn join<T>(thread: Joined<'_, T>) -> Result<T, Error> {
    thread.join().unwrap_or_else(|_| Err(broken()))
}

fn broken() -> Error {
    Error::new(Kind::Internal, "storing the model broke off by a fault of this service")
}

fn digest(
    store: &Store,
    stored: &File,
    input: &Input,
    written: &Watermark,
    reporter: &Reporter,
) -> Result<Option<Digest>, Error> {
    let mut progress = Progress::new(reporter, input);
    let digest = Hashing::new(reporter)
        .behind(stored, input.size, written, |at| progress.advance(at))
        .map_err(|stop| match stop {
            Stop::Unwanted(error) => error,
            Stop::Io(error) => store.write_failed(ACTION, input.size, error),
        })?;
    if digest.is_some() {
        progress.finish();
    }
    Ok(digest)
}

fn sync(store: &Store, file: &File, size: u64, written: &Watermark, synced: &Rising<'_>) -> Result<(), Error> {
    let mut done = 0;
    while done < size {
        let Some(level) = written.reached((done + SYNC).min(size)) else {
            // The copy stopped: nothing of it will be kept.
            return Ok(());
        };
        file.sync_data()
            .map_err(|error| store.write_failed(ACTION, size, error))?;
        done = level;
        synced.raise(done);
    }
    Ok(())
}

/// Shares the blocks of a whole file, where the file system can.
#[cfg(target_os = "linux")]
fn share(input: &Input, to: &File) -> bool {
    input
        .whole()
        .is_some_and(|file| rustix::fs::ioctl_ficlone(to, &*file.opened).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn share(_: &Input, _: &File) -> bool {
    false
}

// === impl Halt ===

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Cause(error)
    }
}

// === impl Copying ===

impl Copying<'_> {
    fn run(&mut self) -> Result<(), Halt> {
        let input = self.input;
        for piece in &input.pieces {
            match piece {
                Piece::Bytes(bytes) => {
                    self.write(bytes)?;
                }
                Piece::Range { part, start, len } => self.range(*part, *start, *len)?,
            }
        }
        Ok(())
    }

    fn range(&mut self, part: usize, start: u64, len: u64) -> Result<(), Halt> {
        let mut from = start;
        let end = start + len;
        while from < end {
            from += match self.in_kernel(part, from, end - from)? {
                Some(copied) => {
                    self.advance(copied)?;
                    copied
                }
                None => self.through_buffer(part, from, end - from)?,
            };
        }
        Ok(())
    }

    /// Nothing where the kernel will not: the buffer does it, or learns which side is at fault.
    #[cfg(target_os = "linux")]
    fn in_kernel(&mut self, part: usize, from: u64, len: u64) -> Result<Option<u64>, Halt> {
        if !self.kernel {
            return Ok(None);
        }
        let (mut off_in, mut off_out) = (from, self.at);
        let len = usize::try_from(len.min(CHUNK)).unwrap_or(BUFFER);
        let source = &self.input.files[part].opened;
        match rustix::fs::copy_file_range(source, Some(&mut off_in), self.to, Some(&mut off_out), len) {
            Ok(copied) if copied > 0 => Ok(Some(copied as u64)),
            Err(rustix::io::Errno::INTR) => Ok(Some(0)),
            Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => Err(self.failed(error.into()).into()),
            _ => {
                self.kernel = false;
                Ok(None)
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn in_kernel(&mut self, _: usize, _: u64, _: u64) -> Result<Option<u64>, Halt> {
        self.kernel = false;
        Ok(None)
    }

    fn through_buffer(&mut self, part: usize, from: u64, len: u64) -> Result<u64, Halt> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let wanted = usize::try_from(len).unwrap_or(BUFFER).min(BUFFER);
        let file = &self.input.files[part];
        let read = file.opened.read_at(&mut buffer[..wanted], from);
        let copied = match read {
            Ok(0) => return Err(file.changed().into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(file.unreadable(error).into()),
        };
        self.write(&buffer[..copied])?;
        self.buffer = buffer;
        Ok(copied as u64)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        self.to
            .write_all_at(bytes, self.at)
            .map_err(|error| self.failed(error))?;
        self.advance(bytes.len() as u64)
    }

    /// So much more is written.
    fn advance(&mut self, bytes: u64) -> Result<(), Halt> {
        self.reporter.check()?;
        self.at += bytes;
        self.room.used(bytes);
        self.written.raise(self.at);
        if self.failed.load(Ordering::Relaxed) {
            return Err(Halt::Elsewhere);
        }
        let reached = self.synced.reached(self.at.saturating_sub(AHEAD));
        reached.map(|_| ()).ok_or(Halt::Elsewhere)
    }

    fn failed(&self, error: io::Error) -> Error {
        self.store
            .write_failed(ACTION, self.input.size.saturating_sub(self.at), error)
    }
}
