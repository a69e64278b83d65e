//! Spans become OpenTelemetry's, and go to a collector.
//!
//! The batch thread of the SDK sends them; nobody waits for it, and what does not fit its queue is dropped. A collector that
//! does not answer is told about once, and once when it does again.

use std::{
    env, fmt,
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{SpanContext, Status, TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, filter_fn},
    registry::LookupSpan,
};

use super::TARGET;

const SERVICE: &str = "model-control";
/// The span of operations, which the log shows too.
const OPERATION: &str = "operation";
/// For one batch.
const SEND: Duration = Duration::from_secs(5);
/// For all that is left at the end.
const FLUSH: Duration = Duration::from_secs(3);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Where spans go to.
#[derive(Debug)]
pub struct Pipeline(SdkTracerProvider);

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent")]
pub struct StartError(#[from] ExporterBuildError);

/// What ties a call to the operation that it joins.
#[derive(Debug, Clone, Default)]
pub struct Link(Option<SpanContext>);

/// An exporter that tells when it fails, once.
struct Telling {
    inner: opentelemetry_otlp::SpanExporter,
    failed: AtomicBool,
}

/// Headers to read the trace from.
struct Read<'a>(&'a HeaderMap);

/// Headers to write the trace to.
struct Write(Vec<(HeaderName, HeaderValue)>);

/// Sends traces to `endpoint`, else to where the standard variables say; to nobody when those say nothing either. Within
/// the run time, once a process.
pub fn start(endpoint: Option<&str>) -> Result<Option<Pipeline>, StartError> {
    let said = |name| env::var(name).is_ok_and(|value| !value.is_empty());
    let off = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    let wanted = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    if off || (endpoint.is_none() && !wanted.into_iter().any(said)) {
        return Ok(None);
    }
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_timeout(SEND);
    if let Some(endpoint) = endpoint {
        exporter = exporter.with_endpoint(endpoint);
    }
    let exporter = Telling {
        inner: exporter.build()?,
        failed: AtomicBool::new(false),
    };
    let named = said("OTEL_SERVICE_NAME")
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|attributes| attributes.contains("service.name="));
    let mut resource = Resource::builder().with_attribute(opentelemetry::KeyValue::new(
        "service.version",
        env!("CARGO_PKG_VERSION"),
    ));
    if !named {
        resource = resource.with_service_name(SERVICE);
    }
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    let provider = PROVIDER.get_or_init(|| provider).clone();
    Ok(Some(Pipeline(provider)))
}

/// What makes spans of the log's library OpenTelemetry's; none unless [`start`] did.
pub(in crate::telemetry) fn layer<S>() -> Option<impl Layer<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let provider = PROVIDER.get()?;
    let ours =
        |metadata: &Metadata<'_>| metadata.is_span() && (metadata.target() == TARGET || metadata.name() == OPERATION);
    let layer: OpenTelemetryLayer<S, SdkTracer> = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false);
    Some(layer.with_filter(filter_fn(ours).with_max_level_hint(LevelFilter::INFO)))
}

/// The span of a call: a child of the caller's, when that tells one.
pub fn rpc(method: &'static str, headers: &HeaderMap, peer: SocketAddr) -> Span {
    if PROVIDER.get().is_none() {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
        client.address = %peer.ip(),
        client.port = peer.port(),
    );
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Read(headers));
    // A span that nobody records has no parent to set.
    let _unrecorded = span.set_parent(parent).is_err();
    span
}

/// The span of an engine call, when it is made for somebody who is traced.
pub fn engine_call(backend: &str, endpoint: impl FnOnce() -> String, method: &'static str) -> Span {
    if !Context::current().has_active_span() {
        return Span::none();
    }
    tracing::info_span!(
        target: TARGET,
        "engine",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
        backend.name = backend,
        engine.endpoint = endpoint(),
        engine.method = method,
    )
}

/// The span is what the present call begins.
pub fn begun_here(span: &Span) {
    if PROVIDER.get().is_some() {
        let _unrecorded = span.set_parent(Context::current()).is_err();
    }
}

/// The operation of this span failed, for a reason of the API's. Not by the span's fields: the log would show them.
pub fn operation_failed(span: &Span, reason: &str) {
    if PROVIDER.get().is_some() {
        span.set_status(Status::error(reason.to_owned()));
        span.set_attribute("error.type", reason.to_owned());
    }
}

/// What an engine is told of the trace.
pub fn carried() -> Vec<(HeaderName, HeaderValue)> {
    let context = Context::current();
    if !context.has_active_span() {
        return Vec::new();
    }
    let mut headers = Write(Vec::new());
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    headers.0
}

/// Trace and span of what is being done, for the log.
pub fn ids() -> Option<(String, String)> {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_valid()
        .then(|| (span.trace_id().to_string(), span.span_id().to_string()))
}

// === impl Pipeline ===

impl Pipeline {
    /// Sends what is left, within a bound.
    pub async fn stop(self) {
        // The SDK waits for its thread: not on one of the run time's.
        let stopping = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH));
        let _lost = tokio::time::timeout(FLUSH, stopping).await.is_err();
    }
}

// === impl Link ===

impl Link {
    /// To this span.
    pub fn to(span: &Span) -> Self {
        if PROVIDER.get().is_none() {
            return Self(None);
        }
        Self(Some(span.context().span().span_context().clone()))
    }

    /// The present call joins it.
    pub fn join(&self) {
        if let Some(operation) = &self.0 {
            Span::current().add_link(operation.clone());
        }
    }
}

// === impl Telling ===

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) => {
                if self.failed.swap(false, Ordering::Relaxed) {
                    tracing::info!("traces are sent again");
                }
            }
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "traces cannot be sent: they are dropped until the collector answers");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> Result<(), OTelSdkError> {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}

// === impl Read ===

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

// === impl Write ===

impl Injector for Write {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse(), value.parse()) {
            self.0.push((key, value));
        }
    }
}
