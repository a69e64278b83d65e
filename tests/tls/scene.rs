//! A running service in this process, with files for its credentials.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use model_control::{
    app::App,
    config::{Access, Server, TlsFiles},
    engines::Setup,
    grpc::Credentials,
    model::Digest,
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::authority::Pair;

pub(crate) use crate::soon::soon;

/// No test waits longer for anything: it fails then.
pub(crate) const LONG: Duration = Duration::from_mins(1);

pub(crate) const TOKENS: &str = "\
- {name: ichat, token: token-of-ichat-0001, scopes: [read, control]}
- {name: board, token: token-of-board-0001, scopes: [read]}
- {name: robot, token: token-of-robot-0001, scopes: [control]}
";

/// A folder of files as a mounted secret has them: `name` is a link to `..data/name`, and `..data` a link to a folder.
pub(crate) struct Mount {
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) credentials: Arc<Credentials>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _state: tempfile::TempDir,
}

impl Mount {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = Self { folder };
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mount.path(name)).unwrap();
        }
        mount.exchange(files);
        mount
    }

    pub(crate) fn of(pair: &Pair, more: &[(&str, &str)]) -> Self {
        Self::new(&[&[("tls.crt", pair.cert.as_str()), ("tls.key", pair.key.as_str())], more].concat())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All files at once, as Kubernetes does it.
    pub(crate) fn exchange(&self, files: &[(&str, &str)]) {
        let version = tempfile::Builder::new()
            .prefix("..")
            .tempdir_in(self.folder.path())
            .unwrap()
            .keep();
        for (name, text) in files {
            fs::write(version.join(name), text).unwrap();
            fs::set_permissions(version.join(name), fs::Permissions::from_mode(0o440)).unwrap();
        }
        let fresh = self.path("..data_tmp");
        symlink(version.file_name().unwrap(), &fresh).unwrap();
        fs::rename(fresh, self.path("..data")).unwrap();
    }

    /// One file in place, as an editor does it.
    pub(crate) fn overwrite(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn tls(&self) -> TlsFiles {
        TlsFiles {
            cert: self.path("tls.crt"),
            key: self.path("tls.key"),
            client_ca: self.path("ca.crt").exists().then(|| self.path("ca.crt")),
        }
    }

    /// Whatever of `tls.crt`, `tls.key`, `ca.crt` and `tokens.yaml` is here.
    pub(crate) fn access(&self) -> Access {
        Access {
            tls: self.path("tls.crt").exists().then(|| self.tls()),
            client_scopes: Vec::new(),
            token_file: self.path("tokens.yaml").exists().then(|| self.path("tokens.yaml")),
        }
    }
}

impl Running {
    pub(crate) async fn start(access: Access) -> Self {
        Self::with(access, |_| {}).await
    }

    pub(crate) async fn with(access: Access, change: impl FnOnce(&mut Server)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut settings = Server {
            listen: "127.0.0.1:0".parse().unwrap(),
            health_listen: Some("127.0.0.1:0".parse().unwrap()),
            state_dir: state.path().to_owned(),
            model_roots: vec![],
            allow_unauthenticated: false,
            metrics_listen: None,
            otlp_endpoint: None,
            access,
            max_connections: 64,
            max_streams: 200,
            max_message_bytes: 64 << 10,
            max_handshakes: 8,
            handshake_timeout: LONG,
            max_operations: 8,
            keep_operations: 8,
            keep_operations_for: LONG,
            probe_interval: LONG,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
        };
        change(&mut settings);
        let setup = Setup {
            entries: Vec::new(),
            digest: Digest::of(b""),
            load_time: SystemTime::now(),
        };
        let app = App::with_setup(settings, Arc::new(setup)).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            address: app.local_addr().unwrap(),
            health: app.health_addr().unwrap().unwrap(),
            credentials: app.credentials(),
            stop,
            task: tokio::spawn(app.run(async { drop(stopped.await) })),
            _state: state,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap();
    }
}
