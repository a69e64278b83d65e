//! Ollama, over HTTP: what a create stands on.
#![allow(dead_code, reason = "the adapter that uses it comes next")]

mod files;
mod hash;
mod memory;

pub use self::memory::Memory;
