//! Models are shown, copied and removed; what others need stays.

use std::{fs, sync::Arc};

use model_control::{
    backend::{Backend as _, CopySpec, Kind},
    model::{ChatMessage, ImportOptions, ModelName},
};
use serde_json::json;

use crate::support::{Scene, adapter, model};

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

fn copy(source: &str, destination: &str, replace: bool) -> CopySpec {
    CopySpec {
        source: name(source),
        destination: name(destination),
        replace,
    }
}

#[tokio::test]
async fn a_model_is_removed_with_what_no_other_needs() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    scene.made("b", &model(2)).await;
    scene.engine.copy(&copy("a", "shared:v1", false)).await.unwrap();
    let blobs = scene.blobs();
    assert_eq!(scene.engine.delete(&name("A")).await.unwrap(), 0, "all of it is shared");
    assert_eq!(scene.blobs(), blobs);
    let size = scene.inspect("shared:v1").await.unwrap().size_bytes;
    assert_eq!(scene.engine.delete(&name("shared:v1")).await.unwrap(), size);
    assert_eq!(scene.names().await, ["b:latest"]);
    assert_eq!(scene.blobs(), 2, "model and configuration of the other");
    assert!(!scene.path("manifests/registry.ollama.ai/library/a").exists());
    assert!(scene.path("manifests/registry.ollama.ai/library/b").exists());
    let error = scene.engine.delete(&name("a")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    scene.assert_clean();
}

#[tokio::test]
async fn what_is_not_whole_can_be_removed_too() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    fs::write(scene.manifest("a:latest"), b"{").unwrap();
    assert_eq!(scene.engine.delete(&name("a")).await.unwrap(), 0);
    scene.made("c", &model(3)).await;
    fs::remove_file(scene.blob(&scene.weights("c:latest"))).unwrap();
    assert!(scene.inspect("c").await.is_none());
    assert!(scene.engine.delete(&name("c")).await.unwrap() > 0, "the configuration");
    assert!(!scene.manifest("c:latest").exists());
    fs::create_dir_all(scene.manifest("d:latest")).unwrap();
    let error = scene.engine.delete(&name("d")).await.unwrap_err();
    assert_eq!(error.kind, Kind::StoreUnusable, "{error}");
    assert!(
        !error.message.contains(scene.folder.path().to_str().unwrap()),
        "{error}"
    );
}

#[tokio::test]
async fn a_copy_is_the_same_model_under_another_name() {
    let scene = Scene::new();
    let a = scene.made("a", &model(1)).await;
    let b = scene.made("b", &model(2)).await;
    let error = scene.engine.copy(&copy("a", "B", false)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Exists, "{error}");
    assert_eq!(scene.inspect("b").await.unwrap().digest, b.digest);
    scene.engine.copy(&copy("a", "B", true)).await.unwrap();
    assert_eq!(scene.inspect("b").await.unwrap().digest, a.digest);
    assert_eq!(scene.blobs(), 2, "what nobody needs any more is gone");
    let error = scene.engine.copy(&copy("nobody", "c", false)).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
}

#[tokio::test]
async fn readers_of_a_name_that_is_cut_over_never_see_none() {
    let scene = Arc::new(Scene::new());
    scene.made("one", &model(1)).await;
    scene.made("two", &model(2)).await;
    scene.engine.copy(&copy("one", "live", false)).await.unwrap();
    let reader = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move {
            for _ in 0..200 {
                assert!(scene.inspect("live").await.is_some());
                tokio::task::yield_now().await;
            }
        })
    };
    for turn in 0..100 {
        let source = if turn % 2 == 0 { "two" } else { "one" };
        scene.engine.copy(&copy(source, "live", true)).await.unwrap();
    }
    reader.await.unwrap();
    assert_eq!(scene.names().await, ["live:latest", "one:latest", "two:latest"]);
}

#[tokio::test]
async fn a_model_is_shown_with_its_texts_and_header() {
    let scene = Scene::new();
    let mut spec = scene.spec("a", &model(1));
    spec.adapters = vec![scene.source("lora.gguf", &adapter("llama"))];
    spec.options = ImportOptions {
        template: Some("{{ .Prompt }}".to_owned()),
        system: Some("Be brief.".to_owned()),
        license: vec!["one".to_owned(), "two".to_owned()],
        parameters: serde_json::from_value(json!({"temperature": 0.5, "stop": ["a", "b"]})).unwrap(),
        messages: vec![ChatMessage {
            role: "user".to_owned(),
            content: "<hello>".to_owned(),
        }],
        ..ImportOptions::default()
    };
    scene.create(spec).await.unwrap();
    let details = scene.engine.show(&name("A"), false).await.unwrap().unwrap();
    assert_eq!(
        (details.template.as_str(), details.system.as_str()),
        ("{{ .Prompt }}", "Be brief.")
    );
    assert_eq!(details.license, ["one", "two"]);
    assert_eq!(details.parameters["stop"], json!(["a", "b"]));
    assert_eq!(details.messages[0].content, "<hello>");
    assert_eq!(details.metadata["general.architecture"], "llama");
    assert_eq!(details.metadata["llama.context_length"], 512);
    assert!(details.tensors.is_empty() && details.omitted.is_empty());
    let all = scene.engine.show(&name("a"), true).await.unwrap().unwrap();
    assert_eq!(
        (all.tensors[0].name.as_str(), all.tensors[0].kind.as_str()),
        ("a", "F16")
    );
    assert_eq!(all.tensors[0].shape, [64, 16]);
    assert!(scene.engine.show(&name("b"), false).await.unwrap().is_none());
}
