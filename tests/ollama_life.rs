//! The whole life cycle on a real Ollama, through the port: what is shown, copied, removed, sent, loaded, asked and unloaded,
//! and what Ollama itself says of it.
//!
//! Without Ollama one line says so and nothing runs; where `CI` is set that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "ollama_life/loading.rs"]
mod loading;
#[path = "ollama_life/managing.rs"]
mod managing;
#[path = "support/missing.rs"]
mod missing;
#[path = "ollama_life/models.rs"]
mod models;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "ollama_life/pushing.rs"]
mod pushing;
#[path = "support/registry.rs"]
mod registry;
#[path = "ollama_life/showing.rs"]
mod showing;
#[path = "support/soon.rs"]
mod soon;
#[path = "ollama_life/unloading.rs"]
mod unloading;
#[path = "ollama_life/world.rs"]
mod world;
