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

fn value(kind: prost_types::value::Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

fn list(values: Vec<prost_types::Value>) -> prost_types::Value {
    value(prost_types::value::Kind::ListValue(prost_types::ListValue { values }))
}

fn load_with(fields: impl IntoIterator<Item = (String, prost_types::Value)>) -> v1::LoadRequest {
    v1::LoadRequest {
        model: "m".into(),
        load_options: Some(v1::LoadOptions {
            context_length: None,
            engine_options: Some(prost_types::Struct {
                fields: fields.into_iter().collect(),
            }),
        }),
        ..Default::default()
    }
}

#[test]
fn a_million_faults_cost_no_more_than_sixteen() {
    let null = || value(prost_types::value::Kind::NullValue(0));
    let failure = load(load_with([("k".into(), list(vec![null(); 1_000_000]))])).unwrap_err();
    assert_eq!(failure.reason, Reason::RequestInvalid);
    assert_eq!(failure.violations.len(), 16);
    assert_eq!(failure.violations[0].field, "load_options.engine_options.k[0]");
    // Of the values that are looked at: the rest of them is one fault more.
    assert!((4000..5000).contains(&failure.more), "{}", failure.more);

    // The key is told of, and is in no text.
    let failure = load(load_with([("k".repeat(2 << 20), list(vec![null(); 1000]))])).unwrap_err();
    let bytes: usize = failure
        .violations
        .iter()
        .map(|violation| violation.field.len() + violation.description.len())
        .sum();
    assert!(bytes <= 512, "{bytes}");
    assert!(
        failure.violations[0].description.contains("longer than 256 bytes"),
        "{failure:?}"
    );
}

#[test]
fn many_values_are_too_many_however_they_nest() {
    let number = || value(prost_types::value::Kind::NumberValue(1.0));
    // Each list is a value too.
    let lists = |count: usize| (0..64).map(move |key| (format!("k{key}"), list(vec![number(); count])));
    assert!(load(load_with(lists(63))).is_ok());
    let failure = load(load_with(lists(64))).unwrap_err();
    assert_eq!(failure.violations.len(), 1, "{failure:?}");
    assert_eq!(failure.violations[0].field, "load_options.engine_options");
    assert!(
        failure.violations[0].description.contains("more than 4096 values"),
        "{failure:?}"
    );
}

#[test]
fn a_fault_deep_inside_is_told_with_a_path_that_is_cut() {
    let mut inner = value(prost_types::value::Kind::NullValue(0));
    for _ in 0..50 {
        let fields = [("long-key".repeat(8), inner)].into();
        inner = value(prost_types::value::Kind::StructValue(prost_types::Struct { fields }));
    }
    let failure = load(load_with([("k".into(), inner)])).unwrap_err();
    let field = &failure.violations[0].field;
    assert!(field.len() <= 256 && field.ends_with('…'), "{field}");
    assert!(field.starts_with("load_options.engine_options.k.long-key"), "{field}");
}
