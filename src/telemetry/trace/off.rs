//! Without traces built in: the same functions, which do nothing.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;

/// Where spans go to: nowhere.
#[derive(Debug)]
pub struct Pipeline(());

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("this build sends no traces: leave out --otlp-endpoint, or take one with the feature `otlp`")]
pub struct StartError;

/// What ties a call to the operation that it joins: nothing.
#[derive(Debug, Clone, Default)]
pub struct Link(());

/// Refuses an endpoint; there is nothing to start without one.
pub fn start(endpoint: Option<&str>) -> Result<Option<Pipeline>, StartError> {
    endpoint.map_or(Ok(None), |_| Err(StartError))
}

/// The span of a call.
pub fn rpc(_method: &'static str, _headers: &HeaderMap, _peer: SocketAddr) -> Span {
    Span::none()
}

/// The span of an engine call.
pub fn engine_call(_backend: &str, _endpoint: impl FnOnce() -> String, _method: &'static str) -> Span {
    Span::none()
}

/// The span is what the present call begins.
pub fn begun_here(_span: &Span) {}

/// The operation of this span failed, for a reason of the API's.
pub fn operation_failed(_span: &Span, _reason: &str) {}

/// What an engine is told of the trace.
pub fn carried() -> Vec<(HeaderName, HeaderValue)> {
    Vec::new()
}

// === impl Pipeline ===

impl Pipeline {
    /// Nothing is left to be sent.
    #[expect(clippy::unused_async, reason = "where there is something to send, it is waited for")]
    pub async fn stop(self) {}
}

// === impl Link ===

impl Link {
    /// To this span.
    pub fn to(_span: &Span) -> Self {
        Self(())
    }

    /// The present call joins it.
    pub fn join(&self) {}
}
