//! What an engine lists, and what it can do.

use std::{fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{Digest, ModelName, stored};

/// A model that an engine lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// As the engine spells it.
    pub name: ModelName,
    /// Of the manifest.
    pub digest: Digest,
    /// Sum of all layers and the configuration; a shared layer counts in each model.
    pub size_bytes: u64,
    /// When the manifest was written.
    #[serde(with = "stored::nanoseconds")]
    pub modify_time: SystemTime,
    /// `gguf`, `safetensors`; empty when the engine does not tell. So are the texts below.
    pub format: String,
    /// The architecture.
    pub family: String,
    /// All architectures of the model's files.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub families: Vec<String>,
    /// Counted from the tensors.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub parameter_count: Option<u64>,
    /// As the engine words it.
    pub parameter_size: String,
    /// `Q4_K_M`, …
    pub quantization_level: String,
    /// In tokens.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub context_length: Option<u64>,
    /// Width of an embedding.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub embedding_length: Option<u64>,
    /// What the model can do.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub capabilities: Vec<ModelCapability>,
}

/// What a model can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ModelCapability {
    /// Continues a text.
    Completion,
    /// Calls tools.
    Tools,
    /// Fills a gap in a text.
    Insert,
    /// Sees images.
    Vision,
    /// Makes embeddings.
    Embedding,
    /// Thinks aloud before it answers.
    Thinking,
    /// Makes images.
    Image,
    /// Hears.
    Audio,
    /// A word that this version does not know.
    Other(String),
}

/// What a backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Fetch from a registry.
    Pull,
    /// Make a model from files.
    Create,
    /// Make a model from files of another format.
    Convert,
    /// Quantize while it makes a model.
    Quantize,
    /// Take adapters.
    Adapters,
    /// Tell all about a model.
    Show,
    /// Remove a model.
    Delete,
    /// Give a model another name.
    Copy,
    /// Send a model to a registry.
    Push,
    /// Bring a model into memory.
    Load,
    /// Take a model out of memory.
    Unload,
    /// List the models in memory.
    ListRunning,
}

// === impl Capability ===

impl Capability {
    /// As reasons spell it: `BACKEND_CANNOT_<word>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "PULL",
            Self::Create => "CREATE",
            Self::Convert => "CONVERT",
            Self::Quantize => "QUANTIZE",
            Self::Adapters => "ADAPTERS",
            Self::Show => "SHOW",
            Self::Delete => "DELETE",
            Self::Copy => "COPY",
            Self::Push => "PUSH",
            Self::Load => "LOAD",
            Self::Unload => "UNLOAD",
            Self::ListRunning => "LIST_RUNNING",
        }
    }
}

impl fmt::Display for Capability {
    /// As a sentence needs it: "backend `x` cannot pull models".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull models",
            Self::Create => "create models",
            Self::Convert => "convert model files",
            Self::Quantize => "quantize models",
            Self::Adapters => "take adapters",
            Self::Show => "show models",
            Self::Delete => "delete models",
            Self::Copy => "copy models",
            Self::Push => "push models",
            Self::Load => "load models",
            Self::Unload => "unload models",
            Self::ListRunning => "list running models",
        })
    }
}
