//! A registry that Ollama can pull from, in memory: blobs are sent by another host name, and each answer can be held, cut or
//! refused.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Method, Response, StatusCode, request::Parts},
};
use futures::StreamExt as _;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use model_control::model::Digest;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::support::soon;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Bytes that are sent at a time.
const PIECE: usize = 64 << 10;

/// Holds answers until it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

/// How the requests for a blob are answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    /// The head comes when this opens.
    pub(crate) head: Option<Gate>,
    /// The head has this status.
    pub(crate) head_status: Option<u16>,
    /// After so many bytes the rest comes when this opens.
    pub(crate) body: Option<(usize, Gate)>,
    /// After so many bytes the connection is cut.
    pub(crate) cut: Option<usize>,
}

/// The registry. Dropping it cuts its connections.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    /// Where blobs are sent from, as `localhost`.
    storage: SocketAddr,
    book: Arc<Book>,
    tasks: [AbortHandle; 2],
}

struct Book {
    kept: Mutex<Kept>,
    /// `GET /v2/…`, or `GET storage /v2/…`, one line a request, in the order of their coming.
    seen: watch::Sender<Vec<String>>,
}

#[derive(Default)]
struct Kept {
    manifests: HashMap<String, Bytes>,
    blobs: HashMap<String, Bytes>,
    ways: HashMap<String, Way>,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

// === impl Hub ===

impl Hub {
    pub(crate) async fn start() -> Self {
        let book = Arc::new(Book {
            kept: Mutex::default(),
            seen: watch::Sender::default(),
        });
        let (front, storage) = (listener().await, listener().await);
        let (address, stored) = (front.local_addr().unwrap(), storage.local_addr().unwrap());
        let tasks = [
            serve(front, answers(&book, Some(stored.port()))),
            serve(storage, answers(&book, None)),
        ];
        Self {
            address,
            storage: stored,
            book,
            tasks,
        }
    }

    /// What the service has to allow.
    pub(crate) fn hosts(&self) -> [String; 2] {
        [
            format!("http://{}", self.address),
            format!("http://localhost:{}", self.storage.port()),
        ]
    }

    pub(crate) fn name(&self, model: &str) -> String {
        format!("{}/library/{model}", self.address)
    }

    /// A model of these layers: the digest of the first.
    pub(crate) fn publish(&self, model: &str, layers: &[(&str, &[u8])]) -> Digest {
        let config = json!({
            "model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "115K",
            "file_type": "Q8_0", "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = config.to_string().into_bytes();
        let mut kept = self.book.kept.lock().unwrap();
        let mut keep = |kind: &str, bytes: &[u8]| {
            let digest = Digest::of(bytes).to_string();
            let described = json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
            kept.blobs.insert(digest, Bytes::copy_from_slice(bytes));
            described
        };
        let described: Vec<Value> = layers
            .iter()
            .map(|(kind, bytes)| keep(&format!("application/vnd.ollama.image.{kind}"), bytes))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": keep("application/vnd.docker.container.image.v1+json", &config), "layers": described,
        });
        let path = format!("/v2/library/{model}/manifests/latest");
        kept.manifests.insert(path, manifest.to_string().into());
        Digest::of(layers[0].1)
    }

    /// From now on the blob is answered so.
    pub(crate) fn way(&self, blob: &Digest, way: Way) {
        let mut kept = self.book.kept.lock().unwrap();
        kept.ways.insert(blob.to_string(), way);
    }

    /// Requests so far whose line has all of these words.
    pub(crate) fn asked(&self, words: &[&str]) -> usize {
        count(&self.book.seen.borrow(), words)
    }

    /// Waits for so many.
    pub(crate) async fn is_asked(&self, words: &[&str], times: usize) {
        let mut seen = self.book.seen.subscribe();
        soon(seen.wait_for(|seen| count(seen, words) >= times)).await.unwrap();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn count(seen: &[String], words: &[&str]) -> usize {
    let all = |line: &&String| words.iter().all(|word| line.contains(word));
    seen.iter().filter(all).count()
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Its connections end with it.
pub(crate) fn serve(listener: TcpListener, router: Router) -> AbortHandle {
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                let serving =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A body that is cut is an error for hyper, and meant here.
                drop(serving.await);
            });
            while connections.try_join_next().is_some() {}
        }
    });
    accepting.abort_handle()
}

/// Blobs are sent from the port, or here when there is none.
fn answers(book: &Arc<Book>, storage: Option<u16>) -> Router {
    let book = Arc::clone(book);
    Router::new().fallback(move |request: Request| {
        let (book, head) = (Arc::clone(&book), request.into_parts().0);
        async move { answer(&book, storage, &head).await }
    })
}

async fn answer(book: &Book, storage: Option<u16>, request: &Parts) -> Response<Body> {
    let path = request.uri.path();
    let place = if storage.is_some() { "" } else { "storage " };
    book.seen
        .send_modify(|seen| seen.push(format!("{} {place}{path}", request.method)));
    let response = Response::builder();
    let none = || Response::builder().status(404).body(Body::empty()).unwrap();
    let Some((_, digest)) = path.rsplit_once("/blobs/") else {
        let manifest = book.kept.lock().unwrap().manifests.get(path).cloned();
        let Some(manifest) = manifest else { return none() };
        return response.header("content-type", MANIFEST).body(manifest.into()).unwrap();
    };
    let (blob, way) = {
        let kept = book.kept.lock().unwrap();
        let way = kept.ways.get(digest).cloned().unwrap_or_default();
        (kept.blobs.get(digest).cloned(), way)
    };
    let Some(blob) = blob else { return none() };
    match (&request.method, storage) {
        (&Method::HEAD, _) => {
            if let Some(gate) = way.head {
                gate.opened().await;
            }
            let status = way.head_status.unwrap_or(200);
            let response = response.status(status).header("content-length", blob.len());
            response.body(Body::empty()).unwrap()
        }
        (_, Some(port)) => {
            let to = format!("http://localhost:{port}{path}");
            let response = response.status(StatusCode::TEMPORARY_REDIRECT).header("location", to);
            response.body(Body::empty()).unwrap()
        }
        (_, None) => {
            let range = request.headers.get("range").and_then(|range| range.to_str().ok());
            let (start, end) = range.map_or((0, blob.len()), asked);
            let part = blob.slice(start..end);
            let response = response.status(206).header("content-length", part.len());
            let range = format!("bytes {start}-{}/{}", end - 1, blob.len());
            response.header("content-range", range).body(body(part, way)).unwrap()
        }
    }
}

/// `bytes=0-99`: the first, and behind the last.
fn asked(range: &str) -> (usize, usize) {
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    (first.parse().unwrap(), last.parse::<usize>().unwrap() + 1)
}

fn body(part: Bytes, way: Way) -> Body {
    let pieces = futures::stream::unfold((part, 0), move |(mut rest, sent)| {
        let way = way.clone();
        async move {
            if rest.is_empty() {
                return None;
            }
            if way.cut.is_some_and(|after| sent >= after) {
                return Some((Err(io::ErrorKind::ConnectionReset.into()), (Bytes::new(), sent)));
            }
            let mut count = rest.len().min(PIECE);
            if let Some(after) = way.cut {
                count = count.min(after - sent);
            }
            if let Some((after, gate)) = &way.body {
                if sent >= *after {
                    gate.opened().await;
                } else {
                    count = count.min(after - sent);
                }
            }
            let piece = rest.split_to(count);
            Some((Ok::<_, io::Error>(piece), (rest, sent + count)))
        }
    });
    Body::from_stream(pieces.boxed())
}
