//! A client of registries: OCI distribution with Ollama's media types, and plain OCI manifests that carry one GGUF.
//!
//! | file | holds |
//! |---|---|
//! | `remote` | what a transfer needs of a registry: the bytes of a blob, and what its faults mean |
//! | `transfer` | one blob from there to the store: ranges, resume, digest, single flight |

pub(super) mod remote;
pub(super) mod transfer;
