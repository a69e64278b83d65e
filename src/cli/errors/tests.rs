use std::collections::HashMap;

use tonic_types::{ErrorDetails, FieldViolation};

use super::*;

const SERVER: &str = DEFAULT_SERVER;

fn status(code: Code, message: &str, reason: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let mut details = ErrorDetails::with_error_info(reason, "modelcontrol.ichat", metadata);
    details.set_bad_request(vec![FieldViolation::new("model", "is em\npty")]);
    details.set_retry_info(Some(Duration::from_millis(1500)));
    Status::with_error_details(code, message, details)
}

#[test]
fn all_parts_of_a_status_are_told() {
    let fault = Fault::from(&status(
        Code::InvalidArgument,
        "bad\u{1b}[2J",
        "REQUEST_INVALID",
        &[("model", "")],
    ));
    assert_eq!(
        fault.lines(SERVER),
        [
            "error: bad\\u{1b}[2J (REQUEST_INVALID)",
            "  model: is em\\npty",
            "  try again in 1.5s"
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&fault.json()).unwrap();
    assert_eq!(
        json,
        json!({
            "code": "INVALID_ARGUMENT",
            "reason": "REQUEST_INVALID",
            "message": "bad\u{1b}[2J",
            "metadata": {"model": ""},
            "violations": [{"field": "model", "description": "is em\npty"}],
            "retryAfter": "1.5s",
        })
    );
}

#[test]
fn a_conflict_leads_to_what_is_running() {
    let conflict = |id| {
        Fault::from(&status(
            Code::Aborted,
            "busy",
            "OPERATION_CONFLICT",
            &[("operationId", id)],
        ))
    };
    let ways = conflict("0190-a").advice("http://other:1");
    assert_eq!(
        ways,
        [
            "follow what is running: `model-control --server http://other:1 operations watch 0190-a`",
            "or cancel it: `model-control --server http://other:1 operations cancel 0190-a`"
        ]
    );
    // An id that a shell would run is not put into a command.
    let ways = conflict("$(reboot)").advice(SERVER);
    assert_eq!(ways, ["see what is running: `model-control operations list`"]);
}

#[test]
fn each_documented_reason_is_told_with_its_way_out() {
    for (reason, way) in [
        ("PATH_NOT_ALLOWED", "--model-root"),
        ("MODEL_EXISTS", "--replace"),
        ("MODEL_NOT_FOUND", "`model-control list`"),
        ("BACKEND_CANNOT_PULL", "`model-control describe`"),
        ("BACKEND_UNREACHABLE", "`model-control describe`"),
        ("TOO_MANY_OPERATIONS", "operations list"),
        ("REGISTRY_NOT_ALLOWED", "--allow-registry"),
        ("METHOD_UNKNOWN", "this is version"),
        ("DEADLINE_EXCEEDED", "goes on"),
    ] {
        let lines = Fault::from(&status(Code::Internal, "m", reason, &[]))
            .lines(SERVER)
            .join("\n");
        assert!(lines.contains(way), "{reason}: {lines}");
    }
}

#[test]
fn statuses_of_other_programs_are_told_too() {
    let fault = Fault::from(&Status::unimplemented(""));
    let lines = fault.lines(SERVER).join("\n");
    assert!(
        lines.contains("UNIMPLEMENTED") && lines.contains("is it `model-control serve`"),
        "{lines}"
    );
    // tonic's own word for a deadline.
    let expired = Fault::from(&Status::cancelled("Timeout expired"));
    assert!(expired.brief().contains("DEADLINE_EXCEEDED"));
}

#[test]
fn every_code_has_the_name_of_grpc() {
    let names = (0..17).map(|code| code_name(Code::from_i32(code))).collect::<Vec<_>>();
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!((names[5], names[14], different.len()), ("NOT_FOUND", "UNAVAILABLE", 17));
}
