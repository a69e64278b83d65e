//! What a real Ollama was recorded to say, for tests.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use http::StatusCode;
use serde_json::Value;

/// A status and its body.
pub(super) fn answer(name: &str) -> (StatusCode, String) {
    let response = &read(name)["response"];
    let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
    let body = response["body"].as_str().unwrap().to_owned();
    (StatusCode::from_u16(status).unwrap(), body)
}

/// The lines of a stream.
pub(super) fn lines(name: &str) -> Vec<String> {
    let recorded = read(name);
    let lines = recorded["response"]["stream"].as_array().unwrap();
    lines
        .iter()
        .map(|line| line["line"].as_str().unwrap().to_owned())
        .collect()
}

fn read(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ollama-0.34.0");
    serde_json::from_slice(&fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap()
}
