//! A real Ollama behind the service: what crashes it, stops it, fills its disk or takes its place, and what our callers get.
//!
//! Everything is attempted through the API of the program; what Ollama did is read from its log and from the registry that
//! it asked. Without Ollama one line says so and nothing runs; where `CI` is set that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "ollama_real/away.rs"]
mod away;
#[path = "ollama_real/bad_ggufs.rs"]
mod bad_ggufs;
#[path = "ollama_real/bad_safetensors.rs"]
mod bad_safetensors;
#[allow(dead_code, reason = "the tests of the API use the rest")]
#[path = "api/calls.rs"]
mod calls;
#[path = "ollama_real/configured.rs"]
mod configured;
#[path = "ollama_real/creates.rs"]
mod creates;
#[path = "ollama_real/full_disk.rs"]
mod full_disk;
#[path = "ollama_real/hub.rs"]
mod hub;
#[path = "ollama_real/killed.rs"]
mod killed;
#[path = "support/missing.rs"]
mod missing;
#[path = "ollama_real/models.rs"]
mod models;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "ollama_real/one_pull.rs"]
mod one_pull;
#[path = "ollama_real/others.rs"]
mod others;
#[path = "support/service.rs"]
mod service;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/soon.rs"]
mod soon;
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
#[path = "api/support.rs"]
mod support;
#[path = "ollama_real/world.rs"]
mod world;
