//! What callers ask, decoded: every field is valid by itself.

use crate::{
    model::{Digest, ImportOptions, Level, ModelName},
    operation::OnDisconnect,
};

/// Bring a model to a level.
#[derive(Debug, Clone)]
pub struct Ensure {
    /// Empty: the first supported entry.
    pub backend: String,
    /// None: the backend's configured model, when it has one.
    pub model: Option<ModelName>,
    /// Empty: the configured path of a configured model, else pull.
    pub path: String,
    /// None: the configured ones.
    pub options: Option<ImportOptions>,
    /// None: the configured level, else on disk.
    pub level: Option<Level>,
    /// None: the configured pin, else any.
    pub digest: Option<Digest>,
    /// Keep it loaded.
    pub pin: bool,
    /// Plain http.
    pub insecure: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What the caller's leaving does.
    pub on_disconnect: OnDisconnect,
}

/// Fetch a model.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
    /// The manifest that must come.
    pub digest: Option<Digest>,
    /// Plain http.
    pub insecure: bool,
    /// What the caller's leaving does.
    pub on_disconnect: OnDisconnect,
}

/// Make a model from files.
#[derive(Debug, Clone)]
pub struct Create {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
    /// Absolute, under a root.
    pub path: String,
    /// How it is made.
    pub options: ImportOptions,
    /// Replace other content of that name.
    pub replace: bool,
    /// What the caller's leaving does.
    pub on_disconnect: OnDisconnect,
}

/// List models.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Empty: all.
    pub backend: String,
    /// 0: 100. Not negative.
    pub page_size: u32,
    /// From the page before; empty: the first.
    pub page_token: String,
    /// Empty: `name`.
    pub order_by: String,
}
