//! What the client shows and believes: its token, its certificate, the authorities of servers.
//!
//! Three flags are spelt as flags of `serve`, whose variables are others. Their own variables are read here and not by
//! clap, which would hand a value of the client's environment on to `serve`.

use std::{
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::Uri;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use zeroize::Zeroizing;

use super::exit::Stop;

/// Bytes of a file of PEM or of a token.
const MAX_FILE: u64 = 1 << 20;

/// Flags on TLS and the token.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// File of the authorities that the server's certificate may be of, PEM; without it, the system's
    #[arg(long, global = true, value_name = "FILE", env = "MODEL_CONTROL_CLIENT_TLS_CA_FILE")]
    pub tls_ca_file: Option<PathBuf>,

    /// File of this client's certificate, PEM [env: MODEL_CONTROL_CLIENT_TLS_CERT_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,

    /// File of the certificate's private key, PEM [env: MODEL_CONTROL_CLIENT_TLS_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// The name that the server's certificate must be for, when it is not that of the address
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "MODEL_CONTROL_CLIENT_TLS_SERVER_NAME"
    )]
    pub tls_server_name: Option<String>,

    /// File that holds this client's token and nothing else [env: MODEL_CONTROL_CLIENT_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Adds the token, when there is one, to each call.
#[derive(Debug, Clone, Default)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

// === impl Flags ===

impl Flags {
    /// With what the environment says where no flag does.
    pub(super) fn with_environment(mut self) -> Self {
        for (value, name) in [
            (&mut self.tls_cert_file, "MODEL_CONTROL_CLIENT_TLS_CERT_FILE"),
            (&mut self.tls_key_file, "MODEL_CONTROL_CLIENT_TLS_KEY_FILE"),
            (&mut self.token_file, "MODEL_CONTROL_CLIENT_TOKEN_FILE"),
        ] {
            let twin = || {
                std::env::var_os(name)
                    .filter(|value| !value.is_empty())
                    .map(PathBuf::from)
            };
            *value = value.take().or_else(twin);
        }
        self
    }

    /// The endpoint with TLS where its address says `https`.
    pub(super) fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, Stop> {
        if endpoint.uri().scheme_str() != Some("https") {
            for (flag, given) in [
                ("--tls-ca-file", self.tls_ca_file.is_some()),
                ("--tls-cert-file", self.tls_cert_file.is_some()),
                ("--tls-key-file", self.tls_key_file.is_some()),
                ("--tls-server-name", self.tls_server_name.is_some()),
            ] {
                if given {
                    let message = format!("{flag}: needs an address with TLS, `--server https://HOST:PORT`");
                    return Err(Stop::Usage(message));
                }
            }
            return Ok(endpoint);
        }
        let mut tls = ClientTlsConfig::new().timeout(super::connect::CONNECT_TIMEOUT);
        tls = match &self.tls_ca_file {
            Some(path) => tls.ca_certificate(Certificate::from_pem(certificates("--tls-ca-file", path)?.as_slice())),
            None => tls.with_native_roots(),
        };
        tls = match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(cert), Some(key_path)) => {
                let cert = certificates("--tls-cert-file", cert)?;
                let key = read("--tls-key-file", key_path)?;
                if PrivateKeyDer::from_pem_slice(&key).is_err() {
                    return Err(wrong(
                        "--tls-key-file",
                        key_path,
                        "holds no private key in PEM that can be read",
                    ));
                }
                tls.identity(Identity::from_pem(cert.as_slice(), key.as_slice()))
            }
            (None, None) => tls,
            (Some(_), None) => return Err(Stop::Usage("--tls-cert-file: needs --tls-key-file".to_owned())),
            (None, Some(_)) => return Err(Stop::Usage("--tls-key-file: needs --tls-cert-file".to_owned())),
        };
        if let Some(name) = &self.tls_server_name {
            if ServerName::try_from(name.as_str()).is_err() {
                return Err(Stop::Usage(
                    "--tls-server-name: is neither a host name nor an address".to_owned(),
                ));
            }
            tls = tls.domain_name(name);
        }
        endpoint.tls_config(tls).map_err(|error| {
            let cause = crate::telemetry::Chain(&error).to_string();
            let hint = if self.tls_ca_file.is_none() {
                "; name the authority with --tls-ca-file"
            } else {
                ""
            };
            Stop::Usage(format!("TLS cannot be set up: {cause}{hint}"))
        })
    }

    /// The token, unless the way to the server is open for all to read.
    pub(super) fn bearer(&self, server: &Uri) -> Result<Bearer, Stop> {
        let Some(path) = &self.token_file else {
            return Ok(Bearer::default());
        };
        if server.scheme_str() != Some("https") && !is_loopback(server) {
            return Err(Stop::Usage(
                "--token-file: a token is not sent over the network in plain text; use an address with TLS, `--server \
                 https://HOST:PORT`, or one of this machine"
                    .to_owned(),
            ));
        }
        let bytes = read("--token-file", path)?;
        let token = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "want the token and nothing else: visible characters without spaces";
            return Err(wrong("--token-file", path, message));
        }
        let header = Zeroizing::new(format!("Bearer {token}"));
        let mut value = MetadataValue::try_from(header.as_str())
            .map_err(|_| wrong("--token-file", path, "holds what cannot be sent"))?;
        // Neither shown nor kept in a table of headers.
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

// === impl Bearer ===

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

/// As PEM, of which each part has been read.
fn certificates(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let bytes = read(flag, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(bytes),
        _ => Err(wrong(flag, path, "holds no certificates in PEM that can be read")),
    }
}

fn read(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let read = || -> io::Result<_> {
        let file = File::open(path)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::other("is larger than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| wrong(flag, path, &format!("could not be read: {error}")))
}

fn wrong(flag: &str, path: &Path, what: &str) -> Stop {
    let path = path.display().to_string();
    Stop::Usage(format!("{flag} {}: {what}", super::text::printable(&path)))
}
