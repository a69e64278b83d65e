//! A double of Ollama's server: it keeps models and blobs as the real one does, replays what a real one was recorded to say,
//! and does what it is told: stalls, drips, cuts, floods, late answers, lies.
//!
//! What nobody scripted and the double does not know is answered 501 and fails the test when the double is dropped. It
//! shares only the recordings with the adapter; what it says of itself is written after them and after what was measured.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "ollama_double/routes.rs"]
mod routes;
#[path = "ollama_double/script.rs"]
mod script;
#[path = "ollama_double/state.rs"]
mod state;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{Router, extract::Request};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket},
    sync::Notify,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::{
    script::{Answer, Gate, Step, recorded, recorded_lines},
    state::{Layer, Mode, Model, Remote, Route, State, digest_of},
};

const BACKLOG: u32 = 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// A running double. Dropping it cuts its connections, and fails the test if it was asked for what it does not know.
pub(crate) struct Double {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    tls: Option<TlsAcceptor>,
    /// Bound and never listening: while the double is down, its port is nobody else's.
    _port: TcpSocket,
}

/// A connection, with TLS or without.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) struct Shared {
    state: Mutex<State>,
}

// === impl Shared ===

impl Shared {
    /// A test that failed while it held the lock is told of by itself.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Double ===

impl Double {
    pub(crate) async fn start() -> Self {
        Self::start_behind(None).await
    }

    /// With something before it that speaks TLS, where it is given.
    pub(crate) async fn start_behind(tls: Option<TlsAcceptor>) -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut double = Self {
            address: port.local_addr().unwrap(),
            shared: Arc::new(Shared {
                state: Mutex::new(State::default()),
            }),
            accepting: None,
            tls,
            _port: port,
        };
        double.up().await;
        double
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// The next request of this route is answered so; further ones after it in the order of the scripts.
    pub(crate) fn on(&self, route: Route, answer: Answer) {
        self.state().scripts.entry(route).or_default().push_back(answer);
    }

    /// What it is from now on, for requests and connections that come.
    pub(crate) fn be(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// Requests of this route so far.
    pub(crate) fn asked(&self, route: Route) -> usize {
        self.state().asked.get(&route).copied().unwrap_or_default()
    }

    /// The highest number of pulls at a time.
    pub(crate) fn most_pulls(&self) -> usize {
        self.state().most_pulls
    }

    /// Listens, on its port if it had one.
    pub(crate) async fn up(&mut self) {
        // A process that is being started may hold the last listener until it is itself.
        let begun = Instant::now();
        let listener = loop {
            match socket(self.address).and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listener) => break listener,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            tokio::task::yield_now().await;
        };
        self.accepting = Some(tokio::spawn(accept(
            listener,
            self.tls.clone(),
            Arc::clone(&self.shared),
        )));
    }

    /// Its connections are cut and new ones refused; models and blobs stay.
    pub(crate) async fn down(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Cancelled is how it ends.
            drop(accepting.await);
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        let unscripted = std::mem::take(&mut self.state().unscripted);
        if !std::thread::panicking() {
            assert!(unscripted.is_empty(), "nobody scripted: {unscripted:#?}");
        }
    }
}

/// Bound so that another may be bound beside it.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Its connections end with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if shared.lock().mode == Mode::Deaf {
            connections.spawn(async move {
                let _open = stream;
                std::future::pending::<()>().await;
            });
            continue;
        }
        let shared = Arc::clone(&shared);
        let cut = Arc::new(Notify::new());
        let answered = Arc::clone(&cut);
        let answer = move |request: Request| routes::answer(Arc::clone(&shared), Arc::clone(&answered), request);
        let router = Router::new().fallback(answer);
        let tls = tls.clone();
        connections.spawn(async move {
            let stream: Box<dyn Io> = match tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    // A client that trusts nobody.
                    Err(_refused) => return,
                },
            };
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            tokio::select! {
                // A caller that leaves, or a body that is cut, is an error for hyper and meant here.
                ended = serving => drop(ended),
                () = cut.notified() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
