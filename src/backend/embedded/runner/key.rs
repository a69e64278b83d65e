//! The key that callers show to an engine, as far as our own requests need it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Bytes of the file that are read.
const MAX: u64 = 64 << 10;

/// The first key of the file: a line that is neither empty nor a comment.
pub(super) fn first(path: &Path) -> io::Result<String> {
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(invalid("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX).read_to_string(&mut text)?;
    text.lines()
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .ok_or_else(|| invalid("it holds no key"))
}
