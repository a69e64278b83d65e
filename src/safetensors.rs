//! Safetensors: a bounded reader of headers.
//!
//! | part | holds |
//! |---|---|
//! | [`Header`] | what a file says of itself, checked whole |
//! | `parse` | the checks, in the order of the file |
//! | `entry` | one tensor's description |
//! | `state` | where the parser is, and why it was stopped |
//! | `text` | the header as a bounded stream of characters |
//! | `kind` | kinds of elements |
//! | [`limits`] | what a file may claim at most, and why |
//! | [`error`] | what is wrong, in words for callers |
//!
//! A file is the length of its header (8 bytes, little-endian), the header (a JSON object of tensors) and the tensors' data.
//! A header is read or refused. This reader is as strict as the format: converters that trust a header read outside of
//! their memory, or store other weights than were meant, without a word. So fields that the format does not have are refused
//! too: some converters ignore case in the names of fields and would take them for the true ones.
//!
//! Rejected: the header as one tree of values in memory. It may be a hundred megabytes of a stranger's text, and what is
//! asked of it is a few dozen bytes a tensor.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

mod entry;
pub mod error;
mod kind;
pub mod limits;
mod parse;
mod state;
#[cfg(test)]
mod tests;
mod text;

pub use self::{error::Error, kind::ElementKind};

/// What a safetensors file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// In the order of the header; at least one. No name comes twice, no two overlap, all lie within the file.
    pub tensors: Vec<Tensor>,
    /// Where the tensors' data begins, in bytes from the start of the file.
    pub data_offset: u64,
    /// Size of the whole file, in bytes.
    pub file_size: u64,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// How its elements are stored.
    pub kind: ElementKind,
    /// Lengths of the dimensions. No dimensions: one element.
    pub shape: Vec<u64>,
    /// Its data, in bytes from [`Header::data_offset`]: as long as shape and kind say.
    pub span: Range<u64>,
}

// === impl Header ===

impl Header {
    /// Reads and checks the header of a file of `file_size` bytes, by position. Blocks: call it where that is allowed.
    ///
    /// Reads the header once, 64 KiB at a time. Keeps the tensors' names and shapes: at most about 64 MiB of a hostile file,
    /// a few hundred KiB of a usual one.
    pub fn read(file: &File, file_size: u64) -> Result<Self, Error> {
        Self::read_from(file, file_size)
    }

    /// The same of anything that is read by position.
    fn read_from(file: &(impl ReadAt + ?Sized), file_size: u64) -> Result<Self, Error> {
        parse::header(file, file_size)
    }
}

/// Something that is read by position, so that many readers share it.
trait ReadAt {
    /// Reads at most `buf.len()` bytes at `offset`; 0 bytes say that the end is reached.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

// === impl ReadAt ===

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }
}
