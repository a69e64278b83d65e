//! What a model is made from.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Digest, stored};

/// Options of an import. A field left out keeps what the file says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportOptions {
    /// LoRA adapters, under the same rules as the path.
    pub adapter_paths: Vec<String>,
    /// The type to quantize to, upper case.
    pub quantize: Option<String>,
    /// Set and empty: none.
    pub template: Option<String>,
    /// Set and empty: none.
    pub system: Option<String>,
    /// Licence texts.
    pub license: Vec<String>,
    /// Engine parameters by their own names.
    pub parameters: Map<String, Value>,
    /// The conversation that the model starts with.
    pub messages: Vec<ChatMessage>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What an import was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The files read, the model's first.
    pub sources: Vec<SourceFile>,
    /// The stored model layer.
    pub stored_digest: Digest,
    /// When it was made.
    #[serde(with = "stored::nanoseconds")]
    pub create_time: SystemTime,
    /// Whether the format was changed.
    pub converted: bool,
    /// Whether the weights were quantized.
    pub quantized: bool,
}

/// One file of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Without its folder.
    pub file_name: String,
    /// Of its bytes as they were read.
    pub digest: Digest,
    /// In bytes.
    pub size_bytes: u64,
}
