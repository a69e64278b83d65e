//! Digests of the files that a create sends: all cores over the files, nothing read twice that is known to be the same.
//!
//! Each file is read by one thread, in steps of a megabyte, and the larger files first, so that no core waits long for the
//! last. Rejected: several threads for one file. SHA-256 cannot be split, and a second thread that only reads ahead does what
//! the kernel does when it is told how the file is read.

use std::{
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use super::{
    files::{Files, UploadFile},
    memory::Memory,
};
use crate::{
    backend::{Error, Kind, call::Reporter, files::File},
    model::{Digest, Event, Phase},
    source::Stamp,
};

/// Bytes read at a time: enough to keep the disk busy, little enough to stop at once.
const BUFFER: u64 = 1 << 20;
/// Bytes between two counts: a few hundred a second at most.
const STEP: u64 = 4 << 20;
/// Threads, and so buffers, at most.
const MAX_THREADS: usize = 16;

/// Files to be read, shared by those who read them.
struct Work<'a> {
    /// The largest first, each with its place among all.
    files: Vec<(usize, &'a UploadFile)>,
    next: AtomicUsize,
    /// One of the threads failed: the others need not go on.
    failed: AtomicBool,
    reporter: &'a Reporter,
    result: Mutex<Progress>,
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Progress {
    bytes: u64,
    told: u64,
    digests: Vec<(usize, Stamp, Digest)>,
    error: Option<Error>,
}

/// The digests of all files, in the order of [`Files::all`]. Blocks; stops soon after it is no longer wanted. What has been
/// read whole by then is remembered all the same.
pub(super) fn all(files: &Files, memory: &Memory, reporter: &Reporter) -> Result<Vec<Digest>, Error> {
    all_from(files, memory, reporter, SystemTime::now())
}

/// `began` is before anything is read: a change that is old enough then shows in the stamp (see `memory`).
fn all_from(files: &Files, memory: &Memory, reporter: &Reporter, began: SystemTime) -> Result<Vec<Digest>, Error> {
    let mut known: Vec<_> = files.all().map(|file| memory.get(&file.source.stamp)).collect();
    let unknown: Vec<_> = files
        .all()
        .enumerate()
        .filter(|&(index, _)| known[index].is_none())
        .collect();
    if !unknown.is_empty() {
        let (digests, error) = read(unknown, reporter);
        memory.put_all(digests.iter().map(|(_, stamp, digest)| (*stamp, digest.clone())), began);
        if let Some(error) = error {
            return Err(error);
        }
        for (index, _, digest) in digests {
            known[index] = Some(digest);
        }
    }
    // A file that was known must still be what was checked.
    files.all().try_for_each(|file| file.source.unchanged())?;
    let broken = || Error::new(Kind::Internal, "hashing broke off by a fault of this service");
    known.into_iter().collect::<Option<_>>().ok_or_else(broken)
}

/// Reads these files, and tells how far it came.
fn read(mut files: Vec<(usize, &UploadFile)>, reporter: &Reporter) -> (Vec<(usize, Stamp, Digest)>, Option<Error>) {
    let names = files.iter().map(|(_, file)| file.file_name().to_owned()).collect();
    reporter.report(Event::Entered(Phase::Hashing(names)));
    let total = files.iter().map(|(_, file)| file.size()).sum();
    reporter.report(Event::Total(total));
    files.sort_by_key(|(_, file)| std::cmp::Reverse(file.size()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(files.len()).min(MAX_THREADS);
    let work = Work {
        files,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        reporter,
        result: Mutex::default(),
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            let helper = thread::Builder::new().name("hash".to_owned());
            // Without it, those who are there do it.
            if helper.spawn_scoped(scope, || work.run()).is_err() {
                break;
            }
        }
        work.run();
    });
    let Progress { digests, error, .. } = work.result.into_inner().unwrap_or_else(PoisonError::into_inner);
    if error.is_none() {
        reporter.report(Event::Bytes(total));
    }
    (digests, error)
}

// === impl Work ===

impl Work<'_> {
    /// What each thread does.
    fn run(&self) {
        let mut buffer = Vec::new();
        while let Some(&(index, file)) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            match self.digest(&file.source, &mut buffer) {
                Ok(Some(digest)) => self.lock().digests.push((index, file.source.stamp, digest)),
                Ok(None) => return,
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    self.lock().error.get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Nothing when another thread failed.
    fn digest(&self, file: &File, buffer: &mut Vec<u8>) -> Result<Option<Digest>, Error> {
        file.unchanged()?;
        ahead(file);
        let size = file.size();
        buffer.resize(usize::try_from(BUFFER.min(size)).unwrap_or(0).max(buffer.len()), 0);
        let mut hasher = Sha256::new();
        let mut at = 0;
        while at < size {
            self.reporter.check()?;
            if self.failed.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let step = BUFFER.min(size - at);
            let buffer = &mut buffer[..usize::try_from(step).unwrap_or(0)];
            file.opened
                .read_exact_at(buffer, at)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => file.changed(),
                    _ => file.unreadable(error),
                })?;
            hasher.update(&*buffer);
            at += step;
            self.count(step);
        }
        file.unchanged()?;
        Ok(Some(Digest::from_bytes(hasher.finalize().into())))
    }

    /// So many more bytes. Told under the lock, so that what is told never falls.
    fn count(&self, bytes: u64) {
        let mut result = self.lock();
        result.bytes += bytes;
        if result.bytes - result.told >= STEP {
            result.told = result.bytes;
            self.reporter.count(Event::Bytes(result.bytes));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the kernel that the file is read from its beginning to its end.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn ahead(file: &File) {
    // Advice: a file system that takes none is read all the same.
    let _unheard = rustix::fs::fadvise(&*file.opened, 0, None, rustix::fs::Advice::Sequential).is_err();
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn ahead(_: &File) {}

#[cfg(test)]
mod tests;
