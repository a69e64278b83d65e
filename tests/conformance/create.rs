//! Models from files.

use std::{collections::BTreeMap, fs, path::Path};

use model_control::gguf::{TensorKind, build::Builder};
use prost_types::{ListValue, Struct, Value, value::Kind as Held};
use serde_json::json;
use tonic::Status;

use super::{
    calls,
    case::cases,
    llama,
    support::{Code, create, created, v1},
    world::{Ground, Kind, World, tiny},
};

cases![create =>
    a_file_becomes_a_model [Create],
    the_same_again_changes_nothing [Create],
    other_content_is_refused_and_replaced_on_demand [Create],
    parts_become_one_model [Create, Split],
    adapters_are_kept [Create],
    texts_are_kept [Create],
    what_is_no_model_is_refused [Create],
    paths_outside_the_roots_are_refused_alike [Create],
    reserved_tags_are_refused [Create],
    no_answer_has_a_path_of_the_server [Create],
];

async fn make(world: &World, request: v1::CreateFromPathRequest) -> Result<v1::CreateFromPathResult, Status> {
    created(&mut world.client.clone(), request).await
}

async fn a_file_becomes_a_model(ground: Ground) {
    let world = ground.start().await;
    let result = world.create("m", &tiny(0)).await.unwrap();
    assert!(result.changed);
    let provenance = result.provenance.unwrap();
    assert_eq!(provenance.sources.len(), 1);
    assert_eq!(provenance.sources[0].file_name, "m.gguf");
    assert_eq!(
        provenance.sources[0].digest,
        model_control::model::Digest::of(&tiny(0)).to_string()
    );
    assert!(provenance.stored_digest.starts_with("sha256:"));
    if world.ground.kind != Kind::Double {
        let stored = world.ground.layer("m", "model").unwrap();
        assert_eq!(
            provenance.stored_digest,
            model_control::model::Digest::of(&stored).to_string()
        );
    }
    assert_eq!(world.list().await[0].digest, result.model.unwrap().digest);
}

async fn the_same_again_changes_nothing(ground: Ground) {
    let world = ground.start().await;
    let first = world.create("m", &tiny(0)).await.unwrap();
    let again = world.create("m", &tiny(0)).await.unwrap();
    assert!(first.changed && !again.changed);
    assert_eq!(first.model.unwrap().digest, again.model.unwrap().digest);
    // Under another name it is another model with the same content.
    let other = world.create("n", &tiny(0)).await.unwrap();
    assert!(other.changed);
    assert_eq!(world.list().await.len(), 2);
}

async fn other_content_is_refused_and_replaced_on_demand(ground: Ground) {
    let world = ground.start().await;
    let first = world.create("m", &tiny(0)).await.unwrap().model.unwrap();
    let status = world.create("m", &tiny(1)).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::AlreadyExists, "MODEL_EXISTS"));
    assert_eq!(world.list().await[0].digest, first.digest, "nothing was replaced");
    let request = v1::CreateFromPathRequest {
        replace: true,
        ..create("m", &world.ground.home.model("m.gguf"))
    };
    let replaced = make(&world, request.clone()).await.unwrap();
    assert!(replaced.changed);
    let digest = replaced.model.unwrap().digest;
    assert_ne!(digest, first.digest);
    let listed = world.list().await;
    assert_eq!((listed.len(), &listed[0].digest), (1, &digest));
    assert!(!make(&world, request).await.unwrap().changed);
}

async fn parts_become_one_model(ground: Ground) {
    let world = ground.start().await;
    let folder = world.ground.home.model("parts");
    fs::create_dir(&folder).unwrap();
    let parts = llama::split(&folder).unwrap();
    let result = make(&world, create("m", &parts[0])).await.unwrap();
    assert!(result.changed);
    assert_eq!(result.provenance.unwrap().sources.len(), parts.len());
    assert!(
        !make(&world, create("m", &folder)).await.unwrap().changed,
        "its folder is the same"
    );
    fs::remove_file(&parts[2]).unwrap();
    let status = make(&world, create("n", &parts[0])).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "PATH_NOT_USABLE")
    );
    assert_eq!(world.list().await.len(), 1);
}

async fn adapters_are_kept(ground: Ground) {
    let world = ground.start().await;
    let adapter = Builder::new("llama")
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .tensor("blk.0.attn_q.weight.lora_a", &[64, 2], TensorKind::F32, &[0; 512])
        .tensor("blk.0.attn_q.weight.lora_b", &[2, 64], TensorKind::F32, &[0; 512])
        .finish();
    let path = world.ground.put("lora.gguf", &adapter);
    let model = world.ground.put("m.gguf", &tiny(0));
    let options = v1::ImportOptions {
        adapter_paths: vec![path.display().to_string()],
        ..Default::default()
    };
    let request = v1::CreateFromPathRequest {
        import_options: Some(options),
        ..create("m", &model)
    };
    let with = make(&world, request.clone()).await.unwrap();
    assert!(with.changed && !make(&world, request.clone()).await.unwrap().changed);
    let kept = world.ground.layer("m", "adapter").expect("an adapter layer");
    if world.ground.kind != Kind::Double {
        assert_eq!(kept, adapter);
    }
    let without = make(&world, create("n", &model)).await.unwrap();
    assert_ne!(with.model.unwrap().digest, without.model.unwrap().digest);
    // A model is no adapter.
    let options = v1::ImportOptions {
        adapter_paths: vec![model.display().to_string()],
        ..Default::default()
    };
    let request = v1::CreateFromPathRequest {
        import_options: Some(options),
        ..create("o", &model)
    };
    let status = make(&world, request).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID")
    );
}

async fn texts_are_kept(ground: Ground) {
    let world = ground.start().await;
    let value = |kind| Value { kind: Some(kind) };
    let stops = ["a", "b"].map(|stop| value(Held::StringValue(stop.into())));
    let parameters = Struct {
        fields: BTreeMap::from([
            ("num_ctx".to_owned(), value(Held::NumberValue(128.0))),
            (
                "stop".to_owned(),
                value(Held::ListValue(ListValue { values: stops.into() })),
            ),
        ]),
    };
    let message = |role: &str, content: &str| v1::ChatMessage {
        role: role.into(),
        content: content.into(),
    };
    let options = v1::ImportOptions {
        template: Some("{{ .System }}|{{ .Prompt }}".into()),
        system: Some("Be brief.".into()),
        license: vec!["One.".into(), "Two.".into()],
        parameters: Some(parameters),
        messages: vec![message("user", "Hi"), message("assistant", "Ho")],
        ..Default::default()
    };
    let path = world.ground.put("m.gguf", &tiny(0));
    let request = v1::CreateFromPathRequest {
        import_options: Some(options),
        ..create("m", &path)
    };
    assert!(make(&world, request.clone()).await.unwrap().changed);
    assert!(!make(&world, request).await.unwrap().changed);
    let layer = |kind: &str| world.ground.layer("m", kind).expect(kind);
    assert_eq!(layer("template"), b"{{ .System }}|{{ .Prompt }}");
    assert_eq!(layer("system"), b"Be brief.");
    assert_eq!(layer("license"), b"One.");
    let read = |kind: &str| serde_json::from_slice::<serde_json::Value>(&layer(kind)).unwrap();
    let parameters = read("params");
    assert_eq!(parameters["stop"], json!(["a", "b"]));
    assert_eq!(parameters["num_ctx"].as_f64(), Some(128.0));
    assert_eq!(
        read("messages"),
        json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
    );
}

async fn what_is_no_model_is_refused(ground: Ground) {
    let world = ground.start().await;
    let whole = tiny(0);
    let mut version = whole.clone();
    version[4] = 99;
    let mut tensors = whole.clone();
    tensors[8..16].copy_from_slice(&(1_u64 << 62).to_le_bytes());
    for (name, bytes) in [
        ("magic", b"GGUF".to_vec()),
        ("text", b"this is no model at all".to_vec()),
        ("short", whole[..whole.len() / 2].to_vec()),
        ("version", version),
        ("tensors", tensors),
    ] {
        let status = world.create(name, &bytes).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID"),
            "{name}: {status:?}"
        );
    }
    let status = world.create("empty", b"").await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "PATH_NOT_USABLE")
    );
    assert!(world.list().await.is_empty());
}

async fn reserved_tags_are_refused(ground: Ground) {
    let world = ground.start().await;
    for tag in ["local", "cloud", "7b-cloud", "LOCAL"] {
        let status = world.create(&format!("m:{tag}"), &tiny(0)).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::InvalidArgument, "MODEL_NAME_INVALID"),
            "{tag}"
        );
    }
    assert!(world.list().await.is_empty());
}

async fn paths_outside_the_roots_are_refused_alike(ground: Ground) {
    let world = ground.start().await;
    let outside = world.ground.home.path("outside.gguf");
    fs::write(&outside, tiny(0)).unwrap();
    let up = world.ground.home.model("../outside.gguf");
    for path in [
        outside.as_path(),
        Path::new("/no/such/file"),
        Path::new("/etc/passwd"),
        &up,
    ] {
        let status = make(&world, create("m", path)).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::PermissionDenied, "PATH_NOT_ALLOWED"),
            "{}",
            path.display()
        );
    }
    let none = world.ground.home.model("none.gguf");
    let status = make(&world, create("m", &none)).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "PATH_NOT_FOUND"));
    let status = make(&world, create("m", Path::new("relative.gguf"))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// An architecture that llama.cpp does not know: Ollama finds that out by itself, and tells its own paths.
async fn no_answer_has_a_path_of_the_server(ground: Ground) {
    let world = ground.start().await;
    let bytes = Builder::new("martian")
        .tensor("a", &[32], TensorKind::F32, &[1; 128])
        .finish();
    // The embedded engine and the double store it: neither runs it.
    if let Err(status) = world.create("m", &bytes).await {
        let told = format!("{status:?}");
        assert_ne!(status.code(), Code::Unknown, "{told}");
        for folder in ["/blobs", "/lib/ollama", "/tmp", "/home"] {
            assert!(!told.contains(folder), "{told}");
        }
        assert!(world.list().await.is_empty());
    } else {
        assert_ne!(world.ground.kind, Kind::Ollama, "it cannot be checked by llama.cpp");
    }
}
