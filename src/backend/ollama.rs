//! Ollama, over HTTP: what a create stands on.

mod files;
