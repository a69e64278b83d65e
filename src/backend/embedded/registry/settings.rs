//! What the operator says of registries: hosts, credentials, certificates, proxy, times.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::backend::registries::AllowedHost;

/// How registries may be reached. The default reaches none.
#[derive(Clone, Default)]
pub struct Settings {
    /// The registries that names may name. Redirects may go to any public https host.
    pub allow: Vec<AllowedHost>,
    /// Credentials in the form of Docker's `config.json`. Read again when it changes.
    pub auth_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted beside the system's. Read once.
    pub ca_file: Option<PathBuf>,
    /// The URL of a proxy for all requests, `http://` or `https://`. The environment's proxies are never used.
    ///
    /// The proxy may be anywhere. What it connects is its own to decide: through it only the names and the literal
    /// addresses of hosts can be checked, not what names stand for.
    pub proxy: Option<String>,
    /// How long is waited.
    pub timeouts: Timeouts,
}

/// How long is waited for a registry.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, name look-up and TLS included: 10 s.
    pub connect: Duration,
    /// From a request to the first byte of its answer: 30 s.
    pub first_byte: Duration,
    /// For the next bytes of a manifest or a token: 15 s.
    pub progress: Duration,
    /// Before the second try of a manifest: 500 ms, doubled before each further one, and shortened at random by up to half.
    pub back_off: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file of certificates cannot be read.
    #[error("--registry-ca-file {} cannot be read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificate that can be trusted.
    #[error("--registry-ca-file {} is no file of PEM certificates: {why}", path.display())]
    NoCertificates {
        /// The file.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// The file of credentials cannot be read.
    #[error("--registry-auth-file {} cannot be read", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not in Docker's form.
    #[error("--registry-auth-file {} is not in the form of Docker's config.json: {why}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// In words, nothing of its content.
        why: String,
    },
    /// The proxy is no URL of one. It is not repeated: it may hold a password.
    #[error("--proxy is not `http://host:port` or `https://host:port`")]
    Proxy,
    /// TLS cannot be set up.
    #[error("TLS for registries cannot be set up: {0}")]
    Tls(String),
    /// The HTTP client cannot be made.
    #[error("the client of registries cannot be made")]
    Client(#[source] reqwest::Error),
}

// === impl Settings ===

impl fmt::Debug for Settings {
    /// A proxy's URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("allow", &self.allow)
            .field("auth_file", &self.auth_file)
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy.is_some())
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

// === impl Timeouts ===

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            progress: Duration::from_secs(15),
            back_off: Duration::from_millis(500),
        }
    }
}
