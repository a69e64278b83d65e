//! The strict reading of manifests that come from outside.

use crate::{backend::embedded::store::manifest::Manifest, model::Digest};

/// What a manifest describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    /// A model as Ollama stores it. Its bytes are stored as they came.
    Ollama(Manifest),
    /// A plain OCI manifest with one GGUF: a manifest is to be made for it.
    Plain {
        /// The GGUF's blob.
        digest: Digest,
        /// In bytes.
        size: u64,
        /// What the layer calls the file, when it does. Shown, never used as a path.
        title: Option<String>,
    },
}
