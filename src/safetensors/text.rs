//! The header as a stream that a parser may trust with its memory: it ends a text or a nesting that grows too large.
//!
//! The parser holds one text at a time, and how deep it is. Both are bounded here, before they reach it, because a parser of
//! JSON bounds neither by itself.

use std::io::{self, ErrorKind, Read};

use super::{
    Error, ReadAt,
    limits::{MAX_DEPTH, MAX_NAME, MAX_STRING},
    state::State,
};

/// Bytes read at a time.
const WINDOW: usize = 64 * 1024;

/// A tensor's name as it is written may have six characters for each of its own (`\u0041`).
const MAX_WRITTEN: usize = 6 * MAX_NAME;

/// The bytes of a header, once, in order.
pub(super) struct Text<'a, F: ?Sized> {
    file: &'a F,
    /// In the file, of the next window and of its end.
    next: u64,
    end: u64,
    window: Vec<u8>,
    at: usize,
    state: &'a State,
    depth: u32,
    /// Bytes of the string that we are in.
    string: Option<usize>,
    escaped: bool,
}

// === impl Text ===

impl<'a, F: ReadAt + ?Sized> Text<'a, F> {
    /// The bytes from `start` to `end`.
    pub(super) fn new(file: &'a F, start: u64, end: u64, state: &'a State) -> Self {
        Self {
            file,
            next: start,
            end,
            window: Vec::new(),
            at: 0,
            state,
            depth: 0,
            string: None,
            escaped: false,
        }
    }

    fn refill(&mut self) -> Result<(), Error> {
        let len = WINDOW.min(usize::try_from(self.end - self.next).unwrap_or(WINDOW));
        self.window.resize(len, 0);
        self.at = 0;
        fill(self.file, &mut self.window, self.next)?;
        self.next += len as u64;
        Ok(())
    }

    fn follow(&mut self, byte: u8) -> Result<(), Error> {
        let Some(len) = &mut self.string else {
            match byte {
                b'"' => self.string = Some(0),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            return if self.depth > MAX_DEPTH {
                Err(Error::TooDeep)
            } else {
                Ok(())
            };
        };
        *len += 1;
        let len = *len;
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.string = None;
        }
        match self.depth {
            // The top object has names of tensors alone.
            0 | 1 if len > MAX_WRITTEN => Err(Error::NameLength {
                at: self.state.read.get() - len as u64,
                len,
            }),
            _ if len > MAX_STRING => Err(Error::TextTooLong),
            _ => Ok(()),
        }
    }

    fn one(&mut self) -> Result<Option<u8>, Error> {
        if self.at == self.window.len() {
            if self.next == self.end {
                return Ok(None);
            }
            self.refill()?;
        }
        let byte = self.window[self.at];
        self.at += 1;
        self.state.read.set(self.state.read.get() + 1);
        self.follow(byte)?;
        Ok(Some(byte))
    }
}

impl<F: ReadAt + ?Sized> Read for Text<'_, F> {
    /// One byte at a time is how the parser reads; more would run ahead of what it has understood.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buf.first_mut() else { return Ok(0) };
        match self.one() {
            Ok(Some(byte)) => {
                *first = byte;
                Ok(1)
            }
            Ok(None) => Ok(0),
            Err(error) => {
                self.state.stop(error);
                Err(ErrorKind::Other.into())
            }
        }
    }
}

/// Reads until `buf` is full, past interrupted calls and short reads.
pub(super) fn fill(file: &(impl ReadAt + ?Sized), buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => return Err(Error::Truncated),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Io { source }),
        }
    }
    Ok(())
}
