//! One service a state directory: a lock that the system takes back when its holder ends, however it ends.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// Beside the journal, for that one is replaced.
const NAME: &str = "operations.lock";
/// Of what the holder says of itself.
const MAX_SAID: u64 = 64;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Makes the folder and takes the lock.
pub(super) fn take(folder: &Path) -> io::Result<Lock> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(NAME);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags())
        .open(&path)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(error.into());
        }
        let why = format!(
            "another service has this state directory{}: give each its own with --state-dir",
            holder(&path)
        );
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    // For people: who reads it while it is written, or on a full disk, learns less.
    let _said = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .is_ok();
    Ok(Lock { _file: file })
}

/// Neither a link nor a pipe that somebody put there.
pub(super) fn flags() -> i32 {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    i32::try_from(flags.bits()).unwrap_or(0)
}

fn holder(path: &Path) -> String {
    let mut said = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_SAID).read_to_string(&mut said));
    let id = read.ok().and_then(|_| said.trim().parse::<u32>().ok());
    id.map(|id| format!(" (process {id})")).unwrap_or_default()
}
