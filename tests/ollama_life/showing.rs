//! What is shown is what was given, and nothing of Ollama's machine.

use model_control::{
    backend::{Backend as _, Kind},
    model::{ChatMessage, ImportOptions},
};
use serde_json::{Value, json};

use super::{
    models::tiny,
    world::{World, copy, load, name, soon},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_is_shown() {
    let Some(world) = World::start() else { return };
    let parameters = json!({"temperature": 0.5, "stop": ["a\"b\n", "é"], "num_ctx": 256, "use_mmap": false});
    let Value::Object(parameters) = parameters else {
        panic!()
    };
    let message = |role: &str, content: &str| ChatMessage {
        role: role.to_owned(),
        content: content.to_owned(),
    };
    let options = ImportOptions {
        system: Some("Be \"terse\".\nAlways.".to_owned()),
        template: Some("{{ .Prompt }} said".to_owned()),
        license: vec!["Do as you like.".to_owned(), "Really.".to_owned()],
        parameters: parameters.clone(),
        messages: vec![message("user", "hi"), message("assistant", "yo\nyo")],
        ..ImportOptions::default()
    };
    let done = world.create("tiny", &tiny(), options.clone()).await;

    let short = soon(world.port.show(&name("TINY"), false)).await.unwrap().unwrap();
    assert_eq!(short.system, options.system.unwrap());
    assert_eq!(short.license, ["Do as you like.\nReally."]);
    assert_eq!(short.messages, options.messages);
    assert_eq!(short.parameters, parameters);
    assert_eq!(short.provenance, done.provenance);
    assert_eq!(short.metadata["general.architecture"], "llama");
    assert_eq!(short.metadata["tokenizer.ggml.tokens"], json!({"type": "array"}));
    assert!(short.tensors.is_empty());
    // The file has a template of its own, and Ollama uses that.
    assert!(short.template.contains("tool_call"), "{}", short.template);

    let all = soon(world.port.show(&name("tiny"), true)).await.unwrap().unwrap();
    assert_eq!(all.metadata["tokenizer.ggml.tokens"].as_array().unwrap().len(), 320);
    let embedding = all
        .tensors
        .iter()
        .find(|tensor| tensor.name == "token_embd.weight")
        .unwrap();
    assert_eq!(
        (embedding.kind.as_str(), &embedding.shape[..]),
        ("Q8_0", &[64, 320][..])
    );
    for details in [short, all] {
        let told = serde_json::to_string(&details).unwrap();
        let folder = world.server.models().display().to_string();
        assert!(!told.contains(&folder) && !told.contains("blobs"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_broken_is_told() {
    let Some(world) = World::start() else { return };
    assert_eq!(soon(world.port.show(&name("none"), false)).await.unwrap(), None);
    world.create("tiny", &tiny(), ImportOptions::default()).await;

    // The tag says where it runs, and Ollama would tell of another model.
    assert_eq!(soon(world.port.show(&name("tiny:local"), false)).await.unwrap(), None);
    let ask = json!({"source": "tiny", "destination": "tiny:local"}).to_string();
    assert_eq!(world.server.ask("POST", "/api/copy", &ask).unwrap().0, 200);
    assert!(world.load(load("tiny")).await.unwrap().changed);
    for failed in [
        soon(world.port.show(&name("tiny:local"), false)).await.map(drop),
        soon(world.port.delete(&name("tiny:local"))).await.map(drop),
        world.unload("tiny:local").await.map(drop),
        soon(world.port.copy(&copy("tiny", "other:local"))).await,
    ] {
        assert_eq!(failed.unwrap_err().kind, Kind::NameInvalid);
    }
    assert_eq!(world.loaded(), ["tiny:latest"]);
    assert!(world.digest("tiny").await.is_some());

    // A model of somebody else's, whose file is no model's; then one without its file.
    let blobs = std::fs::read_dir(world.server.models().join("blobs")).unwrap();
    let largest = blobs
        .map(|blob| blob.unwrap())
        .max_by_key(|blob| blob.metadata().unwrap().len());
    let largest = largest.unwrap().path();
    std::fs::write(&largest, b"no model").unwrap();
    let error = soon(world.port.show(&name("tiny"), false)).await.unwrap_err();
    assert_eq!(error.kind, Kind::FileInvalid, "{error}");
    std::fs::remove_file(&largest).unwrap();
    let error = soon(world.port.show(&name("tiny"), false)).await.unwrap_err();
    assert_eq!(error.kind, Kind::FileInvalid, "{error}");
}
