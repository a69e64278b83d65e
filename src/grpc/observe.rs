//! Each call, from its first byte to its status, as a metric and as a span.

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};
use tracing::{Instrument as _, Span};

use super::{
    Credentials,
    call::{self, Peer},
    proto,
};
use crate::telemetry::{metrics, trace};

/// By the number on the wire.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const CANCELLED: &str = NAMES[1];
const UNKNOWN: &str = NAMES[2];

/// What callers ask for and the API does not have.
const NO_METHOD: &str = "_OTHER";

/// Services whose calls are worth a span: of health and reflection there are many, and nothing comes of them.
const TRACED: &str = "ichat.";

/// Full names of all methods: a label is one of few, whatever callers write.
static METHODS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let sets = [
        proto::DESCRIPTORS,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.into_iter().filter_map(|set| FileDescriptorSet::decode(set).ok());
    let mut methods = HashSet::new();
    for file in files.flat_map(|set| set.file) {
        for service in &file.service {
            let names = service.method.iter().map(MethodDescriptorProto::name);
            methods.extend(names.map(|name| format!("{}.{}/{name}", file.package(), service.name())));
        }
    }
    methods
});

/// One call. Told about once, when it ends or is dropped.
struct Rpc {
    method: &'static str,
    began: Instant,
    span: Span,
    /// None until it is known: a call that is dropped without it was left by its caller.
    code: Option<&'static str>,
}

/// A body that tells when it has ended. What it does, and what its end does, is done in the call's span.
struct Observed {
    /// None once it is dropped.
    inner: Option<Body>,
    rpc: Rpc,
}

/// As [`call::answer`], observed.
pub(super) async fn answer(
    routes: Routes,
    credentials: Option<Arc<Credentials>>,
    request: Request<Incoming>,
    peer: Arc<Peer>,
    drain: CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let mut rpc = Rpc::begin(request.uri().path(), request.headers(), peer.address);
    let answered = call::answer(routes, credentials, request, peer, drain).instrument(rpc.span.clone());
    let response = answered.await?;
    if let Some(code) = code(response.headers()) {
        rpc.code = Some(code);
    } else if !response.status().is_success() {
        rpc.code = Some(UNKNOWN);
    }
    Ok(response.map(|inner| {
        let inner = Some(inner);
        Body::new(Observed { inner, rpc })
    }))
}

fn method(path: &str) -> &'static str {
    let found = path.strip_prefix('/').and_then(|method| METHODS.get(method));
    found.map_or(NO_METHOD, String::as_str)
}

fn code(headers: &HeaderMap) -> Option<&'static str> {
    let number: usize = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(NAMES.get(number).copied().unwrap_or(UNKNOWN))
}

// === impl Rpc ===

impl Rpc {
    fn begin(path: &str, headers: &HeaderMap, peer: SocketAddr) -> Self {
        let method = method(path);
        metrics::rpc_began(method);
        let span = if method.starts_with(TRACED) {
            trace::rpc(method, headers, peer)
        } else {
            Span::none()
        };
        Self {
            method,
            began: Instant::now(),
            span,
            code: None,
        }
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(CANCELLED);
        metrics::rpc_ended(self.method, code, self.began.elapsed());
        trace::rpc_ended(&self.span, code);
    }
}

// === impl Observed ===

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { inner, rpc } = &mut *self;
        let Some(inner) = inner else {
            return Poll::Ready(None);
        };
        let frame = ready!(rpc.span.in_scope(|| Pin::new(inner).poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    rpc.code = Some(code(trailers).unwrap_or(UNKNOWN));
                }
            }
            Some(Err(_)) => rpc.code = Some(UNKNOWN),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.rpc.span.in_scope(|| self.inner = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_one_of_the_api_or_none() {
        for known in [
            "ichat.modelcontrol.v1.ModelControl/EnsureReady",
            "ichat.modelcontrol.v1.Operations/Watch",
            "grpc.health.v1.Health/Check",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(method(&format!("/{known}")), known);
        }
        for other in ["", "/", "/x", "ichat.modelcontrol.v1.ModelControl/List", "//x/y"] {
            assert_eq!(method(other), NO_METHOD, "{other}");
        }
    }

    #[test]
    fn a_code_has_its_name() {
        let of = |text: &str| {
            code(&HeaderMap::from_iter([(
                "grpc-status".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(of("0"), Some("OK"));
        assert_eq!(of("14"), Some("UNAVAILABLE"));
        assert_eq!(of("17"), Some("UNKNOWN"));
        assert_eq!(of("x"), None);
    }
}
