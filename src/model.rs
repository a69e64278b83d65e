//! Values that every room speaks of: names, digests, levels, what an engine lists, what a caller wants, how far work has come,
//! why it failed.
//!
//! Nothing here does I/O or knows a transport. All of it can be serialised, so that operations can be journalled and
//! re-told after a restart.

pub mod details;
pub mod digest;
pub mod failure;
pub mod import;
pub mod info;
pub mod level;
pub mod name;
pub mod plan;
pub mod progress;
pub mod running;
pub(crate) mod stored;

pub use self::{
    details::{Details, TensorInfo},
    digest::Digest,
    failure::{Failure, Reason},
    import::{ChatMessage, ImportOptions, Provenance, SourceFile},
    info::{Capability, ModelCapability, ModelInfo},
    level::Level,
    name::ModelName,
    plan::{Plan, Step},
    progress::{Event, Layer, Phase, Snapshot},
    running::{Canary, KeepAlive, LoadOptions, Protocol, RunState, Running, Unloaded},
};
