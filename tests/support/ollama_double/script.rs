//! Answers that a test writes down, or takes from the recordings.

use std::{collections::VecDeque, fs, io, path::Path, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{Response, header::CONTENT_TYPE},
};
use serde_json::Value;
use tokio::sync::watch;

use super::{Shared, State};

/// Bytes that one chunk of a line without an end has.
const CHUNK: usize = 64 << 10;

/// What a request is answered.
pub(crate) enum Answer {
    /// By the state that the double keeps.
    Usual,
    /// As it was recorded; a recorded cut is a cut.
    Recorded(&'static str),
    /// A whole body of JSON.
    Json(u16, String),
    /// A page, as another program on the port sends it.
    Html,
    /// A stream of lines, begun with 200.
    Stream(Vec<Step>),
    /// It does what it does by itself, and the connection is closed without a word.
    Unanswered,
    /// Nothing before the gate opens, then this.
    Late(Arc<Gate>, Box<Answer>),
}

/// One step of a streamed body.
pub(crate) enum Step {
    /// A line, with the newline that is added.
    Line(String),
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// A line, each byte in a chunk of its own.
    Drip(String),
    /// This line without a pause and without an end.
    Flood(String),
    /// So many bytes of one line that does not end.
    Long(u64),
    /// Nothing before the gate opens.
    Wait(Arc<Gate>),
    /// What the server does then.
    Then(Box<dyn FnOnce(&mut State) + Send>),
    /// The connection is closed in the middle of the body.
    Cut,
}

/// Closed until it is opened.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

/// What goes on while a body is sent, and ends with it.
pub(super) type Guard = Box<dyn Send>;

struct Script {
    steps: VecDeque<Step>,
    shared: Arc<Shared>,
    _guard: Option<Guard>,
}

/// One recorded exchange.
pub(crate) fn recorded(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ollama-0.34.0");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).expect(name);
    serde_json::from_str(&text).unwrap()
}

/// The lines of a recorded stream.
pub(crate) fn recorded_lines(name: &str) -> Vec<String> {
    let exchange = recorded(name);
    let lines = exchange["response"]["stream"].as_array().expect("a stream");
    let line = |line: &Value| line["line"].as_str().unwrap().to_owned();
    lines.iter().map(line).collect()
}

pub(super) fn respond(status: u16, kind: &str, body: Body) -> Response<Body> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
    response.body(body).unwrap()
}

pub(super) fn json(status: u16, body: String) -> Response<Body> {
    respond(status, "application/json; charset=utf-8", body.into())
}

/// A stream of lines as Ollama sends it.
pub(super) fn stream(shared: &Arc<Shared>, steps: Vec<Step>, guard: Option<Guard>) -> Response<Body> {
    let script = Script {
        steps: steps.into(),
        shared: Arc::clone(shared),
        _guard: guard,
    };
    let chunks = futures::stream::unfold(script, |mut script| async move {
        let chunk = script.next().await?;
        Some((chunk, script))
    });
    respond(200, "application/x-ndjson", Body::from_stream(chunks))
}

pub(super) fn replay(shared: &Arc<Shared>, name: &str, guard: Option<Guard>) -> Response<Body> {
    let exchange = recorded(name);
    let response = &exchange["response"];
    if response["stream"].is_null() {
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        let kind = response["content_type"].as_str().unwrap_or("text/plain; charset=utf-8");
        return respond(
            status,
            kind,
            response["body"].as_str().unwrap_or_default().to_owned().into(),
        );
    }
    let mut steps: Vec<_> = recorded_lines(name).into_iter().map(Step::Line).collect();
    if response["end"] == "eof_before_end" {
        steps.push(Step::Cut);
    }
    stream(shared, steps, guard)
}

// === impl Step ===

impl Step {
    /// Lines in their order.
    pub(crate) fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        lines.into_iter().map(|line| Self::Line(line.to_owned())).collect()
    }

    /// The lines of a recording.
    pub(crate) fn recorded(name: &str) -> Vec<Self> {
        recorded_lines(name).into_iter().map(Self::Line).collect()
    }
}

// === impl Script ===

impl Script {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            match self.steps.pop_front()? {
                Step::Line(line) => return Some(Ok((line + "\n").into())),
                Step::Bytes(bytes) => return Some(Ok(bytes.into())),
                Step::Drip(line) => {
                    let bytes = line.into_bytes().into_iter().chain([b'\n']);
                    for byte in bytes.rev() {
                        self.steps.push_front(Step::Bytes(vec![byte]));
                    }
                }
                Step::Flood(line) => {
                    let chunk = format!("{line}\n").into();
                    self.steps.push_front(Step::Flood(line));
                    return Some(Ok(chunk));
                }
                Step::Long(0) => {}
                Step::Long(bytes) => {
                    let chunk = usize::try_from(bytes).unwrap_or(CHUNK).min(CHUNK);
                    self.steps.push_front(Step::Long(bytes - chunk as u64));
                    return Some(Ok(vec![b'x'; chunk].into()));
                }
                Step::Wait(gate) => gate.opened().await,
                Step::Then(act) => act(&mut self.shared.lock()),
                Step::Cut => {
                    // What was sent before is flushed while the body has nothing.
                    tokio::task::yield_now().await;
                    return Some(Err(io::Error::other("cut")));
                }
            }
        }
    }
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        // Its sender is ours: it does not go away before.
        drop(self.0.subscribe().wait_for(|open| *open).await);
    }
}
