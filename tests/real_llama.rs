//! The repository's model is a real one: a real llama.cpp loads it, whole and split, and answers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/llama.rs"]
mod llama;

use std::path::Path;

use serde_json::{Value, json};

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
