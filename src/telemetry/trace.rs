//! Traces: one span a call, one an operation, one an engine call. Sent by OTLP when that is built in and asked for.
//!
//! Rooms use the functions here and know no tracer; without one they do nothing. An operation is a child of the call that
//! began it, which it may outlive; a call that joins one is linked to it. Spans of calls and engines are no part of the log:
//! their target is [`TARGET`], which the log leaves out. An engine is traced only on behalf of somebody: probes are not.

use tracing::Span;

#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use self::off::{Link, Pipeline, StartError, begun_here, carried, engine_call, operation_failed, rpc, start};
#[cfg(feature = "otlp")]
pub(super) use self::otlp::layer;
#[cfg(feature = "otlp")]
pub use self::otlp::{Link, Pipeline, StartError, begun_here, carried, engine_call, ids, operation_failed, rpc, start};

/// Of spans that the log does not show.
pub const TARGET: &str = "otel";

/// Status codes that are the service's fault, by the conventions.
const FAULTS: [&str; 6] = [
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];

/// A call ends with this code.
pub fn rpc_ended(span: &Span, code: &'static str) {
    span.record("rpc.response.status_code", code);
    if FAULTS.contains(&code) {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", code);
    }
}

/// An engine call ends: with a kind of failure, or well.
pub fn engine_call_ended(span: &Span, failure: Option<&'static str>) {
    if let Some(kind) = failure {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind);
    }
}
