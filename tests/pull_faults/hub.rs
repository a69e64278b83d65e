//! A registry that is good until a test says otherwise.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use model_control::{
    gguf::{TensorKind, build::Builder},
    model::Digest,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::double::{Answer, Double, Seen};

pub(crate) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What the model's layer is.
pub(crate) const MODEL: &str = "application/vnd.ollama.image.model";

/// What a request gets; nothing for what a good registry gives.
type Script = Box<dyn FnMut(&Seen) -> Option<Answer> + Send>;

/// The registry.
pub(crate) struct Hub {
    pub(crate) double: Double,
    book: Arc<Mutex<Book>>,
}

/// What it holds.
#[derive(Default)]
struct Book {
    /// By the path after `/v2/`.
    manifests: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    script: Option<Script>,
}

/// Holds the rest of bodies back until it is opened.
pub(crate) struct Gate(watch::Sender<bool>);

/// A model of some `kilobytes`; `seed` makes its content another.
pub(crate) fn gguf(seed: u8, kilobytes: u64) -> Vec<u8> {
    let weights = vec![seed; usize::try_from(kilobytes << 10).unwrap()];
    Builder::new("llama")
        .unsigned("llama.context_length", 512)
        .tensor("a", &[kilobytes << 8], TensorKind::F32, &weights)
        .finish()
}

pub(crate) fn config() -> Vec<u8> {
    let config = json!({
        "model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "1K",
        "file_type": "F32", "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
    });
    serde_json::to_vec(&config).unwrap()
}

pub(crate) fn layer(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// A manifest with these layers and the usual configuration.
pub(crate) fn manifest(layers: &[Value]) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": layer("application/vnd.docker.container.image.v1+json", &config()),
        "layers": layers,
    })
}

/// The bytes that a Range header asks for: first, and behind the last.
pub(crate) fn asked(seen: &Seen) -> Option<(usize, usize)> {
    let range = seen.header("range")?.strip_prefix("bytes=")?;
    let (start, last) = range.split_once('-')?;
    Some((start.parse().unwrap(), last.parse::<usize>().unwrap() + 1))
}

/// What a good registry gives of a blob.
pub(crate) fn part(seen: &Seen, blob: &[u8]) -> Answer {
    let Some((start, end)) = asked(seen) else {
        return Answer::ok(blob);
    };
    Answer::new(206)
        .header("content-range", format!("bytes {start}-{}/{}", end - 1, blob.len()))
        .header("etag", "\"one\"")
        .body(&blob[start..end])
}

/// The first half of what a good registry gives, and the rest when the gate opens.
pub(crate) fn half(seen: &Seen, blob: &[u8], gate: &Gate) -> Answer {
    let (start, end) = asked(seen).unwrap_or((0, blob.len()));
    let middle = usize::midpoint(start, end);
    part(seen, blob)
        .header("content-length", (end - start).to_string())
        .body(&blob[start..middle])
        .then_after(gate.closed(), &blob[middle..end])
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(true)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(false);
    }

    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

// === impl Hub ===

impl Hub {
    pub(crate) async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let double = Double::start(Self::answers(&book)).await;
        Self { double, book }
    }

    pub(crate) async fn start_tls(tls: TlsAcceptor) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let double = Double::start_tls(tls, Self::answers(&book)).await;
        Self { double, book }
    }

    fn answers(book: &Arc<Mutex<Book>>) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
        let book = Arc::clone(book);
        move |seen| book.lock().unwrap().answer(seen)
    }

    /// What the next requests get.
    pub(crate) fn script(&self, script: impl FnMut(&Seen) -> Option<Answer> + Send + 'static) {
        self.book.lock().unwrap().script = Some(Box::new(script));
    }

    /// Is good again.
    pub(crate) fn good(&self) {
        self.book.lock().unwrap().script = None;
    }

    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.book
            .lock()
            .unwrap()
            .blobs
            .insert(digest.to_string(), bytes.to_vec());
        digest
    }

    /// By the tag `latest` and by its digest.
    pub(crate) fn put_manifest(&self, model: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut book = self.book.lock().unwrap();
        for reference in ["latest", digest.as_str()] {
            let path = format!("library/{model}/manifests/{reference}");
            book.manifests.insert(path, bytes.to_vec());
        }
        digest
    }

    /// A model with this one layer: the digest of its manifest.
    pub(crate) fn put(&self, model: &str, file: &[u8]) -> Digest {
        self.put_blob(&config());
        self.put_blob(file);
        let manifest = manifest(&[layer(MODEL, file)]);
        self.put_manifest(model, manifest.to_string().as_bytes())
    }

    /// The requests for this blob.
    pub(crate) fn asked(&self, blob: &Digest) -> Vec<Seen> {
        let mut seen = self.double.seen();
        seen.retain(|seen| seen.path.ends_with(&format!("/blobs/{blob}")));
        seen
    }

    /// How many bytes of this blob were asked for.
    pub(crate) fn asked_bytes(&self, blob: &Digest) -> usize {
        let ranges = self.asked(blob);
        let ranges = ranges.iter().map(|seen| asked(seen).expect("a range"));
        ranges.map(|(start, end)| end - start).sum()
    }

    pub(crate) fn requests(&self, what: &str) -> usize {
        let lines = self.double.lines();
        lines.iter().filter(|line| line.contains(what)).count()
    }
}

// === impl Book ===

impl Book {
    fn answer(&mut self, seen: &Seen) -> Answer {
        if let Some(answer) = self.script.as_mut().and_then(|script| script(seen)) {
            return answer;
        }
        let path = seen.path.strip_prefix("/v2/").unwrap_or_default();
        if let Some(manifest) = self.manifests.get(path) {
            return Answer::ok(manifest.clone()).header("content-type", MANIFEST);
        }
        let blob = path
            .rsplit_once("/blobs/")
            .and_then(|(_, digest)| self.blobs.get(digest));
        match blob {
            Some(blob) => part(seen, blob),
            None => Answer::new(404),
        }
    }
}
