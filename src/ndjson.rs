//! Lines out of a stream of bytes, of any length up to a bound.
//!
//! Rejected: a codec that stops at a length of its own choosing or grows without one. Engines write lines of a few dozen
//! bytes, and now and then one of a megabyte.

/// Cuts bytes into lines. Holds one unfinished line at most.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no end of line was found.
    searched: usize,
    max: usize,
}

/// A line is longer than the bound, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {0} bytes")]
pub struct TooLong(pub usize);

// === impl Lines ===

impl Lines {
    /// For lines of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            max,
        }
    }

    /// Takes in what has come. All lines that are whole must have been taken out before: so the buffer holds one line and one
    /// piece of the stream at most.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end. Empty lines are passed over.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let Some(end) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched - self.start > self.max {
                    return Err(TooLong(self.max));
                }
                return Ok(None);
            };
            let (start, end) = (self.start, self.searched + end);
            (self.start, self.searched) = (end + 1, end + 1);
            if end - start > self.max {
                return Err(TooLong(self.max));
            }
            let line = self.buffer[start..end].trim_ascii();
            if !line.is_empty() {
                // Looked up again: the borrow must not outlive the loop.
                let from = start + (self.buffer[start..end].len() - self.buffer[start..end].trim_ascii_start().len());
                let len = line.len();
                return Ok(Some(&self.buffer[from..from + len]));
            }
        }
    }

    /// What has come without an end of line, when the stream has ended.
    pub fn rest(&self) -> &[u8] {
        self.buffer[self.start..].trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], max: usize) -> Result<(Vec<String>, String), TooLong> {
        let mut lines = Lines::new(max);
        let mut all = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next_line()? {
                all.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        Ok((all, String::from_utf8_lossy(lines.rest()).into_owned()))
    }

    #[test]
    fn lines_come_out_however_they_were_cut() {
        let text = b"{\"a\":1}\n\n  {\"b\":2}\r\n{\"c\"";
        let whole = lines(&[text], 100).unwrap();
        assert_eq!(
            whole,
            (
                vec!["{\"a\":1}".to_owned(), "{\"b\":2}".to_owned()],
                "{\"c\"".to_owned()
            )
        );
        for size in 1..text.len() {
            let pieces: Vec<_> = text.chunks(size).collect();
            assert_eq!(lines(&pieces, 100).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn a_line_is_bounded_with_and_without_its_end() {
        assert_eq!(lines(&[b"12345\n"], 5).unwrap().0, ["12345"]);
        assert_eq!(lines(&[b"123456\n"], 5), Err(TooLong(5)));
        assert_eq!(lines(&[b"123", b"456"], 5), Err(TooLong(5)));
        assert_eq!(lines(&[b"1\n2\n3\n4\n5\n6\n"], 1).unwrap().0.len(), 6);
    }

    #[test]
    fn what_was_taken_out_is_not_kept() {
        let mut lines = Lines::new(10);
        for _ in 0..1000 {
            lines.push(b"0123456\n89");
            while lines.next_line().unwrap().is_some() {}
            assert!(lines.buffer.len() <= 20);
            lines.push(b"\n");
            while lines.next_line().unwrap().is_some() {}
        }
    }
}
