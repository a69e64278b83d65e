//! What is wrong with a file. The texts go to callers of the API: they name the key or tensor, and nothing of the server.

use std::{fmt, io};

use super::limits::{MAX_ALIGNMENT, MAX_ARRAY, MAX_DIMENSIONS, MAX_ENTRIES, MAX_HEADER, MAX_TENSORS, MAX_TEXT};

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read {at}")]
    Io { at: Place, source: io::Error },
    /// The file ends too early.
    #[error("the file ends within {at}")]
    Truncated { at: Place },
    /// Another kind of file.
    #[error("not a GGUF file: it begins with \"{found}\"")]
    NotGguf { found: String },
    /// A format before GGUF.
    #[error("the file has the format {format}, which came before GGUF; convert the model again")]
    Legacy { format: &'static str },
    /// GGUF for big-endian machines.
    #[error("the GGUF file is big-endian; only little-endian ones can be used")]
    BigEndian,
    /// GGUF version 1.
    #[error("the GGUF file has version 1; only versions 2 and 3 can be used: convert the model again")]
    Version1,
    /// A GGUF version that does not exist yet, or never will.
    #[error("the GGUF file has the unknown version {version}; only versions 2 and 3 can be used")]
    UnknownVersion { version: u32 },
    /// More metadata than any model has.
    #[error("the GGUF file claims {count} metadata entries; at most {MAX_ENTRIES} are accepted")]
    TooManyEntries { count: u64 },
    /// More tensors than any model has.
    #[error("the GGUF file claims {count} tensors; at most {MAX_TENSORS} are accepted")]
    TooManyTensors { count: u64 },
    /// The header does not end where headers of models do.
    #[error("the header goes beyond {MAX_HEADER} bytes within {at}")]
    HeaderTooLarge { at: Place },
    /// A string over its limit.
    #[error("{at} has a string of {len} bytes; at most {max} are accepted")]
    StringTooLong { at: Place, len: u64, max: u64 },
    /// All kept strings together are over the limit.
    #[error("the strings of the header exceed {MAX_TEXT} bytes together within {at}")]
    TooMuchText { at: Place },
    /// A string that is kept and is not UTF-8.
    #[error("{at} is not UTF-8")]
    NotUtf8 { at: Place },
    /// A key without a name.
    #[error("metadata key {index} is empty")]
    EmptyKey { index: u64 },
    /// A key that comes twice.
    #[error("the metadata key \"{key}\" comes twice")]
    DuplicateKey { key: String },
    /// A kind of value that the format does not have.
    #[error("the metadata key \"{key}\" has a value of the unknown kind {kind}")]
    UnknownValueKind { key: String, kind: u32 },
    /// An array of arrays.
    #[error("the metadata key \"{key}\" has an array of arrays")]
    NestedArray { key: String },
    /// An array over its limit.
    #[error("the metadata key \"{key}\" has an array of {len} elements; at most {MAX_ARRAY} are accepted")]
    ArrayTooLong { key: String, len: u64 },
    /// A truth value that is neither.
    #[error("the metadata key \"{key}\" has the truth value {value}; only 0 and 1 are")]
    NotBool { key: String, value: u8 },
    /// `general.alignment` is not a u32.
    #[error("general.alignment is not an unsigned number of 32 bits")]
    AlignmentKind,
    /// `general.alignment` is no alignment.
    #[error("general.alignment is {alignment}; it must be a power of two up to {MAX_ALIGNMENT}")]
    Alignment { alignment: u64 },
    /// A name that comes twice.
    #[error("the tensor \"{name}\" comes twice")]
    DuplicateTensor { name: String },
    /// More dimensions than ggml has.
    #[error("the tensor \"{name}\" has {dimensions} dimensions; at most {MAX_DIMENSIONS} are accepted")]
    Dimensions { name: String, dimensions: u32 },
    /// A dimension of no elements.
    #[error("the tensor \"{name}\" has a dimension of length 0")]
    ZeroDimension { name: String },
    /// A kind of tensor that is not known, or was removed from the format.
    #[error("the tensor \"{name}\" has the unknown kind {kind}")]
    UnknownTensorKind { name: String, kind: u32 },
    /// Rows that do not end where a block does.
    #[error("the tensor \"{name}\" has rows of {row} elements, no multiple of the {block} in a block of {kind}")]
    PartialBlock {
        name: String,
        kind: &'static str,
        row: u64,
        block: u64,
    },
    /// More elements or bytes than can be counted.
    #[error("the size of the tensor \"{name}\" overflows")]
    TensorTooLarge { name: String },
    /// An offset between two places where tensors may begin.
    #[error("the tensor \"{name}\" has the offset {offset}, no multiple of the alignment {alignment}")]
    Misaligned { name: String, offset: u64, alignment: u64 },
    /// Data beyond the end of the file: a truncated file, or a wrong offset.
    #[error(
        "the tensor \"{name}\" has {size} bytes at offset {offset}, which is beyond the end of the file of {file_size} bytes"
    )]
    OutsideFile {
        name: String,
        offset: u64,
        size: u64,
        file_size: u64,
    },
    /// Two tensors share bytes.
    #[error("the tensors \"{first}\" and \"{second}\" overlap")]
    Overlap { first: String, second: String },
}

/// What was being read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The first four bytes.
    Magic,
    /// The version.
    Version,
    /// The numbers of tensors and of metadata entries.
    Counts,
    /// So many metadata entries, which cannot all be in what is left of the file.
    Metadata(u64),
    /// So many tensors, which cannot all be in what is left of the file.
    TensorTable(u64),
    /// The key with this index.
    Key(u64),
    /// The value of this key.
    Value(String),
    /// The name of the tensor with this index.
    TensorName(u64),
    /// The description of the tensor with this name.
    Tensor(String),
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("the magic"),
            Self::Version => f.write_str("the version"),
            Self::Counts => f.write_str("the numbers of tensors and metadata entries"),
            Self::Metadata(count) => write!(f, "the {count} metadata entries"),
            Self::TensorTable(count) => write!(f, "the table of {count} tensors"),
            Self::Key(index) => write!(f, "metadata key {index}"),
            Self::Value(key) => write!(f, "the value of the metadata key \"{key}\""),
            Self::TensorName(index) => write!(f, "the name of tensor {index}"),
            Self::Tensor(name) => write!(f, "the description of the tensor \"{name}\""),
        }
    }
}

/// A name from a file, fit for a message: at most 64 characters, control characters and quotes escaped.
pub(super) fn shown(name: &str) -> String {
    let mut out: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    if name.chars().nth(64).is_some() {
        out.push('…');
    }
    out
}
