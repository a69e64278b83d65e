//! A real registry on loopback: Debian's `docker-registry`, behind a front that sends readers of blobs to another host name,
//! as Ollama's hub does.
//!
//! The program is found on the PATH. Without it a test says so and passes; where `CI` is set it fails.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model_control::model::Digest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader as AsyncReader},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{Duration, Instant},
};

use crate::missing;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Lines of the log before it must listen; it writes four.
const MAX_LINES: usize = 100;

/// A running registry. Dropping it kills the process and removes its files.
pub(crate) struct Registry {
    child: Child,
    _folder: tempfile::TempDir,
    /// Of the registry itself.
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
}

/// What callers of the hub see: manifests here, blobs elsewhere.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    /// Requests for blobs that were sent on.
    pub(crate) redirects: Arc<AtomicU64>,
    task: AbortHandle,
}

/// A road to a registry that counts what it brings, and may be narrow.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Bytes that callers were sent.
    pub(crate) sent: Arc<AtomicU64>,
    task: AbortHandle,
}

/// A layer to push: its media type and content.
pub(crate) type Layer<'a> = (&'a str, &'a Path);

/// The program; without it `None`, or a failure where `CI` is set.
fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join("docker-registry"))
        .find(|program| program.is_file());
    if found.is_none() {
        missing::skip("docker-registry is not on the PATH");
    }
    found
}

/// Plain http needs no provider of TLS, and the client wants one all the same.
fn client() -> reqwest::Client {
    let _installed_already = rustls::crypto::ring::default_provider().install_default().is_err();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

// === impl Registry ===

impl Registry {
    pub(crate) fn start() -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let settings = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: \
             {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            data.display()
        );
        fs::write(&settings, text).unwrap();
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines();
        let address = lines
            .by_ref()
            .take(MAX_LINES)
            .find_map(|line| {
                let line = line.ok()?;
                let rest = line.split_once("listening on ")?.1;
                rest.split('"').next()?.parse().ok()
            })
            .expect("it listens");
        // Nobody reads on: what it writes must not block it. Ends with the process.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            _folder: folder,
            address,
            http: client(),
        })
    }

    /// Puts a blob there, if it is not.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        let base = format!("http://{}/v2/{repository}/blobs", self.address);
        let begun = self.http.post(format!("{base}/uploads/")).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let glue = if location.contains('?') { '&' } else { '?' };
        let put = self.http.put(format!("{location}{glue}digest={digest}")).body(bytes);
        assert_eq!(put.send().await.unwrap().status(), 201);
        digest
    }

    pub(crate) async fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        manifest: &Value,
    ) -> Digest {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let put = self
            .http
            .put(url)
            .header("content-type", media_type)
            .body(bytes.clone());
        let answer = put.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        Digest::of(&bytes)
    }

    /// A model as Ollama pushes it: the digest of its manifest.
    pub(crate) async fn push(&self, repository: &str, tag: &str, layers: &[Layer<'_>]) -> Digest {
        let config = json!({
            "model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "115K",
            "file_type": "Q8_0", "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let size = config.len();
        let config = self.push_blob(repository, config).await;
        let mut listed = Vec::new();
        for (kind, path) in layers {
            let bytes = fs::read(path).unwrap();
            let size = bytes.len();
            let digest = self.push_blob(repository, bytes).await;
            listed.push(json!({
                "mediaType": format!("application/vnd.ollama.image.{kind}"), "digest": digest.to_string(), "size": size,
            }));
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": config.to_string(), "size": size,
            },
            "layers": listed,
        });
        self.push_manifest(repository, tag, MANIFEST, &manifest).await
    }

    /// A file as `oras push` does: an empty configuration and one titled layer.
    pub(crate) async fn push_plain(&self, repository: &str, tag: &str, file: &Path) -> Digest {
        let empty = self.push_blob(repository, b"{}".to_vec()).await;
        let bytes = fs::read(file).unwrap();
        let size = bytes.len();
        let digest = self.push_blob(repository, bytes).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.unknown.artifact.v1",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty.to_string(), "size": 2},
            "layers": [{
                "mediaType": "application/octet-stream", "digest": digest.to_string(), "size": size,
                "annotations": {"org.opencontainers.image.title": file.file_name().unwrap().to_str().unwrap()},
            }],
        });
        self.push_manifest(repository, tag, OCI_MANIFEST, &manifest).await
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended_already = self.child.kill().is_err();
        let _reaped = self.child.wait().is_ok();
    }
}

// === impl Front ===

impl Front {
    /// Manifests of the registry, and blobs of `blobs` by another name.
    pub(crate) async fn before(registry: &Registry, blobs: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (behind, redirects) = (registry.address, Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&redirects);
        let task = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, behind, blobs.port(), Arc::clone(&counted)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            redirects,
            task: task.abort_handle(),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Relay ===

impl Relay {
    /// `rate` bounds each connection, in bytes a second.
    pub(crate) async fn to(registry: &Registry, rate: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (behind, sent) = (registry.address, Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(relay(stream, behind, rate, Arc::clone(&counted)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            sent,
            task: task.abort_handle(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(caller: TcpStream, behind: SocketAddr, rate: Option<u64>, sent: Arc<AtomicU64>) -> Option<()> {
    let registry = TcpStream::connect(behind).await.ok()?;
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_registry, mut to_registry) = registry.into_split();
    let asking = async { tokio::io::copy(&mut from_caller, &mut to_registry).await.ok().map(drop) };
    let answering = async {
        let (mut buffer, began, mut brought) = (vec![0; 64 << 10], Instant::now(), 0);
        loop {
            let count = from_registry.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            to_caller.write_all(&buffer[..count]).await.ok()?;
            sent.fetch_add(count as u64, Ordering::Relaxed);
            brought += count as u64;
            if let Some(rate) = rate {
                // The road's own slowness, not a wait for something.
                tokio::time::sleep_until(began + Duration::from_secs_f64(brought as f64 / rate as f64)).await;
            }
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}

/// Requests without bodies, one after the other.
async fn serve(stream: TcpStream, behind: SocketAddr, blobs: u16, redirects: Arc<AtomicU64>) -> Option<()> {
    let http = client();
    let mut stream = AsyncReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let mut words = head.first()?.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let answer = if path.contains("/blobs/") {
            redirects.fetch_add(1, Ordering::Relaxed);
            let to = format!("http://localhost:{blobs}{path}");
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes()
        } else {
            let mut request = http.request(method.parse().ok()?, format!("http://{behind}{path}"));
            for line in &head[1..] {
                let (name, value) = line.split_once(": ")?;
                if name.eq_ignore_ascii_case("accept") {
                    request = request.header(name, value);
                }
            }
            let answer = request.send().await.ok()?;
            let mut text = format!("HTTP/1.1 {}\r\n", answer.status());
            for name in ["content-type", "docker-content-digest", "etag"] {
                if let Some(value) = answer.headers().get(name) {
                    text.extend([name, ": ", value.to_str().ok()?, "\r\n"]);
                }
            }
            let body = answer.bytes().await.ok()?;
            text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n"]);
            [text.as_bytes(), &body].concat()
        };
        stream.write_all(&answer).await.ok()?;
    }
}
