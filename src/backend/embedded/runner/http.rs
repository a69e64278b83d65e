//! Our own requests to an engine: HTTP on this machine, short, bounded.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use reqwest::{Client, RequestBuilder, Response};
use rustls::crypto::ring;
use serde_json::Value;
use tokio::time::timeout;

use super::{key, reason};
use crate::{
    backend::{Error, Kind},
    telemetry::trace,
};

/// For an answer about the engine itself. It waits while a long batch is computed.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of an answer: an embedding of 65 536 numbers, or a long chat template.
const MAX: usize = 4 << 20;

/// A client of all engines. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Http(Client);

/// One engine.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    http: Client,
    base: String,
    /// As a header.
    key: Option<Arc<str>>,
}

/// Which of its slots work, and what they last worked on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) busy: bool,
    /// Rises with use.
    last: Vec<i64>,
}

// === impl Http ===

impl Http {
    pub(super) fn new() -> Result<Self, Error> {
        let failed = || Error::new(Kind::Internal, "the client of engines cannot be made");
        // A client must have one. It is never used: engines speak plain HTTP here, and nothing is followed.
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed().because(error))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // An engine that has ended leaves none that are dead.
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .build();
        client.map(Self).map_err(|error| failed().because(error))
    }

    /// Reads the file of keys.
    pub(super) fn engine(&self, at: SocketAddr, key_file: Option<&Path>) -> Result<Remote, Error> {
        let key = key_file.map(key::first).transpose().map_err(|error| {
            Error::new(Kind::MissingPart, "the file of --engine-key-file cannot be read").because(error)
        })?;
        Ok(Remote {
            http: self.0.clone(),
            base: format!("http://{at}"),
            key: key.map(|key| format!("Bearer {key}").into()),
        })
    }
}

// === impl Remote ===

impl Remote {
    /// Whether it has loaded its model.
    pub(super) async fn healthy(&self) -> bool {
        let asked = self.http.get(format!("{}/health", self.base)).send();
        matches!(timeout(ANSWER, asked).await, Ok(Ok(answer)) if answer.status().is_success())
    }

    /// The context that a request may have; nothing when the engine does not tell.
    pub(super) async fn context(&self) -> Result<Option<u64>, Error> {
        let props = self.get("/props").await?;
        Ok(props["default_generation_settings"]["n_ctx"].as_u64())
    }

    pub(super) async fn slots(&self) -> Result<Slots, Error> {
        let slots = self.get("/slots").await?;
        let slots = slots.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Slots {
            busy: slots.iter().any(|slot| slot["is_processing"] == Value::Bool(true)),
            last: slots
                .iter()
                .map(|slot| slot["id_task"].as_i64().unwrap_or(-1))
                .collect(),
        })
    }

    /// Begins a request for an answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Response, Error> {
        let asked = self.http.post(format!("{}{path}", self.base));
        let asked = asked.header("content-type", "application/json").body(body.to_string());
        let answer = self.signed(asked).send().await.map_err(silent)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = whole(answer).await.unwrap_or_default();
        let why = serde_json::from_slice::<Value>(&text).ok();
        let why = why.as_ref().and_then(|why| why["error"]["message"].as_str());
        Err(Error::new(
            Kind::NotLoadable,
            format!(
                "the engine answered with status {}: {}",
                status.as_u16(),
                reason::scrub(why.unwrap_or_default())
            ),
        ))
    }

    async fn get(&self, path: &str) -> Result<Value, Error> {
        let work = async {
            let asked = self.http.get(format!("{}{path}", self.base));
            let answer = self.signed(asked).send().await.map_err(silent)?;
            if !answer.status().is_success() {
                let text = format!("the engine answered {path} with status {}", answer.status().as_u16());
                return Err(Error::new(Kind::Protocol, text));
            }
            json(&whole(answer).await?)
        };
        timeout(ANSWER, work).await.unwrap_or_else(|_| Err(silence()))
    }

    /// With the key, and with what it is asked for where that is traced.
    fn signed(&self, mut asked: RequestBuilder) -> RequestBuilder {
        for (name, value) in trace::carried() {
            asked = asked.header(name, value);
        }
        match &self.key {
            Some(key) => asked.header("authorization", &**key),
            None => asked,
        }
    }
}

// === impl Slots ===

impl Slots {
    /// Whether it works, or has since it was like `before`; since it started, without that.
    pub(super) fn worked_since(&self, before: Option<&Self>) -> bool {
        let started = || self.last.iter().any(|&task| task >= 0);
        self.busy || before.map_or_else(started, |before| before.last != self.last)
    }
}

/// The body, within the bound.
pub(super) async fn whole(mut answer: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(silent)? {
        if body.len() + chunk.len() > MAX {
            return Err(Error::new(Kind::Protocol, "the engine's answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::new(Kind::Protocol, "the engine's answer is no JSON").because(error))
}

pub(super) fn silent(error: reqwest::Error) -> Error {
    silence().because(error)
}

/// It does not answer.
pub(super) fn silence() -> Error {
    Error::new(Kind::Unreachable, "the engine does not answer")
}
