//! The configuration: validated, nothing left that a room must interpret.
//!
//! Server settings are flags with `MODEL_CONTROL_*` twins; a flag beats the environment, which beats the default. Backends
//! are entries of a file that is shared with other programs, which is why their own keys are passed over. Every problem of
//! flags and file is reported together.
//!
//! | file | holds |
//! |---|---|
//! | `args` | the flags of `serve`, and where each value came from |
//! | `value` | durations and sizes with their units |
//! | `file` | the file's bytes to entries with lines; knows YAML and no flag |
//! | `argv` | an entry's words to flags; the table of flags |
//! | `entry` | an entry's flags to a backend and its models |
//! | `host` | where an Ollama is |
//! | `access` | who may call |
//! | `registries` | which registries may be asked, and how |
//! | `runner` | how the embedded engine runs models |
//! | `load` | all of it to one [`Config`] |
//! | `check` | what is worth a warning, without starting |
//! | `print` | the configuration as text |
//! | `schema` | the file as a JSON schema |
//! | `problem` | problems with file, line and entry |
//!
//! Rejected: a configuration framework that merges layers of untyped values. It loses the lines of the file.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use crate::model::{Digest, ImportOptions, Level, ModelName};

pub mod access;
pub mod args;
mod argv;
mod check;
mod entry;
mod file;
mod host;
mod load;
mod print;
mod problem;
pub mod registries;
pub mod runner;
mod schema;
pub mod value;

pub use self::{
    access::{Access, ClientScopes, Scopes, TlsFiles, access},
    args::{LogFormat, Origin, Origins, ServeArgs},
    check::warnings,
    host::Host,
    load::{Folders, Source, load, model_roots},
    print::print,
    problem::{Errors, Problem},
    registries::{Registries, RegistryHost},
    runner::Runner,
    schema::schema,
};

/// All that `serve` was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Flags and environment.
    pub server: Server,
    /// What may be fetched from where.
    pub registries: Registries,
    /// How the embedded engine runs models.
    pub runner: Runner,
    /// The file's entries, in order; one embedded backend without a file.
    pub entries: Vec<Entry>,
    /// SHA-256 of the file; of nothing without one.
    pub digest: Digest,
    /// The file as it was named, when there is one.
    pub file: Option<PathBuf>,
    /// Where the server settings came from.
    pub origins: Origins,
}

/// Server settings.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where health alone listens in plain text, when asked.
    pub health_listen: Option<SocketAddr>,
    /// Where metrics are told, when asked.
    pub metrics_listen: Option<SocketAddr>,
    /// The collector of traces, when one was named.
    pub otlp_endpoint: Option<String>,
    /// What outlives us. Absolute.
    pub state_dir: PathBuf,
    /// Where callers' paths may lead. Absolute.
    pub model_roots: Vec<PathBuf>,
    /// The operator accepts that anybody who reaches the port may call.
    pub allow_unauthenticated: bool,
    /// Who may call.
    pub access: Access,
    /// Connections at a time, on each listener.
    pub max_connections: usize,
    /// Streams (calls at a time) a connection.
    pub max_streams: u32,
    /// Bytes of a request.
    pub max_message_bytes: usize,
    /// Sockets at a time that have not said what they speak, on each listener.
    pub max_handshakes: usize,
    /// From accept to the HTTP/2 preface, TLS included.
    pub handshake_timeout: Duration,
    /// Operations that run at a time.
    pub max_operations: usize,
    /// Ended operations that are remembered.
    pub keep_operations: usize,
    /// How long they are remembered.
    pub keep_operations_for: Duration,
    /// Between two probes of an engine.
    pub probe_interval: Duration,
    /// How long NOT_SERVING is told before the drain begins.
    pub drain_delay: Duration,
    /// How long the drain may take.
    pub drain_timeout: Duration,
}

/// One entry of the configuration: a backend.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Unique.
    pub name: String,
    /// What it talks to.
    pub framework: Framework,
    /// The models that must be ready, in order.
    pub desired: Vec<Desired>,
    /// Where callers send inference, when it is not where we do.
    pub advertise: Option<String>,
}

/// What a backend talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framework {
    /// The engine inside this program.
    Embedded {
        /// The store's folder. Absolute.
        store: PathBuf,
        /// How its models are run.
        run: Run,
    },
    /// An Ollama that runs already.
    Ollama {
        /// Where.
        host: Host,
        /// Headers that each request to it carries. Absolute.
        header_file: Option<PathBuf>,
    },
    /// Not known to this build; listed, and nothing else.
    Unsupported(String),
}

/// How the models of a store are run, beyond what the server's flags say of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Threads of each engine; none: as many as the processors that this process may use.
    pub threads: Option<NonZeroUsize>,
    /// Layers on accelerators; none: the engine decides.
    pub gpu_layers: Option<u32>,
    /// Further arguments for `llama-server`, in order, after ours.
    pub args: Vec<String>,
}

/// A model that must be ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The model.
    pub name: ModelName,
    /// How ready.
    pub level: Level,
    /// Create it from here, never pull. Absolute.
    pub path: Option<PathBuf>,
    /// The manifest it must have.
    pub digest: Option<Digest>,
    /// How it is created.
    pub options: ImportOptions,
    /// Plain http.
    pub insecure: bool,
    /// How long it stays in memory after its last use; none: as the engine has it. Never with a level above on disk: what is
    /// configured so stays.
    pub keep_alive: Option<Duration>,
    /// The context that it is loaded with, in tokens; none: the engine's.
    pub context_length: Option<u32>,
    /// When it is made ready.
    pub ensure: Ensure,
}

/// When a configured model is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensure {
    /// At start, and kept so.
    Startup,
    /// Once somebody has asked for it.
    OnDemand,
}

// === impl Framework ===

impl Framework {
    /// As configurations spell it.
    pub fn name(&self) -> &str {
        match self {
            Self::Embedded { .. } => "embedded",
            Self::Ollama { .. } => "ollama",
            Self::Unsupported(name) => name,
        }
    }
}
