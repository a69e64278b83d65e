//! A client of registries: OCI distribution with Ollama's media types, and plain OCI manifests that carry one GGUF.
//!
//! | file | holds |
//! |---|---|
//! | `remote` | what a transfer needs of a registry: the bytes of a blob, and what its faults mean |
//! | `transfer` | one blob from there to the store: ranges, resume, digest, single flight |
//! | `settings` | what the operator says: hosts, credentials, certificates, proxy, times |
//! | `address` | which addresses are globally routable |
//! | `guard` | what may be reached: the list, literals, looked-up and connected addresses |
//! | `wire` | the HTTP clients, and one request with its times |
//! | `proxy` | faults of the proxy, told from those of registries |
//! | `redirect` | redirects by hand |
//! | `auth` | challenges and tokens |
//! | `credentials` | the file of credentials, in Docker's form |
//! | `fault` | from statuses and failures of connections to what they mean |
//! | `document` | the strict reading of manifests that come from outside |
//! | `client` | a manifest, with its tries |
//! | `blob` | a range of a blob, one try |
//! | `upload` | one blob from the store to there |
//! | `publish` | a manifest from the store to there, one try |
//!
//! What may be reached is decided in one place for every request, be it a manifest, a token, a blob or a redirect: a host
//! on the list is the operator's word and any address of it is good; any other host is https, and is connected to at
//! globally routable addresses only. Rejected: to look a name up, to check it and to let the HTTP client look it up again;
//! the second answer may be another one.

mod address;
mod auth;
mod blob;
mod client;
mod credentials;
mod document;
mod fault;
mod guard;
mod proxy;
mod publish;
mod redirect;
pub(super) mod remote;
mod settings;
pub(super) mod transfer;
mod upload;
mod wire;

#[cfg(test)]
#[allow(dead_code, reason = "tests/pull_faults.rs uses the rest")]
mod double;
#[cfg(test)]
mod tests;

pub use self::{
    client::Registry,
    settings::{Settings, SettingsError},
    transfer::Limits,
};
pub(crate) use self::{
    client::{Fetched, Reference},
    document::Document,
    publish::{Manifest, Published},
    upload::{Sent, Upload, Wanted},
};
