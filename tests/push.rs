//! Models that the embedded engine sends to a real registry, and that come back byte for byte: to another store of ours, and
//! to a real Ollama.
//!
//! Without the registry, or without Ollama, one line says so and nothing runs; where `CI` is set that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "push/back.rs"]
mod back;
#[path = "push/broken.rs"]
mod broken;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "support/registry.rs"]
mod registry;
#[path = "push/road.rs"]
mod road;
#[path = "push/sent.rs"]
mod sent;
#[path = "support/soon.rs"]
mod soon;
#[path = "push/world.rs"]
mod world;
