//! One store, two writers: what the embedded engine writes a real Ollama lists, shows and runs, and what a real Ollama
//! writes the embedded engine lists and extends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/missing.rs"]
mod missing;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "support/service.rs"]
mod service;
#[path = "support/soon.rs"]
mod soon;
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
#[path = "api/support.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use model_control::{
    gguf::{TensorKind, build::Builder},
    model::Digest,
};
use prost_types::{ListValue, Struct, Value as Proto, value::Kind};
use serde_json::{Value, json};
use service::Home;
use support::{Channel, ModelControlClient, Path, create, created, soon, v1};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
const TEMPLATE: &str = "{{ .System }}|{{ .Prompt }}";

type Client = ModelControlClient<Channel>;

/// The repository's own model, with another last weight for each seed.
fn tiny(seed: u8) -> Vec<u8> {
    let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf")).unwrap();
    *bytes.last_mut().unwrap() ^= seed;
    bytes
}

/// A LoRA adapter that fits it and changes nothing.
fn adapter() -> Vec<u8> {
    Builder::new("llama")
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .tensor("blk.0.attn_q.weight.lora_a", &[64, 2], TensorKind::F32, &[0; 512])
        .tensor("blk.0.attn_q.weight.lora_b", &[2, 64], TensorKind::F32, &[0; 512])
        .finish()
}

fn options(home: &Home) -> v1::ImportOptions {
    let value = |kind| Proto { kind: Some(kind) };
    let stops = ["a", "b"].map(|stop| value(Kind::StringValue(stop.into())));
    let parameters = BTreeMap::from([
        ("num_ctx".to_owned(), value(Kind::NumberValue(128.0))),
        (
            "stop".to_owned(),
            value(Kind::ListValue(ListValue { values: stops.into() })),
        ),
    ]);
    fs::write(home.model("lora.gguf"), adapter()).unwrap();
    v1::ImportOptions {
        adapter_paths: vec![home.model("lora.gguf").display().to_string()],
        template: Some(TEMPLATE.into()),
        system: Some("Be brief.".into()),
        license: vec!["Free.".into()],
        parameters: Some(Struct { fields: parameters }),
        ..Default::default()
    }
}

async fn make(client: &Client, home: &Home, model: &str, seed: u8, options: v1::ImportOptions) -> v1::Model {
    let path = home.model(&format!("{model}.gguf"));
    fs::write(&path, tiny(seed)).unwrap();
    let request = v1::CreateFromPathRequest {
        import_options: Some(options),
        ..create(model, &path)
    };
    let result = created(&mut client.clone(), request).await.unwrap();
    assert!(result.changed);
    result.model.unwrap()
}

async fn listed(client: &Client) -> Vec<v1::Model> {
    let listed = soon(client.clone().list(v1::ListRequest::default())).await;
    listed.unwrap().into_inner().models
}

/// Digests by name, as Ollama tells them.
fn tags(server: &ollama::Server) -> BTreeMap<String, String> {
    let tags = server.get("/api/tags").unwrap();
    let models = tags["models"].as_array().unwrap();
    let model = |model: &Value| {
        let text = |field: &str| model[field].as_str().unwrap().to_owned();
        (text("name"), format!("sha256:{}", text("digest")))
    };
    models.iter().map(model).collect()
}

/// It runs: one token of it.
fn answers(server: &ollama::Server, model: &str) {
    let request = json!({
        "model": model, "prompt": "hello", "stream": false, "options": {"num_predict": 1, "temperature": 0, "stop": []},
    });
    let (status, told) = server.ask("POST", "/api/generate", &request.to_string()).unwrap();
    assert_eq!(status, 200, "{model}: {told}");
    let answer: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&answer["done"], &answer["eval_count"]),
        (&json!(true), &json!(1)),
        "{told}"
    );
}

/// Template, system, parameters, licence and adapter, as they were given.
fn shows_all(server: &ollama::Server, model: &str) {
    let shown = server.post("/api/show", &json!({ "model": model })).unwrap();
    let text = |field: &str| shown[field].as_str().unwrap_or_else(|| panic!("{field}: {shown}"));
    // Where the file has a template of its own, that one is told as `template`.
    assert!(text("modelfile").contains(&format!("TEMPLATE {TEMPLATE}\n")), "{shown}");
    assert_eq!(text("system"), "Be brief.");
    assert_eq!(text("license"), "Free.");
    let mut lines: Vec<_> = text("parameters")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    assert_eq!(lines, ["num_ctx 128", "stop \"a\"", "stop \"b\""]);
    let adapters = text("modelfile").lines().filter(|line| line.starts_with("ADAPTER "));
    assert_eq!(adapters.count(), 1, "{shown}");
    assert_eq!(shown["details"]["family"], "llama");
}

/// A file in the store of a running Ollama: its digest.
fn upload(address: SocketAddr, bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/blobs/{digest} HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(&[head.as_bytes(), bytes].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 201"), "{answer}");
    digest
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_write_a_real_ollama_runs() {
    let Some(_) = ollama::program() else { return };
    let home = Home::new();
    let service = home.start(Path::new(PROGRAM));
    let client = Client::new(service.channel().await);
    let plain = make(&client, &home, "plain", 0, v1::ImportOptions::default()).await;
    let full = make(&client, &home, "full", 1, options(&home)).await;

    let mut server = ollama::Server::on(&home.store("")).unwrap();
    let ours = |model: v1::Model| (model.name, model.digest);
    assert_eq!(tags(&server), BTreeMap::from([ours(plain), ours(full)]));
    shows_all(&server, "full");
    answers(&server, "plain");
    answers(&server, "full");

    // What comes while it runs, it has at once.
    let late = make(&client, &home, "late", 2, v1::ImportOptions::default()).await;
    assert_eq!(tags(&server)["late:latest"], late.digest);
    answers(&server, "late");
    // What it sweeps at its start, no model of ours needs.
    server.terminate();
    server.restart();
    assert_eq!(tags(&server).len(), 3);
    answers(&server, "full");
    assert!(!server.crashed(), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_ollama_writes_we_list_and_extend() {
    let Some(_) = ollama::program() else { return };
    let home = Home::new();
    let mut server = ollama::Server::on(&home.store("")).unwrap();
    let (model, adapter) = (upload(server.address(), &tiny(0)), upload(server.address(), &adapter()));
    for (name, more) in [
        ("plain", json!({})),
        (
            "full",
            json!({
                "adapters": {"lora.gguf": adapter}, "template": TEMPLATE, "system": "Be brief.", "license": "Free.",
                "parameters": {"num_ctx": 128, "stop": ["a", "b"]},
            }),
        ),
    ] {
        let mut request = json!({"model": name, "files": {"tiny.gguf": model}, "stream": false});
        let more = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(more);
        let (status, told) = server.ask("POST", "/api/create", &request.to_string()).unwrap();
        assert_eq!((status, told.trim()), (200, "{\"status\":\"success\"}"));
    }
    shows_all(&server, "full");

    let service = home.start(Path::new(PROGRAM));
    let client = Client::new(service.channel().await);
    let theirs = tags(&server);
    let mut ours = BTreeMap::new();
    for model in listed(&client).await {
        assert_eq!(
            (model.family.as_str(), model.format.as_str()),
            ("llama", "gguf"),
            "{model:?}"
        );
        assert_eq!(model.context_length, Some(512));
        ours.insert(model.name, model.digest);
    }
    assert_eq!(ours, theirs);

    let added = make(&client, &home, "added", 3, options(&home)).await;
    assert_eq!(tags(&server)["added:latest"], added.digest);
    shows_all(&server, "added");
    for model in ["plain", "full", "added"] {
        answers(&server, model);
    }
    // A start of ours sweeps nothing of theirs.
    drop((client, service));
    let service = home.start(Path::new(PROGRAM));
    assert_eq!(listed(&Client::new(service.channel().await)).await.len(), 3);
    answers(&server, "full");
    assert!(!server.crashed(), "{}", server.log());
}
