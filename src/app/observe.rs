//! `/metrics`, `/livez` and `/readyz`, over HTTP/1.1.
//!
//! For those who watch the service: plain text, no credentials, nothing that callers wrote. Few connections at a time, each
//! with a bound on how long it may say nothing; they are answered until calls are ended at shutdown, so that the drain can be
//! watched.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::TaskTracker;

use super::accept::Ends;
use crate::{
    manager::Manager,
    readiness::Readiness,
    telemetry::metrics::{self, Exposition, InstallError},
};

mod state;

/// Connections at a time: collectors, probes, and somebody who looks.
const CONNECTIONS: usize = 64;
/// For the head of a request, the first one and the next on a kept connection.
const HEAD: Duration = Duration::from_secs(75);
/// Between two tidyings of samples.
const UPKEEP: Duration = Duration::from_secs(5);
/// As long as in the other listeners, when the system has no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const LIVENESS: &str = "liveness";
const SERVICE: &str = "ichat.modelcontrol.v1.ModelControl";

/// The listener and what it tells.
#[derive(Debug)]
pub(super) struct Server {
    listener: TcpListener,
    told: Told,
}

#[derive(Debug, Clone)]
struct Told {
    exposition: Exposition,
    manager: Manager,
    readiness: watch::Receiver<Arc<Readiness>>,
}

// === impl Server ===

impl Server {
    /// Counts from now on.
    pub(super) fn new(
        listener: TcpListener,
        manager: Manager,
        readiness: watch::Receiver<Arc<Readiness>>,
    ) -> Result<Self, InstallError> {
        let exposition = metrics::install()?;
        let told = Told {
            exposition,
            manager,
            readiness,
        };
        Ok(Self { listener, told })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the calls of the API are ended; at `kill` whatever is left is cut.
    pub(super) async fn run(self, ends: Ends) {
        let Self { listener, told } = self;
        let exposition = told.exposition.clone();
        let routes = Router::new()
            .route("/metrics", get(tell))
            .route(
                "/livez",
                get(|State(told): State<Told>| async move { told.health(LIVENESS) }),
            )
            .route(
                "/readyz",
                get(|State(told): State<Told>| async move { told.health(SERVICE) }),
            )
            .with_state(told);
        let (tasks, connections) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS)));
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                () = ends.drain.cancelled() => break,
                _ = upkeep.tick() => {
                    exposition.upkeep();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                        tracing::warn!(client.address = %peer, "too many connections for metrics: connection closed");
                        continue;
                    };
                    let (routes, ends) = (routes.clone(), ends.clone());
                    tasks.spawn(async move {
                        serve(socket, routes, ends).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for metrics could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }
}

/// One connection. Ends when the peer leaves or says nothing, at `drain` after its present answer, and at `kill` in any case.
async fn serve(socket: TcpStream, routes: Router, ends: Ends) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(routes);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends.drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = ends.kill.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %crate::telemetry::Chain(&error), "a connection for metrics broke");
    }
}

async fn tell(State(told): State<Told>) -> impl IntoResponse {
    let readiness = Arc::clone(&told.readiness.borrow());
    match told
        .exposition
        .render(|state| state::tell(state, &told.manager, &readiness))
    {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %crate::telemetry::Chain(&error), "metrics cannot be told");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

// === impl Told ===

impl Told {
    /// Of a name in the health service.
    fn health(&self, name: &str) -> (StatusCode, &'static str) {
        if self.readiness.borrow().status(name) == Some(true) {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
        }
    }
}
