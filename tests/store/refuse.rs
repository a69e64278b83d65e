use model_control::{
    backend::{Backend as _, Kind, Next, PullSpec},
    gguf::{TensorKind, build::Builder},
    model::Capability,
    source::{Bundle, Source},
};

use crate::support::{Scene, adapter, builder, model};

async fn refused(scene: &Scene, spec: model_control::backend::CreateSpec, kind: Kind, words: &str) {
    let error = scene.create(spec).await.unwrap_err();
    assert_eq!(error.kind, kind, "{}", error.message);
    assert!(error.message.contains(words), "{}", error.message);
    let folder = scene.folder.path().to_str().unwrap();
    assert!(!error.message.contains(folder), "{}", error.message);
    assert_eq!(scene.blobs(), 0);
    scene.assert_clean();
}

#[tokio::test]
async fn files_that_are_no_model_are_refused_before_a_byte_is_stored() {
    let scene = Scene::new();
    let projector = Builder::new("clip")
        .text("general.type", "mmproj")
        .tensor("v", &[32], TensorKind::F32, &[0; 128]);
    let vocabulary = Builder::new("llama");
    let nameless = Builder::empty().tensor("v", &[32], TensorKind::F32, &[0; 128]);
    let truncated = model(1)[..1000].to_vec();
    let part = builder(1).split(&[1, 1]).remove(0);
    for (bytes, words) in [
        (b"hello, world".to_vec(), "not a GGUF file"),
        (Vec::new(), "model.gguf"),
        (truncated, "beyond the end"),
        (projector.finish(), "projector"),
        (vocabulary.finish(), "vocabulary without tensors"),
        (nameless.finish(), "no architecture"),
        (adapter("llama"), "an adapter"),
        (part, "part 1 of 2"),
        (builder(1).magic(*b"FUGG").finish(), "big-endian"),
        (builder(1).version(1).finish(), "version 1"),
        (builder(1).counts(1 << 63, 2).finish(), "tensors"),
    ] {
        refused(&scene, scene.spec("x", &bytes), Kind::FileInvalid, words).await;
    }
}

#[tokio::test]
async fn a_part_alone_names_the_others() {
    let scene = Scene::new();
    let part = builder(1).split(&[1, 1]).remove(1);
    let mut spec = scene.spec("x", &model(1));
    spec.source = scene.source("m-00002-of-00002.gguf", &part);
    refused(
        &scene,
        spec,
        Kind::FileInvalid,
        "`m-00001-of-00002.gguf` must lie beside it",
    )
    .await;
}

#[tokio::test]
async fn adapters_must_fit() {
    let scene = Scene::new();
    for (bytes, words) in [(adapter("qwen2"), "`qwen2`"), (model(1), "a whole model")] {
        let mut spec = scene.spec("x", &model(1));
        spec.adapters = vec![scene.source("adapter.gguf", &bytes)];
        refused(&scene, spec, Kind::FileInvalid, words).await;
    }
}

#[tokio::test]
async fn what_the_engine_cannot_do_says_what_can() {
    let scene = Scene::new();
    let mut spec = scene.spec("x", &model(1));
    spec.options.quantize = Some("Q4_K_M".to_owned());
    refused(&scene, spec, Kind::Cannot(Capability::Quantize), "llama-quantize").await;
    let mut spec = scene.spec("x", &model(1));
    spec.source = Source::Safetensors(Bundle {
        weights: vec![scene.file("model.safetensors", b"")],
        companions: Vec::new(),
    });
    refused(&scene, spec, Kind::Cannot(Capability::Convert), "GGUF").await;
    let mut spec = scene.spec("x", &model(1));
    spec.options.parameters = serde_json::from_str(r#"{"stop":{"a":1}}"#).unwrap();
    refused(&scene, spec, Kind::FileInvalid, "`stop`").await;
    let pull = PullSpec {
        name: "x".parse().unwrap(),
        digest: None,
        insecure: false,
    };
    let mut call = scene.engine.pull(pull).await.unwrap();
    let error = loop {
        if let Next::Ended(ended) = call.next().await {
            break ended.unwrap_err();
        }
    };
    assert_eq!(
        error.kind,
        Kind::RegistryNotAllowed,
        "a store that is opened plainly asks nobody"
    );
    assert!(error.message.contains("--allow-registry"), "{}", error.message);
    assert_eq!(scene.engine.endpoint(), "embedded");
    assert_eq!(scene.engine.probe().await.unwrap(), env!("CARGO_PKG_VERSION"));
}
