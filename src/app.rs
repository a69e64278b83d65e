//! Wires the rooms together; starts them, and stops them in one order.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, Server, Source},
    engines::{self, Setup},
    grpc::{self, Credentials, accept},
    manager::Manager,
    operation::{Limits, Operations},
    readiness,
    source::{RootError, Roots},
    telemetry::metrics::InstallError,
};

mod keepers;
mod observe;
mod program;
mod reload;

pub use self::program::{ConfigWord, config, serve};
use self::{keepers::Keepers, reload::Reload};
pub use crate::backend::embedded::engine_child;

/// Work gets this long to stop before the streams that follow it are ended, and a connection to say goodbye after its
/// streams have ended.
const GOODBYE: Duration = Duration::from_secs(1);

/// The service, bound and ready to run.
#[derive(Debug)]
pub struct App {
    settings: Server,
    setup: Arc<Setup>,
    manager: Manager,
    publisher: readiness::Publisher,
    changed: Arc<Notify>,
    ends: accept::Ends,
    credentials: Arc<Credentials>,
    api: accept::Server,
    health: Option<accept::Server>,
    metrics: Option<observe::Server>,
    /// Where the configuration is read again, and who asks for that.
    source: Option<(Source, Arc<Notify>)>,
}

/// The service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An engine.
    #[error(transparent)]
    Engine(#[from] engines::BuildError),
    /// A model root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Certificates or tokens.
    #[error("{0}")]
    Credentials(grpc::UnusableFiles),
    /// The API.
    #[error(transparent)]
    Api(#[from] grpc::InvalidDescriptors),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] InstallError),
    /// A listener.
    #[error("cannot listen on {address}: is another service there? choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

// === impl App ===

impl App {
    /// Opens the engines and binds the listeners. Nothing serves yet.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let setup = Arc::new(engines::build(&config)?);
        Self::with_setup(config.server, setup).await
    }

    /// As [`start`](Self::start), with engines that are there already.
    pub async fn with_setup(settings: Server, setup: Arc<Setup>) -> Result<Self, StartError> {
        let roots = Roots::new(&settings.model_roots)?;
        let credentials = Arc::new(Credentials::load(&settings.access).map_err(StartError::Credentials)?);
        let limits = Limits {
            running: settings.max_operations,
            ended: settings.keep_operations,
            ended_for: settings.keep_operations_for,
        };
        let (operations, opening) = Operations::recorded(limits, &settings.state_dir);
        let changed = Arc::new(Notify::new());
        let manager = Manager::new(Arc::clone(&setup), operations, roots, Arc::clone(&changed));
        let publisher = readiness::Publisher::new(&setup);
        let ends = accept::Ends::default();
        let limits = accept::Limits {
            connections: settings.max_connections,
            handshakes: settings.max_handshakes,
            handshake_timeout: settings.handshake_timeout,
            streams: settings.max_streams,
        };

        let routes = grpc::api(manager.clone(), publisher.subscribe(), settings.max_message_bytes)?;
        let listener = bind(settings.listen, "--listen").await?;
        let api = accept::Server::new(listener, routes, Some(Arc::clone(&credentials)), limits, ends.clone());
        let health = match settings.health_listen {
            Some(address) => {
                let routes = grpc::health(publisher.subscribe());
                let listener = bind(address, "--health-listen").await?;
                Some(accept::Server::new(listener, routes, None, limits, ends.clone()))
            }
            None => None,
        };
        let metrics = match settings.metrics_listen {
            Some(address) => {
                let listener = bind(address, "--metrics-listen").await?;
                Some(observe::Server::new(listener, manager.clone(), publisher.subscribe())?)
            }
            None => None,
        };
        // After all that can fail, and before the first call is answered.
        manager.restore_pins(&settings.state_dir).await;
        manager.resume(opening).await;
        Ok(Self {
            settings,
            setup,
            manager,
            publisher,
            changed,
            ends,
            credentials,
            api,
            health,
            metrics,
            source: None,
        })
    }

    /// Reloads the configuration from there: when its file has changed, and whenever `asked` is notified.
    #[must_use]
    pub fn reloading(mut self, source: Source, asked: Arc<Notify>) -> Self {
        self.source = Some((source, asked));
        self
    }

    /// Where the API listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.api.local_addr()
    }

    /// Where health alone listens.
    pub fn health_addr(&self) -> Option<io::Result<SocketAddr>> {
        self.health.as_ref().map(accept::Server::local_addr)
    }

    /// What callers must have: to have it read again at once, and for the time when the certificate expires.
    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Where metrics are told.
    pub fn metrics_addr(&self) -> Option<io::Result<SocketAddr>> {
        self.metrics.as_ref().map(observe::Server::local_addr)
    }

    /// Serves until `shutdown`, then stops in order. Returns when nothing of the service runs any more.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            settings,
            setup,
            manager,
            publisher,
            changed,
            ends,
            credentials,
            api,
            health,
            metrics,
            source,
        } = self;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&credentials).keep(stop.clone()));
        tasks.spawn(api.run());
        if let Some(health) = health {
            tasks.spawn(health.run());
        }
        if let Some(metrics) = metrics {
            tasks.spawn(metrics.run(ends.clone()));
        }
        let mut keepers = Keepers {
            manager: manager.clone(),
            publisher: publisher.clone(),
            changed,
            probe_interval: settings.probe_interval,
            tasks: tasks.clone(),
            stop: stop.clone(),
            engines: Vec::new(),
            entries: HashMap::new(),
        };
        keepers.apply(&setup);
        // An engine that a reload takes away lives no longer than its work.
        drop(setup);
        if let Some((source, asked)) = source {
            let reload = Reload {
                source,
                asked,
                credentials: Arc::clone(&credentials),
                keepers,
            };
            tasks.spawn(reload.run(stop.clone()));
        }

        shutdown.await;
        stop_in_order(&settings, &manager, &publisher, &ends, &stop, &tasks).await;
    }
}

/// The one order of shutdown. Each step says what callers see.
async fn stop_in_order(
    settings: &Server,
    manager: &Manager,
    publisher: &readiness::Publisher,
    ends: &accept::Ends,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let began = Instant::now();
    tracing::info!("shutting down: not serving, no new work");
    // 1. New work is refused with UNAVAILABLE; health says NOT_SERVING, its watchers hear it. In this order: who has heard
    // it finds that it is so.
    manager.operations().drain();
    publisher.drain();
    stop.cancel();

    // 2. Those who send calls here learn of it; until then they are answered.
    tokio::time::sleep(settings.drain_delay).await;

    // 3. New connections are refused, and the present ones are asked to leave.
    ends.stop.cancel();
    let drained = async {
        // 4. Work is stopped and cleans up; what began can be asked for again from our successor. Its callers and watchers
        // hear its end while their streams are open.
        let stopped = manager.operations().shutdown();
        let _told = tokio::time::timeout(GOODBYE.min(settings.drain_timeout / 2), stopped)
            .await
            .is_ok();
        // 5. Streams end with UNAVAILABLE, health watches too.
        ends.drain.cancel();
        manager.operations().shutdown().await;
        // What engines run for us ends after its own running requests.
        let setup = manager.setup();
        futures::future::join_all(setup.supported().map(|(_, engine)| engine.backend.stop())).await;
        tasks.close();
        let _said = tokio::time::timeout(GOODBYE, tasks.wait()).await.is_ok();
    };
    let in_time = tokio::time::timeout(settings.drain_timeout, drained).await.is_ok();
    // What still runs is our successor's.
    manager.operations().close_journal().await;

    // 6. What is left is cut.
    ends.kill.cancel();
    tasks.close();
    tasks.wait().await;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(duration_ms, in_time, "shut down");
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, flag, source })
}
