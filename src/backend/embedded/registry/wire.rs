//! The HTTP clients, and one request with its times.
//!
//! Four clients: manifests and tokens (HTTP/2 where it is offered) and blobs (HTTP/1.1, so that each range has a connection
//! and a congestion window of its own), each once for listed hosts and once for public ones, whose look-ups differ. An idle
//! connection of one is never used by another.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, Method, Response, Url};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer, pki_types::pem::PemObject as _};
use tokio::time::timeout;

use super::{
    fault::{self, Place},
    guard::{Guard, Net, Way},
    origin::Origin,
    remote::Fault,
    settings::{Settings, SettingsError, Timeouts},
};
use crate::backend::Kind;

const USER_AGENT: &str = concat!("model-control/", env!("CARGO_PKG_VERSION"));
/// Bytes of the headers of an HTTP/2 answer. HTTP/1.1 ends at a hundred headers and some 400 KiB.
const MAX_HEADERS: u32 = 64 << 10;
/// Bytes of the file of certificates.
const MAX_CA_FILE: u64 = 4 << 20;
/// Idle connections that are kept to a host, as many as ranges may be open to it.
const IDLE: usize = 16;
/// Servers close idle connections after a minute or so.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// All requests to registries go through it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) guard: Guard,
    pub(super) timeouts: Timeouts,
    control: Clients,
    bulk: Clients,
}

struct Clients {
    listed: Client,
    public: Client,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Manifests and tokens.
    Control,
    /// Blobs.
    Bulk,
}

/// One request.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) purpose: Use,
    pub(super) url: Url,
    /// Without credentials.
    pub(super) headers: HeaderMap,
    pub(super) authorization: Option<HeaderValue>,
    /// Sent by POST, as a form. A GET without it.
    pub(super) form: Option<String>,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(settings: &Settings, net: Net) -> Result<Self, SettingsError> {
        let guard = Guard::new(settings, net);
        let tls = tls(settings)?;
        let clients = |purpose| {
            Ok(Clients {
                listed: client(settings, &guard, tls.clone(), purpose, Way::Listed)?,
                public: client(settings, &guard, tls.clone(), purpose, Way::Public)?,
            })
        };
        Ok(Self {
            control: clients(Use::Control)?,
            bulk: clients(Use::Bulk)?,
            timeouts: settings.timeouts,
            guard,
        })
    }

    /// Sends one request and waits for the head of its answer, whatever its status is. Follows nothing.
    pub(super) async fn send(&self, ask: &Ask, place: &Place<'_>) -> Result<Response, Fault> {
        let way = self.guard.admit(place.at).map_err(|why| fault::refused(place, why))?;
        let clients = match ask.purpose {
            Use::Control => &self.control,
            Use::Bulk => &self.bulk,
        };
        let client = match way {
            Way::Listed => &clients.listed,
            Way::Public => &clients.public,
        };
        let method = if ask.form.is_some() { Method::POST } else { Method::GET };
        let mut request = client.request(method, ask.url.clone()).headers(ask.headers.clone());
        if let Some(authorization) = &ask.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(form) = &ask.form {
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone());
        }
        let response = timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_elapsed| fault::silent(place, self.timeouts.first_byte))?
            .map_err(|error| {
                let fault = fault::connection(place, error);
                match ask.purpose {
                    // What a registry sends behind a whole answer is read as the head of the next one, where a connection
                    // is used again: another connection has none of it.
                    Use::Bulk if fault.error.kind == Kind::Protocol => Fault::soon(fault.error),
                    _ => fault,
                }
            })?;
        let address = response.remote_addr().map(|address| address.ip());
        self.guard
            .connected(way, address)
            .map_err(|why| fault::refused(place, why))?;
        Ok(response)
    }

    /// The whole body, when it is no longer than `limit`, with a bound on the time without progress.
    pub(super) async fn body(&self, response: Response, limit: u64, place: &Place<'_>) -> Result<Bytes, Fault> {
        match self.excerpt(response, limit, place).await? {
            (bytes, true) => Ok(bytes),
            (_, false) => Err(fault::too_long(place, limit)),
        }
    }

    /// The body up to `limit`, and whether that is the whole.
    pub(super) async fn excerpt(
        &self,
        mut response: Response,
        limit: u64,
        place: &Place<'_>,
    ) -> Result<(Bytes, bool), Fault> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        loop {
            let chunk = timeout(self.timeouts.progress, response.chunk())
                .await
                .map_err(|_elapsed| fault::silent(place, self.timeouts.progress))?
                .map_err(|error| fault::connection(place, error))?;
            let Some(chunk) = chunk else {
                return Ok((bytes.freeze(), true));
            };
            let room = limit - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Ok((bytes.freeze(), false));
            }
        }
    }
}

// === impl Ask ===

impl Ask {
    /// A GET of this URL. Bodies come as they are stored.
    pub(super) fn get(purpose: Use, url: Url) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self {
            purpose,
            url,
            headers,
            authorization: None,
            form: None,
        }
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        Origin::of(&self.url)
    }
}

impl fmt::Debug for Ask {
    /// Without what may be a secret: signed URLs, credentials, forms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("purpose", &self.purpose)
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

// === impl Clients ===

impl fmt::Debug for Clients {
    /// Without the proxy, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

fn client(
    settings: &Settings,
    guard: &Guard,
    mut tls: ClientConfig,
    purpose: Use,
    way: Way,
) -> Result<Client, SettingsError> {
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
        .connect_timeout(settings.timeouts.connect)
        .pool_max_idle_per_host(IDLE)
        .pool_idle_timeout(IDLE_TIME)
        .http2_max_header_list_size(MAX_HEADERS)
        .dns_resolver(Arc::new(guard.resolver(way)));
    if purpose == Use::Bulk {
        builder = builder.http1_only();
    }
    if let Some(proxy) = &settings.proxy {
        let url = Url::parse(proxy).ok().filter(|url| Origin::of(url).is_some());
        let proxy = url.and_then(|url| reqwest::Proxy::all(url).ok());
        builder = builder.proxy(proxy.ok_or(SettingsError::Proxy)?);
    }
    builder.build().map_err(SettingsError::Client)
}

/// The system's certificates and the operator's. A system without any still has registries on plain http.
fn tls(settings: &Settings) -> Result<ClientConfig, SettingsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(system.certs);
    let errors = system.errors.len();
    if roots.is_empty() || ignored > 0 || errors > 0 {
        tracing::debug!(certificates = roots.len(), ignored, errors, "the system's certificates");
    }
    if let Some(path) = &settings.ca_file {
        let no_certificates = |why: String| SettingsError::NoCertificates {
            path: path.clone(),
            why,
        };
        let pem = super::credentials::read_file(path, MAX_CA_FILE).map_err(|source| SettingsError::CaFile {
            path: path.clone(),
            source,
        })?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| no_certificates(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| no_certificates(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(no_certificates("it holds none".to_owned()));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Tls(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
