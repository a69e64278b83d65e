//! The program as its users run it: the service as a process of its own, on a loopback port of its choice.

// Each test and benchmark that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use model_control::gguf::{TensorKind, build::Builder};
use tonic::transport::Channel;

/// For one line of the log: far more than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes of the log that are kept. The rest is read to its end all the same.
const MAX_LOG: usize = 1 << 20;

/// A folder with all that a service has: its configuration, store and state.
#[derive(Debug)]
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

/// A running service. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    reader: Option<JoinHandle<()>>,
    pub(crate) address: SocketAddr,
    /// What it logged before it listened.
    pub(crate) said: Vec<String>,
    /// What it logged later.
    heard: Arc<Mutex<String>>,
}

// === impl Home ===

impl Home {
    /// On the disk that holds the build, which is large and real.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let home = Self { folder };
        let store = format!("--store={}", home.store("").display());
        let entry = serde_json::json!([{ "name": "one", "framework": "embedded", "backend_argv": [store] }]);
        fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
        fs::create_dir(home.path("models")).unwrap();
        home
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Where callers may name files.
    pub(crate) fn model(&self, name: &str) -> PathBuf {
        self.path("models").join(name)
    }

    pub(crate) fn store(&self, inside: &str) -> PathBuf {
        self.path("store").join(inside)
    }

    /// A model with one tensor of so many MiB, none of it a hole or like another.
    pub(crate) fn write_model(&self, name: &str, mib: u64) -> PathBuf {
        const BLOCK: usize = 1 << 20;
        let elements = mib * (BLOCK as u64) / 4;
        let header = Builder::new("llama")
            .tensor("a", &[elements], TensorKind::F32, &[])
            .finish();
        let path = self.model(name);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&header).unwrap();
        let (mut block, mut random) = (vec![0; BLOCK], fastrand::Rng::with_seed(1));
        for _ in 0..mib {
            random.fill(&mut block);
            file.write_all(&block).unwrap();
        }
        file.sync_all().unwrap();
        path
    }

    /// Starts `program` on it and waits until it listens.
    pub(crate) fn start(&self, program: &Path) -> Service {
        Service::start(self.command(program))
    }

    /// Its flags are all that the service is told: the environment is empty.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("serve")
            .args(["--listen=127.0.0.1:0", "--drain-delay=0s", "--probe-interval=1h"])
            .arg("--config")
            .arg(self.path("configs.yaml"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--model-root")
            .arg(self.path("models"))
            .env_clear()
            .env("HOME", self.folder.path());
        command
    }
}

// === impl Service ===

impl Service {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // Once nobody wants the log, it is read to its end all the same: a full pipe would stop the service.
        let (line_tx, log) = sync_channel(0);
        let heard = Arc::<Mutex<String>>::default();
        let late = Arc::clone(&heard);
        let reader = std::thread::spawn(move || {
            let lines = stderr.by_ref().split(b'\n').map_while(Result::ok);
            let told = |line: Vec<u8>| line_tx.send(String::from_utf8_lossy(&line).into_owned());
            lines.map(told).find(Result::is_err);
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let mut log = late.lock().unwrap();
                if log.len() < MAX_LOG {
                    log.push_str(&String::from_utf8_lossy(&line));
                    log.push('\n');
                }
            }
        });
        // The guard exists before anything can fail.
        let mut service = Self {
            child,
            reader: Some(reader),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            said: Vec::new(),
            heard,
        };
        service.listens(&log);
        service
    }

    fn listens(&mut self, log: &Receiver<String>) {
        while let Ok(line) = log.recv_timeout(PATIENCE) {
            if let Some(address) = address(&line, "listening") {
                self.address = address;
                return;
            }
            self.said.push(line);
        }
        panic!(
            "the service ended, or is silent, before it listened:\n{}",
            self.said.join("\n")
        );
    }

    /// Where it said that it listens for metrics.
    pub(crate) fn metrics(&self) -> SocketAddr {
        let told = |line: &String| address(line, "listening for metrics");
        self.said.iter().find_map(told).unwrap()
    }

    /// Where it said that it listens for health.
    pub(crate) fn health(&self) -> SocketAddr {
        let told = |line: &String| address(line, "listening for health");
        self.said.iter().find_map(told).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    /// Whether it logged these words since it listens.
    pub(crate) fn heard(&self, words: &str) -> bool {
        self.heard.lock().unwrap().contains(words)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and the wait for its end.
    pub(crate) fn terminate(mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// SIGKILL, and the wait for its end.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

/// The address in a line with this message.
fn address(line: &str, message: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once(&format!(" {message} address="))?;
    address.split(' ').next()?.parse().ok()
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already; the wait tells no more.
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}
