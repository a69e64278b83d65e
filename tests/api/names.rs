//! Names and fields that are wrong: each is told, all at once, and the telling is bounded.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{Struct, Value, value::Kind};
use tonic_types::StatusExt as _;

use super::{
    scene::{Scene, assert_bounded, fields, model},
    support::*,
};

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_names_are_refused_by_every_call_that_makes_something() {
    let mut scene = Scene::new().await;
    let path = scene.put("good.gguf", &model(1));
    let long = "x".repeat(1000);
    let digest = format!("m@sha256:{}", "0".repeat(64));
    for name in [
        "", " ", "a b", "a\nb", "a\0b", "/", "//", "a/", "/a", "a//b", ":", "a:", ":b", "a:b:c", "a/b/c/d", "é", "-a",
        ".a", "..", "../a", "a/../b", "a\\b", "a?b", "a:b c", "💥", &long, &digest,
    ] {
        let status = scene
            .refused(create(name, &path), Code::InvalidArgument, "MODEL_NAME_INVALID")
            .await;
        assert_eq!(fields(&status), ["model"], "{name:?}");
        let status = soon(scene.client.pull(pull(name))).await.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::InvalidArgument, "MODEL_NAME_INVALID")
        );
        assert_eq!(fields(&status), ["model"], "{name:?}");
        let ensure = v1::EnsureReadyRequest {
            model: name.into(),
            path: path.display().to_string(),
            ..Default::default()
        };
        let status = soon(scene.client.ensure_ready(ensure)).await.unwrap_err();
        // An empty one stands for the configured model, which is not there.
        let wanted = if name.is_empty() {
            "REQUEST_INVALID"
        } else {
            "MODEL_NAME_INVALID"
        };
        assert_eq!((status.code(), &*reason(&status)), (Code::InvalidArgument, wanted));
        assert_eq!(fields(&status), ["model"], "{name:?}");
    }
    for name in ["m:cloud", "m:local", "m:7b-cloud", "m:CLOUD"] {
        let status = scene
            .refused(create(name, &path), Code::InvalidArgument, "MODEL_NAME_INVALID")
            .await;
        assert_eq!(fields(&status), ["model"], "{name:?}");
    }
    assert!(scene.stored().is_empty());
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_backend_is_named() {
    let mut scene = Scene::new().await;
    let path = scene.put("good.gguf", &model(1));
    let mut client = scene.client.clone();
    let none = || "none".to_owned();
    let request = v1::CreateFromPathRequest {
        backend: none(),
        ..create("m", &path)
    };
    let mut answers = vec![scene.refused(request, Code::NotFound, "BACKEND_NOT_FOUND").await];
    let request = v1::PullRequest {
        backend: none(),
        ..pull("m")
    };
    answers.push(soon(client.pull(request)).await.unwrap_err());
    let request = v1::EnsureReadyRequest {
        backend: none(),
        model: "m".into(),
        ..Default::default()
    };
    answers.push(soon(client.ensure_ready(request)).await.unwrap_err());
    let request = v1::ListRequest {
        backend: none(),
        ..Default::default()
    };
    answers.push(soon(client.list(request)).await.unwrap_err());
    let request = v1::DescribeRequest { backend: none() };
    answers.push(soon(client.describe(request)).await.unwrap_err());
    for status in answers {
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::NotFound, "BACKEND_NOT_FOUND")
        );
        let details = status.get_error_details();
        let resource = details.resource_info().expect("a ResourceInfo");
        assert_eq!(
            (resource.resource_type.as_str(), resource.resource_name.as_str()),
            ("backend", "none")
        );
        assert_eq!(details.error_info().unwrap().metadata["backend"], "none");
        assert!(status.message().contains("`none`") && status.message().contains("one"));
    }
    for backend in ["One", "one ", "no\nne", "x/../one", "\u{202e}eno"] {
        let request = v1::CreateFromPathRequest {
            backend: backend.into(),
            ..create("m", &path)
        };
        scene.refused(request, Code::NotFound, "BACKEND_NOT_FOUND").await;
    }
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_told_at_once() {
    let mut scene = Scene::new().await;
    let parameters = BTreeMap::from([
        ("nan".to_owned(), value(Kind::NumberValue(f64::NAN))),
        ("null".to_owned(), value(Kind::NullValue(0))),
        ("none".to_owned(), Value { kind: None }),
        ("good".to_owned(), value(Kind::BoolValue(true))),
    ]);
    let request = v1::CreateFromPathRequest {
        backend: "b".repeat(64),
        model: "a b".into(),
        path: "relative".into(),
        on_disconnect: 77,
        import_options: Some(v1::ImportOptions {
            adapter_paths: vec!["/good".into(), String::new(), "relative".into(), "/\0".into()],
            quantize: "Q4 K".into(),
            parameters: Some(Struct { fields: parameters }),
            messages: vec![v1::ChatMessage {
                role: "nobody".into(),
                content: String::new(),
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let status = scene.refused(request, Code::InvalidArgument, "REQUEST_INVALID").await;
    let told = fields(&status);
    let wanted = [
        "backend",
        "model",
        "path",
        "on_disconnect",
        "import_options.adapter_paths[1]",
        "import_options.adapter_paths[2]",
        "import_options.adapter_paths[3]",
        "import_options.quantize",
        "import_options.parameters.nan",
        "import_options.parameters.null",
        "import_options.parameters.none",
        "import_options.messages[0].role",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    let told: BTreeSet<_> = told.iter().map(String::as_str).collect();
    assert_eq!(told, BTreeSet::from(wanted));
    // A wrong name beside another fault is one of several.
    let request = create("a b", Path::new("relative"));
    let status = scene.refused(request, Code::InvalidArgument, "REQUEST_INVALID").await;
    assert_eq!(fields(&status), ["model", "path"]);
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bad_input_gets_a_short_answer() {
    let mut scene = Scene::new().await;
    let good = scene.put("good.gguf", &model(1));
    let long = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    let none = || Value { kind: None };
    for text in ["x", "\n", "é", "💥", "\u{7f}"] {
        let messages = (0..100).map(|_| v1::ChatMessage {
            role: long(text, 100),
            content: String::new(),
        });
        let all = v1::CreateFromPathRequest {
            backend: long(text, 2000),
            model: long(text, 2000),
            path: long(text, 2000),
            import_options: Some(v1::ImportOptions {
                adapter_paths: vec![long(text, 500); 17],
                quantize: long(text, 1000),
                parameters: Some(Struct {
                    fields: (0..8).map(|n| (format!("{n}{}", long(text, 2000)), none())).collect(),
                }),
                messages: messages.collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let status = scene.refused(all, Code::InvalidArgument, "REQUEST_INVALID").await;
        let details = status.get_error_details();
        let told = &details.bad_request().expect("a BadRequest").field_violations;
        assert!(told.len() <= 17, "{}", told.len());
        assert!(told.last().unwrap().description.ends_with(" more"), "{told:?}");

        let key = |key: &str| v1::CreateFromPathRequest {
            import_options: Some(v1::ImportOptions {
                parameters: Some(Struct {
                    fields: [(key.to_owned(), value(Kind::StructValue(Struct::default())))].into(),
                }),
                ..Default::default()
            }),
            ..create("m", &good)
        };
        // A key that no model has, and one that is none.
        for (bytes, reason) in [(250, "MODEL_FILE_INVALID"), (50_000, "REQUEST_INVALID")] {
            scene
                .refused(key(&long(text, bytes)), Code::InvalidArgument, reason)
                .await;
        }
        let request = create(&long(text, 50_000), &good);
        scene
            .refused(request, Code::InvalidArgument, "MODEL_NAME_INVALID")
            .await;
        let request = v1::CreateFromPathRequest {
            backend: long(text, 60),
            ..create("m", &good)
        };
        scene.refused(request, Code::NotFound, "BACKEND_NOT_FOUND").await;
        let path = scene.root(&long(text, 240)).join(long(text, 240)).join(long(text, 240));
        scene
            .refused(create("m", &path), Code::NotFound, "PATH_NOT_FOUND")
            .await;
        let status = soon(scene.client.list(v1::ListRequest {
            page_token: long(text, 20_000),
            order_by: long(text, 20_000),
            ..Default::default()
        }))
        .await
        .unwrap_err();
        assert_bounded(&status);
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::InvalidArgument, "REQUEST_INVALID")
        );
    }
    scene.alive().await;
}
