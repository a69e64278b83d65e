//! From failures to gRPC statuses: the only place that names codes.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt as _};

use super::proto::v1;
use crate::model::{Failure, Reason};

const DOMAIN: &str = "modelcontrol.ichat";

/// Encoded bytes of all details.
const MAX_DETAILS: usize = 4096;
/// Bytes of one value in the metadata.
const MAX_VALUE: usize = 256;

/// The code of a reason. Ask of each: what do caller, operator and maintainer do next? Only UNAVAILABLE is retried unasked.
pub(super) fn code(reason: Reason) -> Code {
    match reason {
        Reason::RequestInvalid | Reason::ModelNameInvalid | Reason::ModelFileInvalid => Code::InvalidArgument,
        Reason::ModelNotFound | Reason::BackendNotFound | Reason::OperationNotFound | Reason::PathNotFound => {
            Code::NotFound
        }
        Reason::ModelExists => Code::AlreadyExists,
        Reason::PathNotAllowed | Reason::RegistryNotAllowed | Reason::NotAllowed => Code::PermissionDenied,
        Reason::CredentialsMissing | Reason::CredentialsInvalid => Code::Unauthenticated,
        Reason::ModelInUse
        | Reason::ModelConfigured
        | Reason::PathNotUsable
        | Reason::DigestPinMismatch
        | Reason::EngineMissingPart
        | Reason::ModelNotLoadable
        | Reason::RegistryCredentials => Code::FailedPrecondition,
        Reason::OperationConflict | Reason::Interrupted => Code::Aborted,
        Reason::OperationCancelled => Code::Cancelled,
        Reason::DeadlineExceeded | Reason::EngineStalled => Code::DeadlineExceeded,
        Reason::DiskFull | Reason::TooManyOperations | Reason::EngineOutOfMemory | Reason::MessageTooLarge => {
            Code::ResourceExhausted
        }
        Reason::BackendCannot(_) | Reason::FrameworkNotSupported | Reason::MethodUnknown => Code::Unimplemented,
        Reason::BackendUnreachable
        | Reason::BackendBusy
        | Reason::RegistryUnreachable
        | Reason::RegistryBusy
        | Reason::ShuttingDown => Code::Unavailable,
        Reason::DigestMismatch => Code::DataLoss,
        Reason::BackendProtocol | Reason::Internal => Code::Internal,
    }
}

/// The status of a failure.
pub(super) fn of(failure: &Failure) -> Status {
    let code = code(failure.reason);
    let mut details = ErrorDetails::new();
    let metadata: HashMap<String, String> = failure
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), cut(value)))
        .collect();
    details.set_error_info(failure.reason.text(), DOMAIN, metadata);
    if let Some(delay) = failure.retry_after {
        details.set_retry_info(Some(delay));
    }
    match code {
        Code::NotFound | Code::AlreadyExists => resource(&mut details, failure),
        _ => violations(&mut details, failure, code, Failure::MAX_VIOLATIONS),
    }
    let status = Status::with_error_details(code, failure.message.clone(), details.clone());
    if status.details().len() <= MAX_DETAILS {
        return status;
    }
    // Long texts in all of them: tell a few.
    let mut fewer = ErrorDetails::new();
    fewer.set_error_info(failure.reason.text(), DOMAIN, HashMap::<String, String>::new());
    violations(&mut fewer, failure, code, 4);
    Status::with_error_details(code, failure.message.clone(), fewer)
}

/// A failure as a value of the API.
pub(super) fn value(failure: &Failure) -> v1::Failure {
    v1::Failure {
        code: code(failure.reason).into(),
        reason: failure.reason.text().into_owned(),
        message: failure.message.clone(),
        metadata: failure
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), cut(value)))
            .collect(),
    }
}

/// The word for an outcome in the log.
pub(super) fn word(failure: &Failure) -> String {
    format!("{:?}", code(failure.reason))
}

/// A health question about a name that nobody knows.
pub(super) fn health_unknown(name: &str) -> Status {
    Status::not_found(format!("nobody knows the health of `{}`", cut(name)))
}

/// More health names than may be listed.
pub(super) fn health_too_many() -> Status {
    Status::resource_exhausted("more than 100 names: check them one by one")
}

/// What tonic says by itself, in our form; none when it is in our form already.
///
/// tonic answers by itself when it cannot decode a message, when one is too large, and when nobody serves the method.
pub(super) fn reshaped(status: &Status) -> Option<Status> {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return None;
    }
    let text = status.message();
    let failure = match status.code() {
        Code::Unimplemented if text.is_empty() => Failure::new(
            Reason::MethodUnknown,
            "nobody serves this method in this version: see reflection for what is",
        ),
        Code::Unimplemented => Failure::new(Reason::MethodUnknown, text),
        // Small as it was sent, too large once it was unpacked.
        Code::ResourceExhausted if text.starts_with("Error decompressing") => {
            Failure::new(Reason::MessageTooLarge, format!("the request is too large: {text}"))
        }
        Code::OutOfRange => Failure::new(Reason::MessageTooLarge, format!("the request is too large: {text}")),
        // A handler answers INTERNAL with details: this one is about the bytes of the request.
        Code::Internal | Code::InvalidArgument => {
            Failure::new(Reason::RequestInvalid, format!("the request cannot be read: {text}"))
        }
        // The health service's own, in the words of its specification.
        Code::NotFound | Code::ResourceExhausted => return None,
        _ => Failure::new(Reason::Internal, "this service failed: see its log"),
    };
    let mut shaped = of(&failure);
    // What tonic says beside the status: the compressions that are taken.
    *shaped.metadata_mut() = status.metadata().clone();
    Some(shaped)
}

/// The caller's deadline has passed.
pub(super) fn deadline_exceeded() -> Status {
    let message = "the deadline of the call passed: what it began goes on, and `Operations.Watch` follows it";
    of(&Failure::new(Reason::DeadlineExceeded, message))
}

/// The service ends.
pub(super) fn shutting_down() -> Status {
    let message = "the service is shutting down: ask its successor";
    of(&Failure::new(Reason::ShuttingDown, message).retry_after(Duration::from_secs(5)))
}

/// A handler broke off.
pub(super) fn fault() -> Status {
    of(&Failure::new(Reason::Internal, "this service failed: see its log"))
}

fn violations(details: &mut ErrorDetails, failure: &Failure, code: Code, limit: usize) {
    let all = &failure.violations;
    let mut told: Vec<(String, String)> = all
        .iter()
        .take(limit)
        .map(|violation| (violation.field.clone(), violation.description.clone()))
        .collect();
    let more = (all.len() - told.len()).saturating_add(failure.more);
    if more > 0 {
        told.push((String::new(), format!("and {more} more")));
    }
    match code {
        Code::InvalidArgument => {
            for (field, description) in told {
                details.add_bad_request_violation(field, description);
            }
        }
        Code::FailedPrecondition => {
            let kind = failure.reason.text();
            let violation = |(subject, description)| PreconditionViolation::new(kind.clone(), subject, description);
            details.set_precondition_failure(told.into_iter().map(violation).collect::<Vec<_>>());
        }
        _ => {}
    }
}

fn resource(details: &mut ErrorDetails, failure: &Failure) {
    let (kind, key) = match failure.reason {
        Reason::BackendNotFound => ("backend", "backend"),
        Reason::OperationNotFound => ("operation", "operationId"),
        Reason::PathNotFound => ("path", "path"),
        _ => ("model", "model"),
    };
    let name = failure.metadata.get(key).map(|name| cut(name)).unwrap_or_default();
    details.set_resource_info(kind, name, "", failure.message.clone());
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_VALUE {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_VALUE - '…'.len_utf8())])
}

#[cfg(test)]
mod tests;
