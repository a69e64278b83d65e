//! What is handed over can be used: an ordinary client of the OpenAI API gets tokens where the service says that they are, and
//! the service carries none of them.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    case::cases,
    life::{load, model},
    models, openai,
    support::v1,
    world::{Ground, Kind, World, tiny},
};

cases![inference =>
    a_chat_a_generation_and_an_embedding [Load, OpenAi],
    a_tool_call [Load, OpenAi],
    only_who_shows_the_key_is_answered [Load, OpenAi, Child],
];

/// Ollama knows no keys; a client of the API always sends one.
const ANY: &str = "any";

/// A model whose weights say one tool call, whatever is asked.
fn caller() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/caller.gguf")).unwrap()
}

async fn loaded(world: &World, name: &str, bytes: &[u8]) -> v1::RunningModel {
    world.create(name, bytes).await.unwrap();
    let told = load(world, model(name)).await.unwrap().running.unwrap();
    let protocols: Vec<_> = told.protocols().collect();
    assert!(protocols.contains(&v1::InferenceProtocol::Openai), "{protocols:?}");
    let ollama = protocols.contains(&v1::InferenceProtocol::Ollama);
    assert_eq!(ollama, world.ground.kind == Kind::Ollama, "{protocols:?}");
    told
}

async fn uses(world: &World, running: &v1::RunningModel, key: &str, uses: &[&str]) -> Value {
    let python = world.ground.python().unwrap();
    openai::uses(python, &running.endpoint, key, &running.name, uses).await
}

/// Three of this length, of which the first and the last are of the same text.
fn assert_embeddings(told: &Value, length: usize) {
    let told: Vec<Vec<f64>> = serde_json::from_value(told.clone()).unwrap();
    assert!(told.iter().all(|one| one.len() == length), "{told:?}");
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
    assert!(distance(&told[0], &told[2]) < 1e-3, "{told:?}");
    assert!(distance(&told[0], &told[1]) > 1e-2, "{told:?}");
}

async fn a_chat_a_generation_and_an_embedding(ground: Ground) {
    let world = ground.start().await;
    let running = loaded(&world, "m", &tiny(0)).await;
    let told = uses(&world, &running, ANY, &["chat", "generate", "models"]).await;
    let chat = &told["chat"];
    assert!(chat["pieces"].as_u64() > Some(1), "it comes in pieces: {told}");
    assert_eq!(chat["finish_reason"], "length", "{told}");
    assert!(!chat["text"].as_str().unwrap().is_empty(), "{told}");
    assert_eq!(told["generate"]["tokens"], 8, "{told}");
    assert!(!told["generate"]["text"].as_str().unwrap().is_empty(), "{told}");
    let names = told["models"].as_array().unwrap();
    assert!(
        names.contains(&json!("m:latest")),
        "the endpoint knows it by the name that we tell: {told}"
    );
    if world.ground.kind == Kind::Embedded {
        assert_embeddings(&uses(&world, &running, ANY, &["embed"]).await["embed"], 64);
    }

    // Ollama embeds only with models that were made for it.
    let running = loaded(&world, "embeds", &models::embedder()).await;
    assert_embeddings(&uses(&world, &running, ANY, &["embed"]).await["embed"], 16);
}

async fn a_tool_call(ground: Ground) {
    let world = ground.start().await;
    let running = loaded(&world, "caller", &caller()).await;
    let told = uses(&world, &running, ANY, &["call"]).await;
    let wanted = json!({
        "finish_reason": "tool_calls", "content": "", "calls": [["weather", { "city": "Paris" }]],
    });
    assert_eq!(told["call"], wanted);
}

async fn only_who_shows_the_key_is_answered(mut ground: Ground) {
    let keys = ground.home.path("keys");
    fs::write(&keys, "# callers\nthe-key\n").unwrap();
    ground.flags.push(format!("--engine-key-file={}", keys.display()));
    let world = ground.start().await;
    let running = loaded(&world, "m", &tiny(0)).await;
    let told = uses(&world, &running, "the-key", &["chat", "generate", "embed"]).await;
    assert_eq!(told["generate"]["tokens"], 8, "{told}");
    assert_eq!(
        uses(&world, &running, "another", &["chat"]).await,
        json!({ "refused": 401 })
    );
}
