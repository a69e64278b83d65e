//! Statuses back into words: what failed, why, and the way out. The client's only file that knows gRPC codes.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{DEFAULT_SERVER, text};
use crate::grpc::proto::v1;

mod advice;
mod tls;

/// Violations that are shown; a server sends at most 16.
const MAX_VIOLATIONS: usize = 32;

/// Variables that are kept of a failure.
const MAX_METADATA: usize = 64;

/// What failed, whether a status, a failure within a message, or no answer at all.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// `NOT_FOUND`, …; gRPC's own spelling.
    code: &'static str,
    /// `MODEL_NOT_FOUND`, …; empty when it is not a server of this API that said no.
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
    /// Field or subject, and what is wrong with it.
    violations: Vec<(String, String)>,
    retry_after: Option<Duration>,
    /// The operation that this call followed, when its id was known.
    follows: Option<String>,
    /// The connection broke, as it also does when the server refuses a certificate or wants TLS.
    lost: bool,
    /// The way out when TLS failed.
    tls: Option<&'static str>,
}

/// A command on the same server, to be copied from the terminal.
pub(super) fn command(server: &str, words: &str) -> String {
    if server == DEFAULT_SERVER {
        format!("model-control {words}")
    } else {
        format!("model-control --server {server} {words}")
    }
}

/// Whether an operation's id may stand in a command that people copy: nothing in it means anything to a shell.
pub(super) fn is_plain_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

// === impl Fault ===

impl Fault {
    /// Nobody answers at the address.
    pub(super) fn no_connection(server: &str, error: &tonic::transport::Error) -> Self {
        if let Some((told, way)) = tls::told(error) {
            let fault = Self::local(Code::Unavailable, format!("cannot connect to {server}: {told}"));
            return Self {
                tls: Some(way),
                ..fault
            };
        }
        // The deepest cause says most: `Connection refused`.
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Self::local(Code::Unavailable, format!("cannot connect to {server}: {cause}"))
    }

    /// The call took longer than it may.
    pub(super) fn too_slow(timeout: Duration) -> Self {
        Self::local(Code::DeadlineExceeded, format!("no answer within {timeout:?}"))
    }

    /// The server broke the API's rules.
    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self::local(Code::Internal, message)
    }

    /// The command line cannot be understood.
    pub(super) fn usage(message: String) -> Self {
        Self::local(Code::InvalidArgument, message)
    }

    /// Our output cannot be written.
    pub(super) fn output(message: String) -> Self {
        Self::local(Code::Unknown, message)
    }

    /// A failure that the server told within a message.
    pub(super) fn from_failure(failure: &v1::Failure) -> Self {
        Self {
            reason: failure.reason.clone(),
            metadata: failure
                .metadata
                .iter()
                .take(MAX_METADATA)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            ..Self::local(Code::from_i32(failure.code), failure.message.clone())
        }
    }

    /// The failure of a call that followed this operation, so that the way back to it can be told.
    #[must_use]
    pub(super) fn following(mut self, operation_id: Option<&str>) -> Self {
        self.follows = operation_id.map(str::to_owned);
        self
    }

    fn local(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code_name(code),
            reason: String::new(),
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            follows: None,
            lost: false,
            tls: None,
        }
    }

    /// One line without the way out, for failures that are part of a result.
    pub(super) fn brief(&self) -> String {
        let label = if self.reason.is_empty() {
            self.code
        } else {
            &self.reason
        };
        format!("{} ({})", text::printable(&self.message), text::printable(label))
    }

    /// What the person is told: the failure, its parts, the way out.
    pub(super) fn lines(&self, server: &str) -> Vec<String> {
        let mut lines = vec![format!("error: {}", self.brief())];
        for (field, description) in &self.violations {
            lines.push(format!(
                "  {}: {}",
                text::printable(field),
                text::printable(description)
            ));
        }
        if let Some(delay) = self.retry_after {
            lines.push(format!("  try again in {delay:?}"));
        }
        lines.extend(self.advice(server).into_iter().map(|way| format!("  {way}")));
        lines
    }

    /// One line of JSON for programs.
    pub(super) fn json(&self) -> String {
        let mut object = json!({
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "metadata": self.metadata,
        });
        if !self.violations.is_empty() {
            let violations = self.violations.iter();
            object["violations"] = violations.map(|(f, d)| json!({"field": f, "description": d})).collect();
        }
        if let Some(delay) = self.retry_after {
            // As the protobuf mapping writes a Duration.
            object["retryAfter"] = json!(format!("{}s", delay.as_secs_f64()));
        }
        text::harmless_json(object.to_string())
    }
}

impl From<&Status> for Fault {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        // What tonic's own channel says when the deadline that we set has passed.
        let expired = status.code() == Code::Cancelled && status.message() == "Timeout expired";
        // A status with a cause is the channel's own: no server said it. Its words are HTTP/2's.
        let lost = !expired && details.error_info().is_none() && std::error::Error::source(status).is_some();
        let tls = std::error::Error::source(status).filter(|_| lost).and_then(tls::told);
        if let Some((told, way)) = tls {
            let message = format!("the connection to the server was refused: {told}");
            return Self {
                tls: Some(way),
                ..Self::local(Code::Unavailable, message)
            };
        }
        let (code, message) = match status.message() {
            message if expired => (Code::DeadlineExceeded, message.to_owned()),
            message if lost => (
                Code::Unavailable,
                format!("the connection to the server was lost: {message}"),
            ),
            message => (status.code(), message.to_owned()),
        };
        let mut fault = Self {
            lost,
            ..Self::local(code, message)
        };
        if fault.message.is_empty() {
            code.description().clone_into(&mut fault.message);
        }
        if let Some(info) = details.error_info() {
            fault.reason.clone_from(&info.reason);
            let metadata = info.metadata.iter().take(MAX_METADATA);
            fault.metadata = metadata.map(|(k, v)| (k.clone(), v.clone())).collect();
        }
        if let Some(bad) = details.bad_request() {
            let fields = bad.field_violations.iter();
            fault.violations = fields.map(|v| (v.field.clone(), v.description.clone())).collect();
        }
        if let Some(precondition) = details.precondition_failure() {
            let violations = precondition.violations.iter();
            fault
                .violations
                .extend(violations.map(|v| (v.subject.clone(), v.description.clone())));
        }
        fault.violations.truncate(MAX_VIOLATIONS);
        fault.retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
        fault
    }
}

/// As gRPC's documents and `google.rpc.Code` spell it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
