//! One Ollama over HTTP/1.1: connections kept alive, nothing followed, everything that arrives bounded.
//!
//! There is no bound on the whole of a request: a pull takes hours and a create is silent for minutes. Short questions have
//! [`ANSWER`]; long work is bounded by those who follow it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{StatusCode, header};
use reqwest::{Body, Method, RequestBuilder, Response};
use rustls::crypto::ring;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    error::{self, Doing, cause},
    stream::Stream,
};
use crate::{
    backend::{Error, Kind},
    telemetry::trace,
};

mod headers;

const USER_AGENT: &str = concat!("model-control/", env!("CARGO_PKG_VERSION"));
const CONNECT: Duration = Duration::from_secs(5);
/// For the head of a short answer. A list of a thousand models takes 30 ms, and a busy Ollama some seconds.
const ANSWER: Duration = Duration::from_secs(15);
/// For a change of what lies on its disk, which may be slow: to remove a model of hundreds of gigabytes takes seconds.
const ORDER: Duration = Duration::from_mins(2);
/// For the next bytes of a short answer.
const PROGRESS: Duration = Duration::from_secs(10);
/// Idle connections are closed before Ollama or something before it may close them.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// A dead host is noticed although a create says nothing.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Bytes of a short answer: a list of 100 000 models.
const MAX_ANSWER: usize = 64 << 20;
/// Bytes of an error's body that are read.
const MAX_ERROR: usize = 64 << 10;

/// Where an Ollama is and how it is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://host:port`, with a path before those of the API where there is one. Without user information.
    pub url: String,
    /// Headers that each request carries, one `Name: value` a line: what something before the Ollama wants. Read again for
    /// each request.
    pub header_file: Option<PathBuf>,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// TLS cannot be set up.
    #[error("TLS for {url} cannot be set up")]
    Tls {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The HTTP client.
    #[error("the client of Ollama cannot be made")]
    Client(#[source] reqwest::Error),
    /// The file of headers.
    #[error("--header-file {} {why}", path.display())]
    HeaderFile {
        /// The file.
        path: PathBuf,
        /// In words, nothing of its content.
        why: String,
    },
}

/// A client of one Ollama. Cheap to clone; the clones share connections.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Arc<str>,
    header_file: Option<Arc<Path>>,
}

// === impl Client ===

impl Client {
    /// Reads the file of headers once, so that a wrong one stops the start. Blocks.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE_TIME)
            .tcp_keepalive(KEEPALIVE)
            .tcp_nodelay(true);
        let builder = if settings.url.starts_with("https://") {
            let tls = tls().map_err(|source| SettingsError::Tls {
                url: settings.url.clone(),
                source,
            })?;
            builder.tls_backend_preconfigured(tls)
        } else {
            // A client must have one. It is never used: nothing is followed.
            builder.tls_backend_preconfigured(no_tls().map_err(|source| SettingsError::Tls {
                url: settings.url.clone(),
                source,
            })?)
        };
        if let Some(path) = &settings.header_file {
            let wrong = |why| SettingsError::HeaderFile {
                path: path.clone(),
                why,
            };
            headers::read(path).map_err(wrong)?;
        }
        Ok(Self {
            http: builder.build().map_err(SettingsError::Client)?,
            url: settings.url.as_str().into(),
            header_file: settings.header_file.as_deref().map(Into::into),
        })
    }

    /// As it was configured.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A short question.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.get_bytes(path).await?).map_err(|source| self.strange(path, source))
    }

    /// The same for who reads the answer where it lies.
    pub(super) async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Error> {
        let response = self.answer(self.request(Method::GET, path).await?).await?;
        let response = self.wanted(Doing::Asking, response, StatusCode::OK).await?;
        self.body(response, MAX_ANSWER).await
    }

    /// An answer that no Ollama gives.
    pub(super) fn strange(&self, path: &str, source: serde_json::Error) -> Error {
        let message = format!("{} answered {path} with what no Ollama says", self.url);
        Error::new(Kind::Protocol, message).because(source)
    }

    /// A short question with a body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        doing: Doing,
        path: &str,
        ask: &impl Serialize,
    ) -> Result<T, Error> {
        let response = self.answer(self.asking(Method::POST, path, ask).await?).await?;
        self.read(self.wanted(doing, response, StatusCode::OK).await?, path)
            .await
    }

    /// The same where the answer may take hours: who asks bounds it. Dropping it closes the connection.
    pub(super) async fn patient<T: DeserializeOwned>(
        &self,
        doing: Doing,
        path: &str,
        ask: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.asking(Method::POST, path, ask).await?;
        let response = request.send().await.map_err(|source| self.lost(source))?;
        self.read(self.wanted(doing, response, StatusCode::OK).await?, path)
            .await
    }

    /// A short piece of work, whose answer says nothing. Sent once: where the answer is lost ([`Kind::Unreachable`]) it may
    /// be done all the same, and who asks looks.
    pub(super) async fn order(&self, method: Method, path: &str, ask: &impl Serialize) -> Result<(), Error> {
        let request = self.asking(method, path, ask).await?;
        let response = match timeout(ORDER, request.send()).await {
            Ok(answer) => answer.map_err(|source| self.lost(source))?,
            Err(_late) => return Err(self.silent(ORDER)),
        };
        self.wanted(Doing::Managing, response, StatusCode::OK).await.map(drop)
    }

    /// Whether something lies at the path.
    pub(super) async fn head(&self, path: &str) -> Result<bool, Error> {
        let response = self.answer(self.request(Method::HEAD, path).await?).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(error::answered(Doing::Uploading, status, error::Body::Empty)),
        }
    }

    /// Begins long work that tells its progress in lines.
    pub(super) async fn stream(&self, doing: Doing, path: &str, ask: &impl Serialize) -> Result<Stream, Error> {
        let request = self.asking(Method::POST, path, ask).await?;
        let response = request.send().await.map_err(|source| self.lost(source))?;
        let response = self.wanted(doing, response, StatusCode::OK).await?;
        Ok(Stream::new(response, doing, Arc::clone(&self.url)))
    }

    /// Sends bytes. The answer may come before all are sent.
    pub(super) async fn send(&self, path: &str, body: Body, len: u64) -> Result<(), Error> {
        let request = self.request(Method::POST, path).await?;
        let request = request.header(header::CONTENT_LENGTH, len).body(body);
        let response = request.send().await.map_err(|source| self.lost(source))?;
        if response.status().is_success() {
            return Ok(());
        }
        self.wanted(Doing::Uploading, response, StatusCode::CREATED)
            .await
            .map(drop)
    }

    async fn asking(&self, method: Method, path: &str, ask: &impl Serialize) -> Result<RequestBuilder, Error> {
        let body = serde_json::to_vec(ask)
            .map_err(|source| Error::new(Kind::Internal, "a request could not be written").because(source))?;
        let request = self.request(method, path).await?;
        Ok(request.header(header::CONTENT_TYPE, "application/json").body(body))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response, path: &str) -> Result<T, Error> {
        let body = self.body(response, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|source| self.strange(path, source))
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in trace::carried() {
            request = request.header(name, value);
        }
        let Some(file) = &self.header_file else {
            return Ok(request);
        };
        let file = Arc::clone(file);
        let read = tokio::task::spawn_blocking(move || headers::read(&file)).await;
        let read = read.map_err(|error| {
            Error::new(Kind::Internal, "a file could not be read by a fault of this service").because(error)
        })?;
        let headers = read.map_err(|why| {
            tracing::warn!(why, "the file of --header-file cannot be used");
            Error::new(
                Kind::Unreachable,
                "the file of --header-file cannot be used: see the log",
            )
        })?;
        Ok(request.headers(headers))
    }

    /// Of a question, which may be asked twice: a kept connection may have died with an Ollama that is back already.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Error> {
        let again = request.try_clone();
        let asked = async {
            match (request.send().await, again) {
                (Err(error), Some(again)) if !error.is_connect() => again.send().await,
                (answer, _) => answer,
            }
        };
        match timeout(ANSWER, asked).await {
            Ok(answer) => answer.map_err(|source| self.lost(source)),
            Err(_late) => Err(self.silent(ANSWER)),
        }
    }

    /// The answer, when its status is the wanted one.
    async fn wanted(&self, doing: Doing, response: Response, wanted: StatusCode) -> Result<Response, Error> {
        let status = response.status();
        if status == wanted {
            return Ok(response);
        }
        let body = self.body(response, MAX_ERROR).await;
        let said = body
            .as_ref()
            .ok()
            .and_then(|body| serde_json::from_slice::<Value>(body).ok());
        let said = said.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
        let body = match (said, body) {
            (Some(text), _) => error::Body::Says(text),
            (None, Ok(body)) if body.is_empty() => error::Body::Empty,
            (None, _) => error::Body::Foreign,
        };
        Err(error::answered(doing, status, body))
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            let piece = timeout(PROGRESS, response.chunk())
                .await
                .map_err(|_late| self.silent(PROGRESS))?;
            match piece.map_err(|source| self.lost(source))? {
                None => return Ok(body),
                Some(piece) if body.len() + piece.len() > limit => {
                    let message = format!("{} answered with more than {} MiB", self.url, limit >> 20);
                    return Err(Error::new(Kind::Protocol, message));
                }
                Some(piece) => body.extend_from_slice(&piece),
            }
        }
    }

    /// The connection failed, before the answer or in the middle of it.
    fn lost(&self, error: reqwest::Error) -> Error {
        let why = cause(&error);
        let message = if error.is_connect() {
            format!("{} cannot be connected{why}", self.url)
        } else {
            format!("the connection to {} broke{why}", self.url)
        };
        Error::new(Kind::Unreachable, message).because(error.without_url())
    }

    fn silent(&self, after: Duration) -> Error {
        let message = format!("{} did not answer within {} s", self.url, after.as_secs());
        Error::new(Kind::Unreachable, message)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.url).finish()
    }
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        let _unusable = roots.add(certificate).is_err();
    }
    with_roots(roots)
}

fn no_tls() -> Result<rustls::ClientConfig, rustls::Error> {
    with_roots(rustls::RootCertStore::empty())
}

fn with_roots(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, rustls::Error> {
    Ok(
        rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is cut off could be half a token.
    #[tokio::test]
    async fn a_header_file_is_read_whole_or_not_at_all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = Settings {
            url: "http://127.0.0.1:1".to_owned(),
            header_file: Some(file.path().to_owned()),
        };
        let written = |size: usize| std::fs::write(file.path(), format!("X: {}", "y".repeat(size - 3))).unwrap();
        written(64 << 10);
        let client = Client::new(&settings).unwrap();
        let request = client.request(Method::GET, "/").await.unwrap().build().unwrap();
        assert_eq!(request.headers()["x"].len(), (64 << 10) - 3);
        written((64 << 10) + 1);
        let error = client.request(Method::GET, "/").await.unwrap_err();
        assert!(error.message.contains("--header-file"), "{error}");
        let error = Client::new(&settings).unwrap_err().to_string();
        assert!(error.ends_with("is longer than 64 KiB"), "{error}");
    }
}
