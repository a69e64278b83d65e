//! The real llama.cpp programs, when they are installed: a server that loads a model, and the tool that splits one.
//!
//! They are found in the folder that `MODEL_CONTROL_TEST_LLAMA_BIN` names, else on the PATH. Without them a test says so and
//! passes; where `CI` is set it fails, so that a broken installation cannot hide there.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use crate::missing;

/// For one line of the log, or one answer: far more than a tiny model takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Lines of the log before the server must listen; it writes about ten.
const MAX_LINES: usize = 1000;
/// Bytes of an answer.
const MAX_ANSWER: u64 = 1 << 20;

/// A running server with one model. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: Option<Receiver<String>>,
    reader: Option<JoinHandle<()>>,
    address: SocketAddr,
}

/// The program of this name; without it `None`, or a failure where `CI` is set.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let named = env::var_os("MODEL_CONTROL_TEST_LLAMA_BIN").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        missing::skip(&format!(
            "{name} is neither in MODEL_CONTROL_TEST_LLAMA_BIN nor on the PATH"
        ));
    }
    found
}

/// The repository's own model.
pub(crate) fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf")
}

/// Splits the repository's model into parts of four tensors in `parts_dir`: the parts in order; `None` without the program.
pub(crate) fn split(parts_dir: &Path) -> Option<Vec<PathBuf>> {
    let output = Command::new(program("llama-gguf-split")?)
        .args(["--split", "--split-max-tensors", "4"])
        .args([tiny(), parts_dir.join("tiny")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut parts: Vec<_> = parts_dir
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    parts.sort();
    Some(parts)
}

// === impl Server ===

impl Server {
    /// Starts a server on a port of its own choice and waits until it has loaded `model`; `None` without the program.
    pub(crate) fn start(model: &Path) -> Option<Self> {
        let mut child = Command::new(program("llama-server")?)
            .arg("--model")
            .arg(model)
            .args(["--host", "127.0.0.1", "--port", "0", "--offline", "--no-ui"])
            .args(["--ctx-size", "256", "--parallel", "1", "--threads", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // A line at a time, so that the reader waits for whoever wants the log; once nobody does, it reads to the end all
        // the same, for a full pipe would stop the server. It ends with the process.
        let (line_tx, log) = sync_channel(0);
        let reader = std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                line_tx.send(String::from_utf8_lossy(&line).into_owned()).ok();
            }
        });
        // The guard exists before anything can fail.
        let mut server = Self {
            child,
            log: Some(log),
            reader: Some(reader),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let port = server.wait_for(|line| {
            let (_, port) = line.split_once("listening on http://127.0.0.1:")?;
            port.trim().parse::<u16>().ok()
        });
        server.address.set_port(port);
        // Some versions listen before they have loaded: then each line of the log is a reason to ask again.
        if server.get("/health").is_none() {
            let address = server.address;
            server.wait_for(|_| request(address, "GET", "/health", ""));
        }
        server.log = None;
        Some(server)
    }

    /// The JSON body of a successful GET.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        request(self.address, "GET", path, "")
    }

    /// The JSON body of a successful POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Option<Value> {
        request(self.address, "POST", path, &body.to_string())
    }

    fn wait_for<T>(&self, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let log = self.log.as_ref().unwrap();
        let mut seen = String::new();
        for _ in 0..MAX_LINES {
            let Ok(line) = log.recv_timeout(PATIENCE) else { break };
            if let Some(value) = found(&line) {
                return value;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("the server ended, or is silent, before it was ready:\n{seen}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; the wait tells no more.
        self.child.kill().ok();
        self.child.wait().ok();
        self.log = None;
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

/// One HTTP/1.0 exchange: the server closes the connection, so the end of the answer is the end of the stream.
fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).expect("a status");
    (status == "200").then(|| serde_json::from_str(body).unwrap())
}
