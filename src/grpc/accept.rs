//! The accept loop: owns connections and their handshakes, so that each is bounded and ends.
//!
//! A socket first has to shake hands where the API has a certificate, and to say that it speaks HTTP/2, within a time and in company of few; only then it counts as a
//! connection. Sockets over a limit are closed at once: a queue of them would look like a service that hangs.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::{
    Credentials,
    call::Peer,
    handshake::{PREFACE, Stream, greet},
    observe,
    tls::ClientCertificate,
};

/// A peer that has gone without a word is noticed after these two.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Larger header lists are answered with HTTP 431 before they reach a handler.
const MAX_HEADERS: u32 = 16 * 1024;

/// The system has no descriptor or memory for a connection: wait until some are closed, rather than spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Sockets at a time that have not said what they speak.
    pub handshakes: usize,
    /// For that.
    pub handshake_timeout: Duration,
    /// Calls at a time on one connection.
    pub streams: u32,
}

/// One listener with its services.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    handshakes: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    routes: Routes,
    /// None on a listener that wants none and is plain text.
    credentials: Option<Arc<Credentials>>,
    limits: Limits,
    connections: Arc<Semaphore>,
    ends: Ends,
}

/// The three ends of a listener, in the order in which they come.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// No new connections; clients are asked to leave.
    pub stop: CancellationToken,
    /// Streams end with UNAVAILABLE.
    pub drain: CancellationToken,
    /// What is left is cut.
    pub kill: CancellationToken,
}

// === impl Server ===

impl Server {
    /// Serves `routes` on a bound listener, to whom `credentials` let in; without them, in plain text to everybody.
    pub fn new(
        listener: TcpListener,
        routes: Routes,
        credentials: Option<Arc<Credentials>>,
        limits: Limits,
        ends: Ends,
    ) -> Self {
        let connections = Arc::new(Semaphore::new(limits.connections));
        let shared = Arc::new(Shared {
            routes,
            credentials,
            limits,
            connections,
            ends,
        });
        Self {
            listener,
            shared,
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until `stop`, and returns when the last connection has ended, or at `kill`.
    pub async fn run(self) {
        let Self {
            listener,
            shared,
            handshakes,
        } = self;
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shared.ends.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    if let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() {
                        tasks.spawn(Arc::clone(&shared).connection(socket, peer, permit));
                    } else {
                        tracing::warn!(client.address = %peer, "too many handshakes: connection closed");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Closed first: whoever connects from now on is refused, and finds our successor.
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }
}

// === impl Shared ===

impl Shared {
    /// One socket, from its first byte to its end. Ends when the peer leaves, after `stop` when its calls have ended, and at
    /// `kill` in any case.
    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, handshake: OwnedSemaphorePermit) {
        // Without it small answers would wait for more to come.
        let _slower = socket.set_nodelay(true).is_err();
        let tls = self.credentials.as_ref().and_then(|now| now.handshake());
        let greeted = tokio::select! {
            () = self.ends.stop.cancelled() => return,
            greeted = tokio::time::timeout(self.limits.handshake_timeout, greet(socket, tls)) => greeted,
        };
        drop(handshake);
        let (stream, certificate) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => {
                tracing::debug!(client.address = %peer, %error, "a socket did not shake hands or speak HTTP/2");
                return;
            }
            Err(_elapsed) => {
                tracing::debug!(client.address = %peer, "a socket did not shake hands or speak HTTP/2 in time");
                return;
            }
        };
        let Ok(_connection) = Arc::clone(&self.connections).try_acquire_owned() else {
            tracing::warn!(client.address = %peer, "too many connections: connection closed");
            return;
        };
        self.serve(stream, peer, certificate).await;
    }

    async fn serve(&self, stream: Stream, peer: SocketAddr, certificate: Option<ClientCertificate>) {
        let (read, write) = tokio::io::split(stream);
        // The preface was read already; hyper wants to see it too.
        let io = TokioIo::new(tokio::io::join(io::Cursor::new(PREFACE).chain(read), write));
        let caller = Arc::new(Peer {
            address: peer,
            certificate,
        });
        let service = hyper::service::service_fn(|request| {
            let credentials = self.credentials.clone();
            observe::answer(
                self.routes.clone(),
                credentials,
                request,
                Arc::clone(&caller),
                self.ends.drain.clone(),
            )
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(MAX_HEADERS)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.ends.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.ends.kill.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client.address = %peer, error = %crate::telemetry::Chain(&error), "connection broke");
        }
    }
}
