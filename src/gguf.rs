//! GGUF: a bounded reader of headers and tensor tables, and the merging of split files.
//!
//! | part | holds |
//! |---|---|
//! | [`Header`] | what a file says of itself, checked whole |
//! | `parse` | the checks, in the order of the file |
//! | `window` | [`ReadAt`], and positioned reads through a buffer of 64 KiB |
//! | `kind` | kinds of values, tensors and files |
//! | [`limits`] | what a file may claim at most, and why |
//! | [`merge`] | plan of the one file that a split one becomes |
//! | `split` | [`SplitName`], the names of the parts |
//! | [`error`] | what is wrong, in words for callers |
//!
//! A header is read or refused: nothing is half known. Little-endian files of versions 2 and 3 are read. Where Ollama is
//! laxer than llama.cpp (alignments that are no power of two, overlapping tensors, repeated keys) this reader is strict,
//! because a file that only one of them accepts is not ready for use. Where llama.cpp is stricter for its own reasons (order
//! of the tensors' data, length of their names) it is left to the engine.
//!
//! Arrays are passed over, not kept: the vocabulary is the bulk of a header, and nobody here asks for it. What their strings
//! hold is not checked; tokenizers of bytes keep parts of characters there.
//!
//! Rejected: reading on into the tensors' data, and reading everything into memory. A header is a few megabytes in front of
//! many gigabytes, and some come from strangers.

use std::ops::Range;

#[doc(hidden)]
pub mod build;
pub mod error;
mod kind;
pub mod limits;
pub mod merge;
mod parse;
mod split;
#[cfg(test)]
mod tests;
mod window;

pub use self::{
    error::{Error, Place},
    kind::{ElementKind, TensorKind},
    split::SplitName,
    window::ReadAt,
};

/// What a GGUF file says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// Where tensors may begin: a power of two, in bytes. 32 where the file states none.
    pub alignment: u64,
    /// In the order of the file. No key comes twice.
    pub metadata: Vec<Entry>,
    /// In the order of the table. No name comes twice, no two overlap, all lie within the file.
    pub tensors: Vec<Tensor>,
    /// Where the tensors' data begins, in bytes from the start of the file.
    pub data_offset: u64,
    /// Size of the whole file, in bytes.
    pub file_size: u64,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Such as `general.architecture`. Not empty.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// The bytes of key, kind and value in the file, for copying it whole.
    pub span: Range<u64>,
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    /// Its elements are not kept.
    Array {
        kind: ElementKind,
        len: u64,
    },
    U64(u64),
    I64(i64),
    F64(f64),
}

/// One tensor of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Lengths of the dimensions, the row's first; none is 0. No dimensions: one element.
    pub shape: Vec<u64>,
    /// How its elements are stored.
    pub kind: TensorKind,
    /// Where its data begins, in bytes from [`Header::data_offset`].
    pub offset: u64,
    /// Bytes of its data, without padding.
    pub size: u64,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A model, or a part of one.
    Model,
    /// A LoRA adapter.
    Adapter,
    /// The projector of a multimodal model.
    Projector,
    /// A vocabulary without tensors.
    Vocabulary,
    /// Measurements for quantisers.
    ImportanceMatrix,
}

/// Which part of a split file this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// From 0. Also 0 where the file does not say; [`merge::plan`] refuses that.
    pub number: u64,
    /// Number of the parts, more than 1.
    pub count: u64,
    /// Number of tensors in all parts together, where the file says it.
    pub tensors: Option<u64>,
}

// === impl Header ===

impl Header {
    /// Reads and checks the header of a file of `file_size` bytes. Blocks: call it where that is allowed.
    ///
    /// Reads at most twice the header and 64 KiB. Keeps at most about 64 MiB of a hostile file, a few hundred KiB of a usual
    /// one.
    pub fn read(file: &(impl ReadAt + ?Sized), file_size: u64) -> Result<Self, Error> {
        parse::header(file, file_size)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// The text of a key, if it has one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::text)
    }

    /// The number of a key, if it is whole and not negative, in whatever width it was written.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Value::unsigned)
    }

    /// Such as `llama`.
    pub fn architecture(&self) -> Option<&str> {
        self.text("general.architecture")
    }

    /// The value of `<architecture>.<key>`, such as `context_length`.
    pub fn own(&self, key: &str) -> Option<&Value> {
        self.get(&format!("{}.{key}", self.architecture()?))
    }

    /// Number of all tensors' elements.
    pub fn parameter_count(&self) -> u64 {
        self.tensors.iter().map(Tensor::elements).fold(0, u64::saturating_add)
    }

    /// What the file is for.
    pub fn kind(&self) -> FileKind {
        match self.text("general.type") {
            Some("adapter") => FileKind::Adapter,
            Some("mmproj" | "projector") => FileKind::Projector,
            Some("imatrix") => FileKind::ImportanceMatrix,
            _ if self.architecture() == Some("clip") && self.own("block_count").is_none() => FileKind::Projector,
            _ if self.tensors.is_empty() && self.split().is_none() => FileKind::Vocabulary,
            _ => FileKind::Model,
        }
    }

    /// How most tensors are stored, such as `F16` or `Q4_K_M`; none where the file does not say, or says an unknown number.
    pub fn file_type(&self) -> Option<&'static str> {
        self.unsigned("general.file_type").and_then(kind::file_type)
    }

    /// Which part of a split file it is; none for a whole one. A
    /// merged file may keep the keys with a count of 0, and a split into one part is whole.
    pub fn split(&self) -> Option<Split> {
        let count = self.unsigned("split.count").filter(|&count| count > 1)?;
        let number = self.unsigned("split.no").unwrap_or(0);
        Some(Split {
            number,
            count,
            tensors: self.unsigned("split.tensors.count"),
        })
    }
}

// === impl Value ===

impl Value {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The number, if it is whole and not negative.
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::U8(number) => Some(number.into()),
            Self::U16(number) => Some(number.into()),
            Self::U32(number) => Some(number.into()),
            Self::U64(number) => Some(number),
            Self::I8(number) => number.try_into().ok(),
            Self::I16(number) => number.try_into().ok(),
            Self::I32(number) => number.try_into().ok(),
            Self::I64(number) => number.try_into().ok(),
            _ => None,
        }
    }
}

// === impl Tensor ===

impl Tensor {
    /// Number of its elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().copied().fold(1, u64::saturating_mul)
    }
}
