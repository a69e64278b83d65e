//! What callers ask, decoded: every field is valid by itself.

use crate::{
    model::{Digest, ImportOptions, KeepAlive, Level, LoadOptions, ModelName},
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
    /// How it is to run in memory.
    pub load_options: LoadOptions,
    /// How long it stays in memory; [`KeepAlive::Default`]: as configured, else as the engine has it.
    pub keep_alive: KeepAlive,
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

/// Bring a model that is on disk into memory.
#[derive(Debug, Clone)]
pub struct Load {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
    /// Above on disk.
    pub level: Level,
    /// How it is to run.
    pub options: LoadOptions,
    /// How long it stays.
    pub keep_alive: KeepAlive,
    /// Keep it loaded.
    pub pin: bool,
    /// What the caller's leaving does.
    pub on_disconnect: OnDisconnect,
}

/// Take a model out of memory.
#[derive(Debug, Clone)]
pub struct Unload {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
}

/// Remove a model.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
    /// Out of memory first.
    pub unload: bool,
    /// An absent one is success.
    pub allow_missing: bool,
    /// Although the configuration wants it.
    pub force: bool,
}

/// Give a model a second name.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub source: ModelName,
    /// Another name than the source's.
    pub destination: ModelName,
    /// The name may be taken.
    pub replace: bool,
}

/// Send a model to its registry.
#[derive(Debug, Clone)]
pub struct Push {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
    /// Plain http.
    pub insecure: bool,
    /// What the caller's leaving does.
    pub on_disconnect: OnDisconnect,
}

/// All about a model.
#[derive(Debug, Clone)]
pub struct Show {
    /// Empty: the first supported entry.
    pub backend: String,
    /// The model.
    pub model: ModelName,
    /// Tensors and long arrays too.
    pub verbose: bool,
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
