//! The server's side of TLS: 1.2 and 1.3, HTTP/2 and nothing else.
//!
//! Sessions are not resumed: a resumed one would carry a client certificate past a change of the authorities, and gRPC
//! connections live too long to gain by it.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};

pub(super) use self::certificate::Names;
use super::credentials::{Content, Files, FromFiles, UnusableFile};

mod certificate;

/// The only protocol that is spoken.
pub(super) const H2: &[u8] = b"h2";

/// One state of the files.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    serial: String,
    /// Differs between any two.
    generation: u64,
}

/// A client's certificate, as a handshake has accepted it.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    pub(super) names: Names,
    not_after: SystemTime,
    /// The state of the files that accepted it last.
    accepted_by: AtomicU64,
}

// === impl Tls ===

impl FromFiles for Tls {
    const WHAT: &'static str = "the files of TLS";

    fn read(files: &Files, contents: &[Content]) -> Result<Self, UnusableFile> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let mut both = files.paths().iter().zip(contents);
        let (Some((cert_path, cert)), Some((key_path, key))) = (both.next(), both.next()) else {
            return Err(UnusableFile::new("", "TLS needs a certificate and its key"));
        };
        let chain = certificates(cert_path, cert)?;
        let leaf = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let dates = certificate::dates(leaf)
            .ok_or_else(|| UnusableFile::new(cert_path, "the first certificate in it cannot be read"))?;
        // A token file is refused for it. Keys are often mounted so by what makes them, and an update must not stop a service.
        if key.public {
            tracing::warn!(
                file = %key_path.display(),
                "the key of TLS can be read by everybody on the machine: take that right away, as 0640 does"
            );
        }
        let key = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| {
            let message = "holds no private key in PEM that can be read (PKCS#8, PKCS#1 or SEC1, not encrypted)";
            UnusableFile::new(key_path, message)
        })?;
        let verifier = match both.next() {
            Some((path, content)) => Some(verifier(path, content, files.optional)?),
            None => None,
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| UnusableFile::new(cert_path, error.to_string()))?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let message = format!("is not the key of the certificate in {}", cert_path.display());
                UnusableFile::new(key_path, message)
            }
            error => UnusableFile::new(cert_path, format!("cannot be used with its key: {error}")),
        })?;
        config.alpn_protocols = vec![H2.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            verifier,
            not_before: dates.not_before,
            not_after: dates.not_after,
            serial: dates.serial,
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
        })
    }

    fn tell(&self) {
        let not_after = httpdate::fmt_http_date(self.not_after);
        tracing::info!(
            tls.serial = self.serial,
            tls.not_after = not_after,
            "the files of TLS changed: new connections use them"
        );
    }
}

impl Tls {
    pub(super) fn asks_clients(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether a certificate that was accepted once still is: neither expired nor of an authority that has been taken away.
    pub(super) fn accepts(&self, client: &ClientCertificate) -> bool {
        if client.not_after <= SystemTime::now() {
            return false;
        }
        if client.accepted_by.load(Ordering::Relaxed) == self.generation {
            return true;
        }
        let (Some(verifier), Some((leaf, rest))) = (&self.verifier, client.chain.split_first()) else {
            return false;
        };
        let accepted = verifier.verify_client_cert(leaf, rest, UnixTime::now()).is_ok();
        if accepted {
            client.accepted_by.store(self.generation, Ordering::Relaxed);
        }
        accepted
    }
}

/// Keys and whatever holds them are not shown.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

// === impl ClientCertificate ===

impl ClientCertificate {
    /// What the peer of a finished handshake showed. It is asked again at its first call.
    pub(super) fn of(chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let chain = chain?.to_vec();
        let leaf = chain.first()?;
        Some(Self {
            names: Names::of(leaf),
            not_after: certificate::dates(leaf)?.not_after,
            chain,
            accepted_by: AtomicU64::new(0),
        })
    }
}

fn certificates(path: &Path, content: &Content) -> Result<Vec<CertificateDer<'static>>, UnusableFile> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content.bytes).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(UnusableFile::new(path, "holds no certificate in PEM")),
        Err(error) => Err(UnusableFile::new(path, format!("cannot be read as PEM: {error}"))),
    }
}

fn verifier(path: &Path, content: &Content, optional: bool) -> Result<Arc<dyn ClientCertVerifier>, UnusableFile> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, content)? {
        roots
            .add(certificate)
            .map_err(|error| UnusableFile::new(path, format!("holds what is no authority's certificate: {error}")))?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder
        .build()
        .map_err(|error| UnusableFile::new(path, format!("cannot be used: {error}")))
}
