//! Files that an import reads, opened once; every later read is on the opened descriptor.
//!
//! [`Roots::open`] opens what a caller names and [`open_unconfined`] what the operator names; [`gather_model`] and
//! [`gather_adapter`] turn that into the files of one import.
//!
//! | file | holds |
//! |---|---|
//! | `roots` | the rules for callers' paths |
//! | `beneath` | the opening that cannot leave a folder, by `openat2` or by a walk |
//! | `located` | what lies at a path: a file or a folder, with the way back to its neighbours |
//! | `split` | names of the parts of a split GGUF |
//! | `gather` | the choice of files |
//! | `bundle` | the same for safetensors, which need files beside them |
//!
//! Rejected: resolving a path, comparing it with the roots and opening it then. What a link points to can change between
//! the comparison and the opening.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, sync::Arc};

mod beneath;
mod bundle;
mod error;
mod gather;
mod located;
mod roots;
mod split;

pub use self::{
    error::{Error, Refusal, Unusable},
    gather::{gather_adapter, gather_model},
    located::{Folder, Located, Lone, open_unconfined},
    roots::{RootError, Roots},
};

/// The files of one model or adapter.
#[derive(Debug, Clone)]
pub enum Source {
    /// One GGUF, or the parts of a split one in order.
    Gguf(Vec<Opened>),
    /// Safetensors with the files beside them.
    Safetensors(Bundle),
}

/// The files of a safetensors model or adapter. None is empty; each name is one that every system can hold.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// At least one.
    pub weights: Vec<Opened>,
    /// What a converter reads beside them: configuration, tokenizer, template. Among them `config.json` for a model,
    /// `adapter_config.json` for an adapter.
    pub companions: Vec<Opened>,
}

/// An opened regular file.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Without its folder; of a [`Bundle`], relative to the bundle's folder: `sub/config.json` at the deepest.
    pub file_name: String,
    /// Opened for reading. Read by position only: many readers share it.
    pub file: Arc<File>,
}

/// What tells that a file has changed. Compared before and after it is read.
///
/// The change time cannot be set back by a program, so that a write that hides behind a restored modification time is
/// still seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The file system.
    pub dev: u64,
    /// The file's number on it.
    pub ino: u64,
    /// In bytes.
    pub size: u64,
    /// When its content was changed, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// When its content or its attributes were changed, in nanoseconds since 1970.
    pub ctime_ns: i128,
}

// === impl Source ===

impl Source {
    /// What it is called in messages: its first file.
    pub fn name(&self) -> &str {
        let first = match self {
            Self::Gguf(files) => files.first(),
            Self::Safetensors(bundle) => bundle.weights.first(),
        };
        first.map_or("", |first| &first.file_name)
    }
}

/// The stamp of an opened file as it is now.
pub fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Ok(Stamp {
        dev: metadata.dev(),
        ino: metadata.ino(),
        size: metadata.size(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests;
