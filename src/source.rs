//! Files that an import reads, opened once; every later read is on the opened descriptor.

use std::{fs::File, sync::Arc};

/// The files of one model or adapter.
#[derive(Debug, Clone)]
pub enum Source {
    /// One GGUF, or the parts of a split one in order.
    Gguf(Vec<Opened>),
    /// A safetensors file, or a folder of them.
    Safetensors(Vec<Opened>),
}

/// An opened regular file.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Without its folder.
    pub file_name: String,
    /// Opened for reading. Read by position only: many readers share it.
    pub file: Arc<File>,
}
