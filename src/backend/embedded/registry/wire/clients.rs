//! The HTTP clients, made when the first request needs them: the system's certificates are some hundred files, and most
//! starts of the service fetch nothing.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::Client;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer, pki_types::pem::PemObject as _};
use tokio::sync::OnceCell;

use super::Use;
use crate::backend::{
    Error, Kind,
    embedded::registry::{
        credentials::read_file,
        guard::{Guard, Way},
        remote::Fault,
        settings::{Settings, SettingsError},
    },
};

const USER_AGENT: &str = concat!("model-control/", env!("CARGO_PKG_VERSION"));
/// Bytes of the headers of an HTTP/2 answer. HTTP/1.1 ends at a hundred headers and some 400 KiB.
const MAX_HEADERS: u32 = 64 << 10;
/// Bytes of the file of certificates.
const MAX_CA_FILE: u64 = 4 << 20;
/// Idle connections that are kept to a host, as many as ranges may be open to it.
const IDLE: usize = 24;
/// Servers close idle connections after a minute or so.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// One client for each purpose and way.
pub(super) struct Clients {
    plan: Plan,
    made: OnceCell<Made>,
}

/// What they are made from: all that the operator can have got wrong has been read.
#[derive(Clone)]
struct Plan {
    /// The operator's.
    roots: RootCertStore,
    proxy: Option<reqwest::Proxy>,
    connect: Duration,
    guard: Guard,
}

struct Made {
    control: Ways,
    bulk: Ways,
}

struct Ways {
    listed: Client,
    public: Client,
}

// === impl Clients ===

impl Clients {
    /// Reads the file of certificates. Blocks.
    pub(super) fn new(
        settings: &Settings,
        proxy: Option<reqwest::Proxy>,
        guard: &Guard,
    ) -> Result<Self, SettingsError> {
        let plan = Plan {
            roots: operators(settings)?,
            proxy,
            connect: settings.timeouts.connect,
            guard: guard.clone(),
        };
        Ok(Self {
            plan,
            made: OnceCell::new(),
        })
    }

    pub(super) async fn get(&self, purpose: Use, way: Way) -> Result<&Client, Fault> {
        let made = self.made.get_or_try_init(|| async {
            let plan = self.plan.clone();
            let made = tokio::task::spawn_blocking(move || plan.make()).await;
            let failed = || Error::new(Kind::Internal, "the client of registries cannot be made");
            made.map_err(|error| failed().because(error))?
                .map_err(|error| failed().because(error))
        });
        let made = made.await.map_err(Fault::never)?;
        let ways = match purpose {
            Use::Control => &made.control,
            Use::Bulk => &made.bulk,
        };
        Ok(match way {
            Way::Listed => &ways.listed,
            Way::Public => &ways.public,
        })
    }
}

impl fmt::Debug for Clients {
    /// Without the proxy, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

// === impl Plan ===

impl Plan {
    /// Reads the system's certificates. Blocks.
    fn make(self) -> Result<Made, SettingsError> {
        let tls = self.tls()?;
        let ways = |purpose| {
            Ok::<_, SettingsError>(Ways {
                listed: self.client(tls.clone(), purpose, Way::Listed)?,
                public: self.client(tls.clone(), purpose, Way::Public)?,
            })
        };
        Ok(Made {
            control: ways(Use::Control)?,
            bulk: ways(Use::Bulk)?,
        })
    }

    /// The system's certificates and the operator's. A system without any still has registries on plain http.
    fn tls(&self) -> Result<ClientConfig, SettingsError> {
        let mut roots = self.roots.clone();
        let system = rustls_native_certs::load_native_certs();
        let (added, ignored) = roots.add_parsable_certificates(system.certs);
        let errors = system.errors.len();
        if added == 0 || ignored > 0 || errors > 0 {
            tracing::debug!(certificates = added, ignored, errors, "the system's certificates");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingsError::Tls(error.to_string()))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    fn client(&self, mut tls: ClientConfig, purpose: Use, way: Way) -> Result<Client, SettingsError> {
        tls.alpn_protocols = match purpose {
            Use::Control => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Use::Bulk => vec![b"http/1.1".to_vec()],
        };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(self.connect)
            .pool_max_idle_per_host(IDLE)
            .pool_idle_timeout(IDLE_TIME)
            .http2_max_header_list_size(MAX_HEADERS)
            .dns_resolver(Arc::new(self.guard.resolver(way)));
        if purpose == Use::Bulk {
            builder = builder.http1_only();
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build().map_err(SettingsError::Client)
    }
}

/// The certificates of the operator's file.
fn operators(settings: &Settings) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &settings.ca_file else {
        return Ok(roots);
    };
    let no_certificates = |why: String| SettingsError::NoCertificates {
        path: path.clone(),
        why,
    };
    let pem = read_file(path, MAX_CA_FILE).map_err(|source| SettingsError::CaFile {
        path: path.clone(),
        source,
    })?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| no_certificates(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| no_certificates(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(no_certificates("it holds none".to_owned()));
    }
    Ok(roots)
}
