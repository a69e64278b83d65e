//! A registry for tests: a server on loopback that answers as it is told, byte by byte where need be.
//!
//! HTTP/1.1 is written by hand, so that an answer can lie about its length, stop, flood or never begin.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

#[path = "double/authority.rs"]
mod authority;

pub(super) use self::authority::Authority;

/// The server. Ends with its connections when it is dropped.
#[derive(Debug)]
pub(super) struct Double {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    held: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Counted from 0.
    pub(super) connection: usize,
    pub(super) http2: bool,
}

/// What is written for a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Written in the place of all that.
    raw: Option<Vec<u8>>,
    end: End,
}

/// What comes after the answer.
#[derive(Debug, Clone, Default)]
enum End {
    #[default]
    KeepAlive,
    Close,
    /// The connection stays open, and silent.
    Hang,
    /// These bytes, again and again.
    Flood(Vec<u8>),
    /// These bytes once the gate is open; it is closed while it says so.
    After(watch::Receiver<bool>, Vec<u8>),
}

/// Counts an answer that is held back, for as long as its client waits.
struct Held<'a>(&'a AtomicUsize);

type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

// === impl Double ===

impl Double {
    pub(super) async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(script)).await
    }

    pub(super) async fn start_tls(tls: TlsAcceptor, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(Some(tls), Arc::new(script)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let count = AtomicUsize::new(0);
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&seen);
        let held = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&held);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = Connection {
                    number: count.fetch_add(1, Ordering::Relaxed),
                    script: Arc::clone(&script),
                    seen: Arc::clone(&log),
                    held: Arc::clone(&counted),
                };
                let tls = tls.clone();
                connections.spawn(async move {
                    // What the client does to its end of the connection is the test's to judge.
                    let _ended = match tls {
                        None => connection.http1(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                                connection.http2(stream).await
                            }
                            Ok(stream) => connection.http1(stream).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            address,
            seen,
            held,
            _tasks: tasks,
        }
    }

    /// `127.0.0.1:port`
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Answers that hang, or wait for their gate, while the client listens.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// `METHOD path` of each request.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |seen: Seen| format!("{} {}", seen.method, seen.path);
        self.seen().into_iter().map(line).collect()
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    pub(super) fn redirect(to: impl Into<String>) -> Self {
        Self::new(307).header("location", to)
    }

    /// These bytes and nothing else.
    pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            ..Self::default()
        }
    }

    /// A header that is given twice is written twice; a given length is written as it is.
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn then_close(mut self) -> Self {
        self.end = End::Close;
        self
    }

    pub(super) fn then_hang(mut self) -> Self {
        self.end = End::Hang;
        self
    }

    pub(super) fn then_flood(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.end = End::Flood(bytes.into());
        self
    }

    /// The rest of the body, which comes when the gate is no longer closed.
    pub(super) fn then_after(mut self, closed: watch::Receiver<bool>, bytes: impl Into<Vec<u8>>) -> Self {
        self.end = End::After(closed, bytes.into());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut head = format!("HTTP/1.1 {} Told\r\n", self.status);
        let has_length = self
            .headers
            .iter()
            .any(|(name, _)| ["content-length", "transfer-encoding"].contains(&name.as_str()));
        if !has_length {
            write!(head, "content-length: {}\r\n", self.body.len()).unwrap();
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

struct Connection {
    number: usize,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
    held: Arc<AtomicUsize>,
}

// === impl Held ===

impl<'a> Held<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Connection ===

impl Connection {
    fn answer(&self, seen: Seen) -> Answer {
        let answer = (self.script)(&seen);
        self.seen.lock().unwrap().push(seen);
        answer
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = self.request(&mut stream).await? {
            let answer = self.answer(seen);
            stream.write_all(&answer.bytes()).await?;
            stream.flush().await?;
            match answer.end {
                End::KeepAlive => {}
                End::Close => return stream.shutdown().await,
                // Until the client leaves.
                End::Hang => {
                    let _held = Held::new(&self.held);
                    return stream.read_u8().await.map(|_| ());
                }
                End::After(mut closed, bytes) => {
                    let held = Held::new(&self.held);
                    tokio::select! {
                        // The test has ended, or the gate is open.
                        opened = closed.wait_for(|closed| !closed) => drop(opened),
                        // The client left, for it has nothing to ask before the answer is whole.
                        left = stream.read_u8() => return left.map(|_| ()),
                    }
                    drop(held);
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                }
                End::Flood(bytes) => loop {
                    stream.write_all(&bytes).await?;
                },
            }
        }
        Ok(())
    }

    async fn request(&self, stream: &mut BufReader<impl AsyncRead + Unpin>) -> io::Result<Option<Seen>> {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = HeaderMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Some(Seen {
            method,
            path,
            headers,
            body: String::from_utf8(body).unwrap(),
            connection: self.number,
            http2: false,
        }))
    }

    /// Knows the plain answers only.
    async fn http2(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
            let answer = self.answer(Seen {
                method: request.method().to_string(),
                path: request.uri().path_and_query().unwrap().to_string(),
                headers: request.headers().clone(),
                body: String::new(),
                connection: self.number,
                http2: true,
            });
            let mut response = http::Response::builder().status(answer.status);
            for (name, value) in &answer.headers {
                response = response.header(name, value);
            }
            let body = http_body_util::Full::new(bytes::Bytes::from(answer.body));
            std::future::ready(Ok::<_, std::convert::Infallible>(response.body(body).unwrap()))
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other)
    }
}
