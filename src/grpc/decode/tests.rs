use prost_types::Duration as ProtoDuration;

use super::*;

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let request = v1::EnsureReadyRequest {
        backend: "b".repeat(64),
        model: "a b".into(),
        path: "relative".into(),
        level: 9,
        digest: "sha256:x".into(),
        keep_alive: Some(ProtoDuration { seconds: -1, nanos: 0 }),
        load_options: Some(v1::LoadOptions {
            context_length: Some(0),
            engine_options: None,
        }),
        on_disconnect: 7,
        import_options: Some(v1::ImportOptions {
            quantize: "../x".into(),
            messages: vec![v1::ChatMessage {
                role: "boss".into(),
                content: String::new(),
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let failure = ensure(request).unwrap_err();
    assert_eq!(failure.reason, Reason::RequestInvalid);
    let fields: Vec<_> = failure
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "backend",
            "model",
            "path",
            "import_options.quantize",
            "import_options.messages[0].role",
            "level",
            "digest",
            "keep_alive",
            "load_options.context_length",
            "on_disconnect",
        ]
    );
}

#[test]
fn a_wrong_name_alone_has_its_own_reason() {
    let failure = pull(v1::PullRequest {
        model: String::new(),
        ..Default::default()
    })
    .unwrap_err();
    assert_eq!(failure.reason, Reason::ModelNameInvalid);
    assert_eq!(failure.violations.len(), 1);
    let failure = pull(v1::PullRequest {
        model: "a b".into(),
        on_disconnect: 9,
        ..Default::default()
    })
    .unwrap_err();
    assert_eq!(failure.reason, Reason::RequestInvalid);
}

#[test]
fn whole_numbers_stay_whole() {
    let number = |number| prost_types::Value {
        kind: Some(prost_types::value::Kind::NumberValue(number)),
    };
    let parameters = prost_types::Struct {
        fields: [("num_ctx", 4096.0), ("temperature", 0.5)]
            .map(|(k, v)| (k.to_owned(), number(v)))
            .into(),
    };
    let request = v1::CreateFromPathRequest {
        model: "m".into(),
        path: "/p".into(),
        import_options: Some(v1::ImportOptions {
            parameters: Some(parameters),
            ..Default::default()
        }),
        ..Default::default()
    };
    let decoded = create(request).unwrap().options.parameters;
    assert_eq!(serde_json::to_string(&decoded["num_ctx"]).unwrap(), "4096");
    assert_eq!(serde_json::to_string(&decoded["temperature"]).unwrap(), "0.5");
}
