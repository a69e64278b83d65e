//! A real Ollama on loopback: a process group of its own, with its home, models and log in a folder of the test's.
//!
//! The program is the one that `MODEL_CONTROL_TEST_OLLAMA` names, else `ollama` on the PATH; its helpers (`llama-server`,
//! `llama-quantize`) lie in `../lib/ollama` of it or beside it. Without it a test says so and passes; where `CI` is set it
//! fails, so that a broken installation cannot hide there.
//!
//! It reaches nothing but loopback: what it would ask of any other host it asks of a proxy that is not there.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::missing;

/// Its path, for machines where it is not on the PATH.
const NAMED: &str = "MODEL_CONTROL_TEST_OLLAMA";
/// For its first answer, or any: far more than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Nobody listens here: the port is reserved, and the service behind it is never run.
const NOWHERE: &str = "http://127.0.0.1:1";
/// Lines of the log that a failed test shows.
const TAIL: usize = 60;
/// Tries to get a port again that it had before.
const TRIES: u32 = 20;
/// Bytes of an answer.
const MAX_ANSWER: u64 = 16 << 20;

/// An Ollama. Dropping it kills its process group, children and all, and removes its files.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    variables: Vec<(String, String)>,
    running: Option<Running>,
    address: SocketAddr,
    // Last: everything in it has ended by then.
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Running {
    child: Child,
    reader: JoinHandle<()>,
}

/// The program; without it `None` and one line on stderr, or a failure where `CI` is set.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("ollama"));
    let found = env::var_os(NAMED)
        .map(PathBuf::from)
        .into_iter()
        .chain(on_path)
        .find(|program| program.is_file());
    if found.is_none() {
        let what = format!("a real Ollama is neither named by {NAMED} nor on the PATH (see CONTRIBUTING.md)");
        missing::skip(&what);
    }
    found
}

// === impl Server ===

impl Server {
    /// Starts one on a port of its own choice and waits for its first answer; `None` without the program.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same with further variables in its environment.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        Self::in_folder(folder, &models, variables)
    }

    /// The same on a folder of models that is there already.
    pub(crate) fn on(models: &Path) -> Option<Self> {
        Self::in_folder(tempfile::tempdir().unwrap(), models, &[])
    }

    fn in_folder(folder: tempfile::TempDir, models: &Path, variables: &[(&str, &str)]) -> Option<Self> {
        let program = program()?;
        let mut all = vec![("OLLAMA_MODELS".to_owned(), models.display().to_string())];
        all.extend(
            variables
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned())),
        );
        fs::create_dir(folder.path().join("home")).unwrap();
        let mut server = Self {
            program,
            variables: all,
            running: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
        };
        // Port 0: the system picks one, the log tells it, and nobody else can take it in between.
        let begun = server.begin();
        assert!(begun, "it did not start:\n{}", server.tail());
        Some(server)
    }

    /// True when it answers; false when it ended before.
    fn begin(&mut self) -> bool {
        let log = || File::options().append(true).create(true).open(self.log_path()).unwrap();
        let mut child = Command::new(&self.program)
            .arg("serve")
            .env_clear()
            .env("HOME", self.folder.path().join("home"))
            .env("OLLAMA_HOST", self.address.to_string())
            .env("OLLAMA_NO_CLOUD", "1")
            .env("GIN_MODE", "release")
            .env("PATH", "/usr/bin:/bin")
            // Go spares loopback from proxies.
            .envs(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| (name, NOWHERE)))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            // It looks for helpers below its working directory too.
            .current_dir(self.folder.path().join("home"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (address_tx, address) = sync_channel(1);
        let mut log = log();
        // Ends when the last of the group has ended.
        let reader = std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                log.write_all(&[&line, b"\n".as_slice()].concat()).ok();
                if let Some(address) = listening(&String::from_utf8_lossy(&line)) {
                    address_tx.try_send(address).ok();
                }
            }
        });
        // The guard exists before anything can fail.
        self.running = Some(Running { child, reader });
        if !self.listens(&address) {
            self.end(Signal::KILL);
            return false;
        }
        true
    }

    /// The port is open before it answers: ready is an answer.
    fn listens(&mut self, address: &Receiver<SocketAddr>) -> bool {
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            return false;
        };
        self.address = address;
        self.get("/api/version").is_some()
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn models(&self) -> PathBuf {
        PathBuf::from(&self.variables[0].1)
    }

    /// All that it, and its children through it, ever wrote; the requests are in it too.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// How often it was asked so, by its own count. It counts a request when it has been answered.
    pub(crate) fn asked(&self, method: &str, path: &str) -> usize {
        let asked = |line: &&str| {
            let mut columns = line.split('|').skip(4);
            line.starts_with("[GIN]") && columns.next().is_some_and(|last| is_request(last, method, path))
        };
        self.log().lines().filter(asked).count()
    }

    /// It ended by itself, or wrote of a panic.
    pub(crate) fn crashed(&mut self) -> bool {
        let ended = |running: &mut Running| running.child.try_wait().unwrap().is_some();
        let log = self.log();
        self.running.as_mut().is_some_and(ended) || ["panic:", "fatal error:"].iter().any(|word| log.contains(word))
    }

    /// SIGKILL to all of the group, and the wait for its end.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// SIGTERM to all of the group, and the wait for its end.
    pub(crate) fn terminate(&mut self) {
        self.end(Signal::TERM);
    }

    /// SIGSTOP to all of the group: it accepts connections and answers nothing.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP).unwrap();
        // A busy thread of it runs on for a moment.
        let stopped = rustix::process::WaitIdOptions::STOPPED | rustix::process::WaitIdOptions::NOWAIT;
        let child = &self.running.as_ref().expect("it runs").child;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), stopped).unwrap();
    }

    /// SIGCONT to all of the group.
    pub(crate) fn cont(&self) {
        self.signal(Signal::CONT).unwrap();
    }

    /// Starts it again on its port, after [`kill`](Self::kill) or [`terminate`](Self::terminate) or a crash.
    pub(crate) fn restart(&mut self) {
        self.end(Signal::KILL);
        // Somebody else may have the port for a moment, as the near end of a connection.
        let back = (0..TRIES).any(|_| self.begin());
        assert!(back, "it did not start again:\n{}", self.tail());
    }

    /// The JSON body of a successful GET; `None` when it fails or nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        successful(self.ask("GET", path, "")?)
    }

    /// The JSON body of a successful POST; `None` when it fails or nobody answers. Ask with `"stream": false`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Option<Value> {
        successful(self.ask("POST", path, &body.to_string())?)
    }

    /// One exchange, as it is: the status and the body. `None` when nobody answers.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        request(self.address, method, path, body)
    }

    fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        let child = &self.running.as_ref().expect("it runs").child;
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process_group(group, signal)
    }

    /// Its children do not outlive it: the group is killed at last, before its number is anybody else's.
    fn end(&mut self, signal: Signal) {
        if let (Some(running), true) = (&self.running, signal != Signal::KILL) {
            // One that ended already has nobody to tell.
            self.signal(signal).ok();
            let exited = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
            let pid = Pid::from_raw(i32::try_from(running.child.id()).unwrap()).unwrap();
            rustix::process::waitid(rustix::process::WaitId::Pid(pid), exited).unwrap();
        }
        if self.running.is_some() {
            self.signal(Signal::KILL).ok();
        }
        if let Some(Running { mut child, reader }) = self.running.take() {
            child.wait().ok();
            reader.join().ok();
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().filter(|line| !line.starts_with("[GIN-debug]")).collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Signal::KILL);
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "why it failed may stand nowhere else")]
            {
                eprintln!("the end of Ollama's log:\n{}", self.tail());
            }
        }
    }
}

/// `…msg="Listening on 127.0.0.1:36555 (version 0.34.0)"`.
fn listening(line: &str) -> Option<SocketAddr> {
    line.split_once("Listening on ")?.1.split(' ').next()?.parse().ok()
}

/// ` GET      "/api/tags"`.
fn is_request(column: &str, method: &str, path: &str) -> bool {
    let mut words = column.split_whitespace();
    words.next() == Some(method) && words.next().is_some_and(|word| word.trim_matches('"') == path)
}

/// One HTTP/1.0 exchange: the server closes the connection, so the end of the answer is the end of the stream.
fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn successful((status, body): (u16, String)) -> Option<Value> {
    (status == 200).then(|| serde_json::from_str(&body).ok())?
}
