//! Why an engine could not do something, by meaning.

use std::{error, fmt, sync::Arc, time::Duration};

use crate::model::Capability;

/// A failure of an engine.
///
/// `message` is for callers: what failed and the way out, without paths of the server. The source is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What it means.
    pub kind: Kind,
    /// For callers.
    pub message: String,
    /// For the log.
    #[source]
    pub source: Option<Arc<dyn error::Error + Send + Sync>>,
}

/// What a failure means. Whether trying again can help stands with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The engine does not answer. Retried with back-off.
    Unreachable,
    /// The engine has too much to do. Retried with back-off, no sooner than said.
    Busy(Option<Duration>),
    /// The registry or the engine has no such model. Not retried: the same question gets the same answer.
    NotFound,
    /// The name is taken by other content. Not retried.
    Exists,
    /// A model file is broken or of a kind that is not read. Not retried.
    FileInvalid,
    /// A field of the request, by its name in the API, has a value that the engine cannot use. Not retried.
    OptionInvalid(&'static str),
    /// The engine could not use a model of this name. Not retried.
    NameInvalid,
    /// What lies at the path cannot be used: changed while read, vanished, unreadable. Not retried by us.
    SourceNotUsable,
    /// The engine never can. Not retried.
    Cannot(Capability),
    /// A part of the engine is not installed. Not retried before it is.
    MissingPart,
    /// The registry does not answer. Retried with back-off.
    RegistryUnreachable,
    /// The registry has too much to do. Retried with back-off, no sooner than said.
    RegistryBusy(Option<Duration>),
    /// The registry wants credentials that we do not have, or refuses ours. Not retried before they are mended.
    RegistryCredentials,
    /// The registry, or where it sends us, is not on the list of what may be reached. Not retried.
    RegistryNotAllowed,
    /// The engine cannot bring the model into memory: its own reason. Not retried.
    NotLoadable,
    /// The engine has no memory for the model. Retried by callers once there is.
    OutOfMemory,
    /// No room on the store's disk. Retried by callers once there is.
    DiskFull {
        /// Bytes wanted; 0 when it is something else that the disk has no more of, as files.
        need: u64,
        /// Bytes free.
        have: u64,
    },
    /// The engine's store cannot be used as it must: it is read-only, or another process removes what is written. Not retried
    /// before the operator has mended that; the message says how.
    StoreUnusable,
    /// Content is not what its digest says. Not retried: it was already.
    DigestMismatch,
    /// The model is there with another digest than the pinned one. Not retried.
    PinMismatch,
    /// The engine made no progress for too long. Retried by callers. A registry that stops sending is unreachable.
    Stalled,
    /// The work was stopped because the service or the engine ends. Retried after the restart.
    Interrupted,
    /// The engine said what we cannot read. Not retried.
    Protocol,
    /// A fault of ours. Not retried.
    Internal,
}

// === impl Kind ===

impl Kind {
    /// For metrics and traces: one of few.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy(_) => "busy",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::FileInvalid => "file_invalid",
            Self::OptionInvalid(_) => "option_invalid",
            Self::NameInvalid => "name_invalid",
            Self::SourceNotUsable => "source_not_usable",
            Self::Cannot(_) => "cannot",
            Self::MissingPart => "missing_part",
            Self::RegistryUnreachable => "registry_unreachable",
            Self::RegistryBusy(_) => "registry_busy",
            Self::RegistryCredentials => "registry_credentials",
            Self::RegistryNotAllowed => "registry_not_allowed",
            Self::NotLoadable => "not_loadable",
            Self::OutOfMemory => "out_of_memory",
            Self::DiskFull { .. } => "disk_full",
            Self::StoreUnusable => "store_unusable",
            Self::DigestMismatch => "digest_mismatch",
            Self::PinMismatch => "pin_mismatch",
            Self::Stalled => "stalled",
            Self::Interrupted => "interrupted",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

// === impl Error ===

impl Error {
    /// A failure without a deeper cause.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// With its cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The engine has no such ability, and says no more.
    pub fn lacks(capability: Capability) -> Self {
        Self::new(Kind::Cannot(capability), format!("this engine cannot {capability}"))
    }

    /// The engine has no such ability.
    pub fn cannot(capability: Capability, way_out: impl fmt::Display) -> Self {
        Self::new(
            Kind::Cannot(capability),
            format!("this engine cannot {capability}: {way_out}"),
        )
    }
}
