//! What is read, and the table of hostile files with the error that each gets.

use std::{
    cell::Cell,
    io::{self, Write as _},
};

use super::{ElementKind, Error, Header, ReadAt, limits::MAX_HEADER};

mod hostile;
mod property;

/// A file of any size: these bytes, then zeros. Counts what is read of it.
pub(super) struct Sparse<'a> {
    bytes: &'a [u8],
    size: u64,
    read: Cell<u64>,
}

impl<'a> Sparse<'a> {
    fn new(bytes: &'a [u8], size: u64) -> Self {
        let read = Cell::new(0);
        Self { bytes, size, read }
    }
}

impl ReadAt for Sparse<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap();
        let count = rest.min(buf.len());
        buf[..count].fill(0);
        let from = usize::try_from(offset).unwrap().min(self.bytes.len());
        let held = (self.bytes.len() - from).min(count);
        buf[..held].copy_from_slice(&self.bytes[from..from + held]);
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// A file with this header and so many bytes of data.
pub(super) fn file(header: &str, data: usize) -> Vec<u8> {
    let len = header.len() as u64;
    [&len.to_le_bytes()[..], header.as_bytes(), &vec![7; data]].concat()
}

fn read(bytes: &[u8]) -> Result<Header, Error> {
    let size = bytes.len() as u64;
    Header::read_from(&Sparse::new(bytes, size), size)
}

pub(super) const MODEL: &str = r#"{"__metadata__":{"format":"pt","note":"\"{[\\"},
    "b.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
    "a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"},
    "none":{"dtype":"F16","shape":[0,5],"data_offsets":[16,16]},
    "scale":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[16,19]},"packed":{"dtype":"U8","shape":[1],"data_offsets":[20,21]}}  "#;

#[test]
fn a_file_is_read_whole() {
    let bytes = file(MODEL, 21);
    let header = read(&bytes).unwrap();
    let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["b.weight", "a", "none", "scale", "packed"]);
    let first = &header.tensors[0];
    assert_eq!(
        (first.kind, first.shape.as_slice(), first.span.clone()),
        (ElementKind::Bf16, &[2, 3][..], 4..16)
    );
    assert_eq!(header.data_offset + 21, header.file_size);

    let mut opened = tempfile::tempfile().unwrap();
    opened.write_all(&bytes).unwrap();
    assert_eq!(Header::read(&opened, bytes.len() as u64).unwrap(), header);
}

#[test]
fn interrupted_and_short_reads_go_on() {
    struct Slow<'a>(Sparse<'a>, Cell<bool>);
    impl ReadAt for Slow<'_> {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.1.replace(!self.1.get()) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let few = buf.len().min(3);
            self.0.read_at(&mut buf[..few], offset)
        }
    }
    let bytes = file(MODEL, 21);
    let size = bytes.len() as u64;
    let slow = Slow(Sparse::new(&bytes, size), Cell::new(true));
    assert_eq!(Header::read_from(&slow, size).unwrap(), read(&bytes).unwrap());
}

#[test]
fn a_huge_claim_is_not_read() {
    for len in [8 << 30, MAX_HEADER + 1, 1 << 62, 1 << 63, u64::MAX] {
        let bytes = u64::to_le_bytes(len);
        let sparse = Sparse::new(&bytes, 1 << 40);
        let error = Header::read_from(&sparse, 1 << 40).unwrap_err();
        assert!(
            matches!(error, Error::HeaderLength { len: told } if told == len),
            "{error}"
        );
        assert_eq!(sparse.read.get(), 8);
    }
    // The largest header that is accepted is read only as far as it makes sense.
    let bytes = MAX_HEADER.to_le_bytes();
    let sparse = Sparse::new(&bytes, 1 << 40);
    assert!(matches!(
        Header::read_from(&sparse, 1 << 40),
        Err(Error::NotJson { .. })
    ));
    assert!(sparse.read.get() < 100_000);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_truncated() {
    let bytes = file(MODEL, 0);
    let shrunk = Sparse::new(&bytes[..100], 100);
    assert!(matches!(
        Header::read_from(&shrunk, bytes.len() as u64),
        Err(Error::Truncated)
    ));
}
