//! What is wrong with a file. The texts go to callers of the API: they name the tensor, and nothing of the server.

use std::io;

use super::{
    ElementKind,
    limits::{MAX_DEPTH, MAX_DIMENSIONS, MAX_HEADER, MAX_NAME, MAX_NAMES, MAX_STRING, MAX_TENSORS, MIN_HEADER},
};

/// Why a file is refused. Names in it are cut to 64 characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the header")]
    Io {
        /// For the log.
        #[source]
        source: io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty: download it again")]
    Empty,
    /// Shorter than the length of a header.
    #[error("the file ends within the length of its header, after {file_size} bytes: download it again")]
    TooShort { file_size: u64 },
    /// What a checkout without the large files has in their place.
    #[error("the file is a Git LFS pointer, not the weights: fetch them with `git lfs pull`")]
    LfsPointer,
    /// Another kind of file.
    #[error("the file is a {format} file and is only called safetensors: give it its own extension")]
    OtherFormat { format: &'static str },
    /// No length that a header has.
    #[error(
        "not a safetensors file: its header would have {len} bytes; from {MIN_HEADER} to {MAX_HEADER} are accepted"
    )]
    HeaderLength { len: u64 },
    /// A truncated file, or no safetensors file.
    #[error(
        "the header should have {len} bytes, and the file has {file_size} in all: it is cut short, download it again"
    )]
    HeaderBeyondFile { len: u64, file_size: u64 },
    /// The file became shorter while it was read.
    #[error("the file ends within its header")]
    Truncated,
    /// Not the text that a header is.
    #[error("the header is not valid JSON at its byte {at}: export the model again")]
    NotJson { at: u64 },
    /// JSON of another kind.
    #[error("the header is no JSON object: export the model again")]
    NotAnObject,
    /// A model needs weights.
    #[error("the file has no tensors")]
    NoTensors,
    /// More than any model has.
    #[error("the file has more than {MAX_TENSORS} tensors")]
    TooManyTensors,
    /// A name over its limit, or one without a character.
    #[error("the tensor name at byte {at} of the header has {len} bytes; from 1 to {MAX_NAME} are accepted")]
    NameLength { at: u64, len: usize },
    /// All names together are over the limit.
    #[error("the tensors' names exceed {MAX_NAMES} bytes together")]
    NamesTooLong,
    /// A text over its limit.
    #[error("the header has a text of more than {MAX_STRING} bytes")]
    TextTooLong,
    /// Deeper than the format goes.
    #[error("the header is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// No metadata.
    #[error("`__metadata__` is not an object of texts: export the model again")]
    MetadataKind,
    /// The file's own metadata would be taken for a tensor.
    #[error("`__metadata__` has the key \"{key}\", which only tensors have: export the model again")]
    Metadata { key: String },
    /// A name that comes twice.
    #[error("the tensor \"{name}\" comes twice")]
    DuplicateTensor { name: String },
    /// No description of a tensor.
    #[error("the tensor \"{name}\" is not described by an object")]
    NotATensor { name: String },
    /// A field that is needed.
    #[error("the tensor \"{name}\" has no `{field}`: export the model again")]
    Missing { name: String, field: &'static str },
    /// A field that comes twice.
    #[error("the tensor \"{name}\" has `{field}` twice")]
    DuplicateField { name: String, field: &'static str },
    /// A field that the format does not have.
    #[error("the tensor \"{name}\" has the unknown field \"{field}\"")]
    UnknownField { name: String, field: String },
    /// A field of the wrong kind.
    #[error("the tensor \"{name}\" has a `{field}` that is not {wanted}")]
    Field {
        name: String,
        field: &'static str,
        wanted: &'static str,
    },
    /// A kind of elements that the format does not have.
    #[error("the tensor \"{name}\" has the unknown dtype \"{dtype}\": export the model as BF16, F16 or F32")]
    UnknownKind { name: String, dtype: String },
    /// More dimensions than any model has.
    #[error("the tensor \"{name}\" has more than {MAX_DIMENSIONS} dimensions")]
    Dimensions { name: String },
    /// More elements or bytes than can be counted.
    #[error("the size of the tensor \"{name}\" overflows")]
    TensorTooLarge { name: String },
    /// Ends before it begins.
    #[error("the tensor \"{name}\" has the data_offsets {begin} and {end}, which are the wrong way round")]
    Reversed { name: String, begin: u64, end: u64 },
    /// Data beyond the end of the file.
    #[error(
        "the tensor \"{name}\" ends at byte {end} of the data, and the file has {data_size}: it is cut short, download it again"
    )]
    OutsideFile { name: String, end: u64, data_size: u64 },
    /// Shape and range contradict each other.
    #[error("the tensor \"{name}\" has {given} bytes of data; its shape and dtype {kind} need {needed}")]
    Length {
        name: String,
        kind: ElementKind,
        given: u64,
        needed: u64,
    },
    /// Two tensors share bytes.
    #[error("the tensors \"{first}\" and \"{second}\" overlap")]
    Overlap { first: String, second: String },
}

/// A name from a file, fit for a message: at most 64 characters, control characters and quotes escaped.
pub(super) fn shown(name: &str) -> String {
    let mut out: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    if name.chars().nth(64).is_some() {
        out.push('…');
    }
    out
}
