//! The repository's model is a real one: a real llama.cpp loads it, whole and split, and answers. So does what the service
//! makes of its parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/soon.rs"]
mod soon;
#[path = "api/support.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
mod support;

use std::{fs, path::Path, sync::Arc};

use serde_json::{Value, json};

use self::support::{Embedded, Service, create, created};

/// Eight greedy tokens of the model at `path`; `None` without the program.
fn complete(path: &Path) -> Option<Value> {
    let server = llama::Server::start(path)?;
    assert_eq!(server.get("/health").unwrap()["status"], "ok");
    let request = json!({
        "prompt": "hello world", "n_predict": 8, "temperature": 0, "ignore_eos": true, "return_tokens": true,
    });
    let answer = server.post("/completion", &request).expect("a completion");
    assert_eq!(answer["tokens_predicted"], 8, "{answer}");
    let tokens = answer["tokens"].clone();
    assert_eq!(tokens.as_array().map(Vec::len), Some(8), "{answer}");
    Some(tokens)
}

#[test]
fn the_model_answers() {
    complete(&llama::tiny());
}

#[test]
fn its_parts_answer_as_the_whole_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(parts) = llama::split(folder.path()) else {
        return;
    };
    let names: Vec<_> = parts.iter().filter_map(|part| part.file_name()?.to_str()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(names[0], "tiny-00001-of-00006.gguf");
    assert_eq!(complete(&parts[0]), complete(&llama::tiny()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_makes_of_its_parts_answers_as_the_whole_does() {
    let folder = tempfile::tempdir().unwrap();
    let parts_dir = folder.path().join("parts");
    fs::create_dir(&parts_dir).unwrap();
    let Some(parts) = llama::split(&parts_dir) else {
        return;
    };
    let store = folder.path().join("store");
    let engine = Arc::new(Embedded::open(store.clone()).unwrap());
    let service = Service::start(engine, Some(&parts_dir)).await;
    let made = created(&mut service.client().await, create("tiny", &parts[0]))
        .await
        .unwrap();
    service.stop().await;

    let provenance = made.provenance.unwrap();
    let sources: Vec<_> = provenance
        .sources
        .iter()
        .map(|source| source.file_name.as_str())
        .collect();
    let names: Vec<_> = parts.iter().filter_map(|part| part.file_name()?.to_str()).collect();
    assert_eq!(sources, names);
    let blob = store.join("blobs").join(provenance.stored_digest.replace(':', "-"));
    let (stored, whole) = tokio::task::spawn_blocking(move || (complete(&blob), complete(&llama::tiny())))
        .await
        .unwrap();
    assert_eq!(stored, whole);
}
