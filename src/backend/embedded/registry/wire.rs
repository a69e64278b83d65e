//! The HTTP clients, and one request with its times.
//!
//! Four clients: manifests and tokens (HTTP/2 where it is offered) and blobs (HTTP/1.1, so that each range has a connection
//! and a congestion window of its own), each once for listed hosts and once for public ones, whose look-ups differ. An idle
//! connection of one is never used by another.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::future::FutureExt as _;
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Body, Method, Response, Url};
use tokio::time::{sleep, timeout};

use self::clients::Clients;
use super::{
    fault::{self, Place},
    guard::{Guard, Net},
    proxy::Proxy,
    remote::Fault,
    settings::{Settings, SettingsError, Timeouts},
};
use crate::backend::{Kind, registries::Origin};

mod clients;

/// All requests to registries go through it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) guard: Guard,
    pub(super) timeouts: Timeouts,
    proxy: Option<Proxy>,
    clients: Clients,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Manifests, tokens, and all of an upload but its bytes.
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
    /// GET, unless it is said.
    pub(super) method: Method,
    /// What is sent with it.
    pub(super) body: Bytes,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(settings: &Settings, net: Net) -> Result<Self, SettingsError> {
        let guard = Guard::new(settings, net);
        let proxy = settings.proxy.as_deref();
        let proxy = proxy.map(|url| Proxy::read(url).ok_or(SettingsError::Proxy));
        let (proxy, through) = proxy.transpose()?.unzip();
        Ok(Self {
            clients: Clients::new(settings, through, &guard)?,
            timeouts: settings.timeouts,
            proxy,
            guard,
        })
    }

    /// Sends one request and waits for the head of its answer, whatever its status is. Follows nothing.
    pub(super) async fn send(&self, ask: &Ask, place: &Place<'_>) -> Result<Response, Fault> {
        let after = self.timeouts.first_byte;
        let body = Body::from(ask.body.clone());
        self.exchange(ask, body, sleep(after).map(|()| after), place).await
    }

    /// The same with this body in the place of the request's own. When `patience` ends it is over: how long nothing came.
    pub(super) async fn exchange(
        &self,
        ask: &Ask,
        body: Body,
        patience: impl Future<Output = Duration>,
        place: &Place<'_>,
    ) -> Result<Response, Fault> {
        let way = self.guard.admit(place.at).map_err(|why| fault::refused(place, why))?;
        let client = self.clients.get(ask.purpose, way).await?;
        let request = client.request(ask.method.clone(), ask.url.clone());
        let mut request = request.headers(ask.headers.clone());
        if let Some(authorization) = &ask.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if !ask.only_asks() {
            request = request.body(body);
        }
        let sent = tokio::select! {
            sent = request.send() => sent,
            after = patience => {
                let proxy = self.proxy.as_ref();
                return Err(proxy.map_or_else(|| fault::silent(place, after), |proxy| proxy.silent(place, after)));
            }
        };
        let response = sent.map_err(|error| self.failed(ask.purpose, place, error))?;
        let address = response.remote_addr().map(|address| address.ip());
        self.guard
            .connected(way, address)
            .map_err(|why| fault::refused(place, why))?;
        let refused = |proxy: &Proxy| proxy.answered(place, response.status());
        self.proxy.as_ref().and_then(refused).map_or(Ok(response), Err)
    }

    /// No answer began.
    fn failed(&self, purpose: Use, place: &Place<'_>, error: reqwest::Error) -> Fault {
        let proxy = self.proxy.as_ref();
        if let Some(fault) = proxy.and_then(|proxy| proxy.failed(place, &error)) {
            return Fault {
                error: fault.error.because(error.without_url()),
                ..fault
            };
        }
        let fault = fault::connection(place, error);
        match purpose {
            // What a registry sends behind a whole answer is read as the head of the next one, where a connection is used
            // again: another connection has none of it.
            Use::Bulk if fault.error.kind == Kind::Protocol => Fault::soon(fault.error),
            _ => fault,
        }
    }

    /// The whole body, when it is no longer than `limit`, with a bound on the time without progress.
    pub(super) async fn body(&self, response: Response, limit: u64, place: &Place<'_>) -> Result<Bytes, Fault> {
        let told = response.content_length();
        match self.excerpt(response, limit, place).await? {
            // A stream that is reset without an error looks like one that has ended.
            (bytes, true) if told.is_some_and(|told| told != bytes.len() as u64) => Err(fault::short(place)),
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
            method: Method::GET,
            body: Bytes::new(),
        }
    }

    /// Whether a redirect may be followed: what is sent is for the one place that it is sent to.
    pub(super) fn only_asks(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
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
