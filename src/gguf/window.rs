//! Reads by position through one small buffer, never beyond the file or the largest header.
//!
//! Positioned reads leave the descriptor's own offset alone, so many readers share one open file. Rejected: mapping the
//! file. A caller who truncates it while it is read would kill the server by SIGBUS.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    sync::Arc,
};

use super::{
    error::{Error, Place},
    limits::MAX_HEADER,
};

/// Bytes read at a time, and so the buffer's size.
const WINDOW: u64 = 64 * 1024;

/// Something that is read by position.
pub trait ReadAt {
    /// Reads at most `buf.len()` bytes at `offset`; 0 bytes say that the end is reached. May read fewer.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads until `buf` is full or the end is reached, past interrupted calls. Answers how many bytes there were.
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// A buffered position in a header.
pub(super) struct Window<'a, F: ?Sized> {
    file: &'a F,
    file_size: u64,
    position: u64,
    start: u64,
    bytes: Vec<u8>,
}

/// Why reading stopped, before it is known what was being read.
pub(super) enum Stop {
    End,
    HeaderTooLarge,
    Io(io::Error),
}

// === impl ReadAt ===

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

// === impl Window ===

impl<'a, F: ReadAt + ?Sized> Window<'a, F> {
    pub(super) fn new(file: &'a F, file_size: u64) -> Self {
        Self {
            file,
            file_size,
            position: 0,
            start: 0,
            bytes: Vec::new(),
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes from here to the end of the file.
    pub(super) fn remaining(&self) -> u64 {
        self.file_size.saturating_sub(self.position)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let end = self.end_of(N as u64)?;
        let mut out = [0; N];
        if !self.copy(&mut out) {
            self.refill()?;
            if !self.copy(&mut out) {
                return Err(Stop::End);
            }
        }
        self.position = end;
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads `len` bytes, which the caller has bounded; nothing is allocated before they are known to be in the file.
    pub(super) fn vec(&mut self, len: u64) -> Result<Vec<u8>, Stop> {
        let end = self.end_of(len)?;
        let mut out = vec![0; usize::try_from(len).map_err(|_| Stop::End)?];
        if !self.copy(&mut out) {
            if len < WINDOW {
                self.refill()?;
                if !self.copy(&mut out) {
                    return Err(Stop::End);
                }
            } else if self.file.fill_at(&mut out, self.position).map_err(Stop::Io)? < out.len() {
                return Err(Stop::End);
            }
        }
        self.position = end;
        Ok(out)
    }

    /// Passes over `len` bytes without reading them.
    pub(super) fn skip(&mut self, len: u64) -> Result<(), Stop> {
        self.position = self.end_of(len)?;
        Ok(())
    }

    fn end_of(&self, len: u64) -> Result<u64, Stop> {
        let end = self
            .position
            .checked_add(len)
            .filter(|&end| end <= self.file_size)
            .ok_or(Stop::End)?;
        if end > MAX_HEADER {
            Err(Stop::HeaderTooLarge)
        } else {
            Ok(end)
        }
    }

    fn copy(&self, out: &mut [u8]) -> bool {
        let held = self
            .position
            .checked_sub(self.start)
            .and_then(|from| usize::try_from(from).ok());
        let held = held
            .and_then(|from| self.bytes.get(from..))
            .and_then(|rest| rest.get(..out.len()));
        held.inspect(|held| out.copy_from_slice(held)).is_some()
    }

    fn refill(&mut self) -> Result<(), Stop> {
        let len = WINDOW.min(self.remaining());
        self.bytes.resize(usize::try_from(len).map_err(|_| Stop::End)?, 0);
        self.start = self.position;
        let filled = self.file.fill_at(&mut self.bytes, self.start).map_err(Stop::Io)?;
        self.bytes.truncate(filled);
        Ok(())
    }
}

// === impl Stop ===

impl Stop {
    /// The error, once it is known what was being read.
    pub(super) fn at(self, at: Place) -> Error {
        match self {
            Self::End => Error::Truncated { at },
            Self::HeaderTooLarge => Error::HeaderTooLarge { at },
            Self::Io(source) => Error::Io { at, source },
        }
    }
}
