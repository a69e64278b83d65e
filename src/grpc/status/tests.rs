use super::*;
use crate::model::Capability;

#[test]
fn every_status_has_one_error_info_and_fits() {
    let mut failure = Failure::new(Reason::RequestInvalid, "x".repeat(5000)).with("model", "y".repeat(5000));
    for n in 0..100 {
        failure = failure.violation(format!("field[{n}]"), "z".repeat(1000));
    }
    let status = of(&failure);
    assert!(status.message().len() <= 1024);
    assert!(status.details().len() <= MAX_DETAILS, "{}", status.details().len());
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "REQUEST_INVALID");
    assert_eq!(details.error_info().unwrap().domain, DOMAIN);
    let told = &details.bad_request().unwrap().field_violations;
    assert_eq!(
        told.last().unwrap().description,
        format!("and {} more", 101 - told.len())
    );
}

#[test]
fn sixteen_violations_are_told_whole() {
    let mut failure = Failure::new(Reason::RequestInvalid, "m");
    for n in 0..16 {
        failure = failure.violation(format!("f{n}"), "short");
    }
    assert_eq!(
        of(&failure)
            .get_error_details()
            .bad_request()
            .unwrap()
            .field_violations
            .len(),
        16
    );
}

#[test]
fn codes_are_those_of_the_contract() {
    for (reason, code) in [
        (Reason::ModelNotFound, 5),
        (Reason::OperationConflict, 10),
        (Reason::Interrupted, 10),
        (Reason::PathNotAllowed, 7),
        (Reason::DigestPinMismatch, 9),
        (Reason::BackendCannot(Capability::Pull), 12),
        (Reason::BackendUnreachable, 14),
        (Reason::DigestMismatch, 15),
        (Reason::DiskFull, 8),
    ] {
        assert_eq!(i32::from(self::code(reason)), code, "{reason:?}");
    }
}

#[test]
fn only_what_may_be_retried_unasked_is_unavailable() {
    for reason in Reason::ALL {
        let retried = code(*reason) == Code::Unavailable;
        let temporary = ["UNREACHABLE", "BUSY", "SHUTTING_DOWN"]
            .iter()
            .any(|word| reason.text().contains(word));
        assert_eq!(retried, temporary, "{reason:?}");
    }
}

#[test]
fn what_tonic_says_gets_our_form() {
    for (status, reason) in [
        (Status::unimplemented(""), Some("METHOD_UNKNOWN")),
        (Status::out_of_range("too large"), Some("MESSAGE_TOO_LARGE")),
        (Status::internal("failed to decode"), Some("REQUEST_INVALID")),
        (fault(), None),
        (health_unknown("x"), None),
        (health_too_many(), None),
    ] {
        let shaped = reshaped(&status);
        let found = shaped
            .as_ref()
            .and_then(|s| s.get_error_details().error_info().map(|i| i.reason.clone()));
        assert_eq!(found.as_deref(), reason, "{status:?}");
    }
}
