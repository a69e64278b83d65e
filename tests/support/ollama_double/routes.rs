//! What the double answers by itself, in the words of the recordings.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{Response, request::Parts},
};
use futures::StreamExt as _;
use model_control::model::{Digest, ModelName};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::{
    Answer, Layer, Mode, Remote, Route, Shared, Step,
    script::{self, Guard},
};

/// Bytes of a request that is no blob.
const MAX_REQUEST: usize = 16 << 20;
const MANIFEST: &str = "application/vnd.docker.container.image.v1+json";

/// Counts a pull while it lasts.
struct Pulling(Arc<Shared>);

pub(super) async fn answer(shared: Arc<Shared>, cut: Arc<Notify>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let route = Route::of(&head.method, head.uri.path());
    let (mode, scripted) = {
        let mut state = shared.lock();
        *state.asked.entry(route).or_default() += 1;
        state.heads.insert(route, head.headers.clone());
        let scripted = state
            .scripts
            .get_mut(&route)
            .and_then(std::collections::VecDeque::pop_front);
        (state.mode, scripted)
    };
    match mode {
        Mode::Busy => {
            return script::json(
                503,
                error("server busy, please try again.  maximum pending requests exceeded"),
            );
        }
        Mode::Html => return html(),
        // On a connection that was open before.
        Mode::Deaf => std::future::pending().await,
        Mode::Ollama => {}
    }
    let guard = (route == Route::Pull).then(|| Pulling::begin(&shared));
    let mut scripted = scripted.unwrap_or(Answer::Usual);
    while let Answer::Late(gate, then) = scripted {
        gate.opened().await;
        scripted = *then;
    }
    match scripted {
        Answer::Usual | Answer::Late(..) => usual(&shared, route, &head, body, guard).await,
        Answer::Unanswered => {
            usual(&shared, route, &head, body, guard).await;
            cut.notify_one();
            std::future::pending().await
        }
        Answer::Recorded(name) => script::replay(&shared, name, guard),
        Answer::Json(status, body) => script::json(status, body),
        Answer::Html => html(),
        Answer::Stream(steps) => script::stream(&shared, steps, guard),
    }
}

async fn usual(shared: &Arc<Shared>, route: Route, head: &Parts, body: Body, guard: Option<Guard>) -> Response<Body> {
    match route {
        Route::Root => script::respond(200, "text/plain; charset=utf-8", "Ollama is running".into()),
        Route::Version => script::replay(shared, "version-get", None),
        Route::Tags => script::json(200, shared.lock().tags().to_string()),
        // It loads nothing.
        Route::Processes => script::json(200, r#"{"models":[]}"#.to_owned()),
        Route::HeadBlob => head_blob(shared, blob_name(head)),
        Route::PostBlob => post_blob(shared, blob_name(head), body).await,
        Route::Pull | Route::Create | Route::Show | Route::Delete | Route::Copy => {
            let body = axum::body::to_bytes(body, MAX_REQUEST).await.unwrap_or_default();
            let Ok(request) = serde_json::from_slice::<Value>(&body) else {
                return script::json(400, error("missing request body"));
            };
            shared.lock().bodies.push((route, request.clone()));
            let field = if route == Route::Copy { "source" } else { "model" };
            let named = request[field].as_str().and_then(|name| name.parse().ok());
            let Some(name) = named else {
                return script::json(400, error("invalid model name"));
            };
            if request["stream"] == false {
                return unscripted(shared, head);
            }
            match route {
                Route::Pull => pull(shared, &name, guard),
                Route::Create => create(shared, name, &request),
                Route::Delete => delete(shared, &name),
                Route::Copy => copy(shared, &name, &request),
                _ => show(shared, &name),
            }
        }
        Route::Other => unscripted(shared, head),
    }
}

fn unscripted(shared: &Shared, head: &Parts) -> Response<Body> {
    shared.lock().unscripted.push(format!("{} {}", head.method, head.uri));
    script::json(501, error("nobody scripted this"))
}

fn error(text: &str) -> String {
    json!({ "error": text }).to_string()
}

fn html() -> Response<Body> {
    let page = "<!DOCTYPE html><html><body><h1>It works!</h1></body></html>";
    script::respond(200, "text/html; charset=utf-8", page.into())
}

fn blob_name(head: &Parts) -> &str {
    head.uri.path().trim_start_matches("/api/blobs/")
}

fn head_blob(shared: &Shared, name: &str) -> Response<Body> {
    let status = match name.parse::<Digest>() {
        Err(_) => 400,
        Ok(digest) if shared.lock().blobs.contains_key(&digest.to_string()) => 200,
        Ok(_) => 404,
    };
    script::respond(status, "application/json; charset=utf-8", Body::empty())
}

/// One that is there is answered without a look at the body: a large one finds the connection closed.
async fn post_blob(shared: &Shared, name: &str, body: Body) -> Response<Body> {
    let Ok(digest) = name.parse::<Digest>() else {
        return script::json(400, error("invalid digest format"));
    };
    if shared.lock().blobs.contains_key(&digest.to_string()) {
        return script::respond(200, "text/plain; charset=utf-8", Body::empty());
    }
    let (mut hash, mut size, mut chunks) = (Sha256::new(), 0, body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = match chunk {
            Ok(chunk) => chunk,
            Err(_) => return script::json(500, error("unexpected EOF")),
        };
        hash.update(&chunk);
        size += chunk.len() as u64;
    }
    let mut came = "sha256:".to_owned();
    for byte in hash.finalize() {
        write!(came, "{byte:02x}").unwrap();
    }
    shared.lock().blobs.insert(came.clone(), size);
    if came != digest.to_string() {
        return script::json(
            400,
            error(&format!("digest mismatch, expected \"{digest}\", got \"{came}\"")),
        );
    }
    script::respond(201, "text/plain; charset=utf-8", Body::empty())
}

fn line(status: &str) -> Step {
    Step::Line(json!({ "status": status }).to_string())
}

/// What is 0 is left out.
fn pulling(layer: &Layer, completed: u64) -> Step {
    let digest = layer.digest.to_string();
    let mut line = json!({"status": format!("pulling {}", &layer.digest.hex()[..12]), "digest": digest});
    for (field, bytes) in [("total", layer.size), ("completed", completed)] {
        if bytes > 0 {
            line[field] = bytes.into();
        }
    }
    Step::Line(line.to_string())
}

fn pull(shared: &Arc<Shared>, name: &ModelName, guard: Option<Guard>) -> Response<Body> {
    let remote = shared.lock().remote.iter().find(|(other, _)| other == name).cloned();
    let mut steps = vec![line("pulling manifest")];
    let Some((name, Remote { layers, half_way })) = remote else {
        steps.push(Step::Line(error("pull model manifest: file does not exist")));
        return script::stream(shared, steps, guard);
    };
    for layer in &layers {
        if shared.lock().blobs.contains_key(&layer.digest.to_string()) {
            steps.push(pulling(layer, layer.size));
            continue;
        }
        steps.push(pulling(layer, 0));
        steps.push(pulling(layer, layer.size / 2));
        if let Some(gate) = half_way.clone() {
            steps.push(Step::Wait(gate));
        }
        // As recorded: its last line does not say that it is whole.
        steps.push(pulling(layer, layer.size - layer.size / 10));
    }
    steps.extend([line("verifying sha256 digest"), line("writing manifest")]);
    steps.push(Step::Then(Box::new(move |state| state.write(&name, layers))));
    steps.push(line("success"));
    script::stream(shared, steps, guard)
}

fn create(shared: &Arc<Shared>, name: ModelName, request: &Value) -> Response<Body> {
    let digests = |field: &str| -> Vec<String> {
        let files = request[field].as_object().into_iter().flatten();
        files
            .filter_map(|(_, digest)| digest.as_str().map(str::to_owned))
            .collect()
    };
    let (files, adapters) = (digests("files"), digests("adapters"));
    if files.is_empty() {
        return script::json(400, error("neither 'from' or 'files' was specified"));
    }
    let mut steps = Vec::new();
    for digest in files.iter().chain(&adapters) {
        steps.push(line("parsing GGUF"));
        if !shared.lock().blobs.contains_key(digest) {
            let path = format!("/models-dir/blobs/{}", digest.replace(':', "-"));
            steps.push(Step::Line(error(&format!("open {path}: no such file or directory"))));
            return script::stream(shared, steps, None);
        }
    }
    steps.push(line("verifying conversion"));
    let size = |digests: &[String]| -> u64 { digests.iter().map(|digest| shared.lock().blobs[digest]).sum() };
    // The real one writes the file anew: what is stored has another digest than what was sent.
    let stored = Digest::of(files.concat().as_bytes());
    let mut layers = vec![Layer::file("model", stored, size(&files))];
    for digest in adapters {
        let size = size(std::slice::from_ref(&digest));
        layers.push(Layer::file("adapter", digest.parse().unwrap(), size));
    }
    layers.extend(texts(request));
    layers.push(Layer::text(MANIFEST, "{}"));
    for layer in &layers {
        let kept = shared.lock().blobs.contains_key(&layer.digest.to_string());
        let word = if kept { "using existing" } else { "creating new" };
        steps.push(line(&format!("{word} layer {}", layer.digest)));
    }
    steps.push(line("writing manifest"));
    steps.push(Step::Then(Box::new(move |state| state.write(&name, layers))));
    steps.push(line("success"));
    script::stream(shared, steps, None)
}

/// The layers that hold texts, as the real one writes them.
fn texts(request: &Value) -> Vec<Layer> {
    let mut layers = Vec::new();
    for field in ["template", "system"] {
        if let Some(text) = request[field].as_str().filter(|text| !text.is_empty()) {
            layers.push(Layer::text(field, text));
        }
    }
    match &request["license"] {
        Value::String(text) => layers.push(Layer::text("license", text)),
        Value::Array(all) => layers.extend(
            all.iter()
                .filter_map(Value::as_str)
                .map(|text| Layer::text("license", text)),
        ),
        _ => {}
    }
    for (field, kind) in [("parameters", "params"), ("messages", "messages")] {
        let value = &request[field];
        let empty =
            value.as_object().is_none_or(serde_json::Map::is_empty) && value.as_array().is_none_or(Vec::is_empty);
        if !empty {
            layers.push(Layer::text(kind, &value.to_string()));
        }
    }
    layers
}

/// Blobs stay, which nobody here counts.
fn delete(shared: &Shared, name: &ModelName) -> Response<Body> {
    let mut state = shared.lock();
    if state.model(name).is_none() {
        return script::json(404, error(&format!("model '{name}' not found")));
    }
    state.models.retain(|model| model.name != *name);
    script::respond(200, "text/plain; charset=utf-8", Body::empty())
}

fn copy(shared: &Shared, source: &ModelName, request: &Value) -> Response<Body> {
    let mut state = shared.lock();
    let destination = request["destination"].as_str().and_then(|name| name.parse().ok());
    let (Some(model), Some(destination)) = (state.model(source).cloned(), destination) else {
        return script::json(404, error(&format!("model \"{source}\" not found")));
    };
    state.write(&destination, model.layers);
    script::respond(200, "text/plain; charset=utf-8", Body::empty())
}

fn show(shared: &Shared, name: &ModelName) -> Response<Body> {
    let state = shared.lock();
    let Some(model) = state.model(name) else {
        return script::json(404, error(&format!("model '{name}' not found")));
    };
    let mut shown = json!({
        "modified_at": "2026-11-23T07:31:28.730767319Z", "model_info": {}, "capabilities": ["completion"],
        "details": {"format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "115.58K"},
    });
    for layer in &model.layers {
        if let (Some(text), "template" | "system" | "license") = (&layer.text, layer.kind.as_str()) {
            shown[&layer.kind] = text.clone().into();
        }
    }
    script::json(200, shown.to_string())
}

// === impl Pulling ===

impl Pulling {
    fn begin(shared: &Arc<Shared>) -> Guard {
        let mut state = shared.lock();
        state.pulls += 1;
        state.most_pulls = state.most_pulls.max(state.pulls);
        drop(state);
        Box::new(Self(Arc::clone(shared)))
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.0.lock().pulls -= 1;
    }
}
