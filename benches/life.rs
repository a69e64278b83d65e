//! The embedded engine against the `llama-server` that it runs: a load, an unload, and what health says of a process that is
//! killed.
//!
//! The plain server is started with the arguments and variables that the service gave its own, in turns with it. It is found as
//! the tests find it: in `MODEL_CONTROL_TEST_LLAMA_BIN`, else on the PATH.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/llama.rs"]
mod llama;
#[path = "../tests/support/missing.rs"]
mod missing;
#[path = "../tests/support/processes.rs"]
mod processes;
#[path = "../tests/support/service.rs"]
mod service;
#[path = "../tests/runner/shape.rs"]
mod shape;
mod support;

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use model_control::grpc::proto::{
    health::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
    v1::{self, model_control_client::ModelControlClient},
};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Streaming, transport::Channel};

use self::{
    processes::{kill, processes},
    service::{Home, Service},
    shape::{BIG, Shape},
    support::{Samples, mib, row, setting},
};

/// 308 MB.
const SHAPE: Shape = Shape { layers: 15, ..BIG };
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);
/// How long a change of health is waited for, and how long there must be no other.
const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(3);

/// A running `llama-server` of nobody's.
struct Plain {
    child: Child,
    // Read no more; open, or it could not write.
    _log: BufReader<ChildStderr>,
}

fn main() {
    support::run("life: a model of 308 MB on the embedded engine", async {
        let Some(program) = llama::program("llama-server") else {
            return;
        };
        loads(&program).await;
        kills(&program).await;
    });
}

async fn loads(program: &Path) {
    let home = Home::new();
    fs::write(home.model("big.gguf"), SHAPE.file()).unwrap();
    let size = fs::metadata(home.model("big.gguf")).unwrap().len();
    let service = start(&home, program);
    let mut client = ModelControlClient::new(service.channel().await);
    let create = v1::CreateFromPathRequest {
        model: "big".to_owned(),
        path: home.model("big.gguf").display().to_string(),
        ..Default::default()
    };
    let mut stream = client.create_from_path(create).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}

    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    let (mut ratio, mut answered, mut gone) = (Samples::default(), Samples::default(), Samples::default());
    let mut freed = 0;
    // The first of each reads the file into the page cache, and is not counted.
    for round in 0..=setting("ROUNDS", 15) {
        let begun = Instant::now();
        load(&mut client).await;
        let our = begun.elapsed().as_secs_f64() * 1e3;
        let pid = processes(&home.store("blobs"))[0];
        let (arguments, variables) = (arguments(pid), variables(pid));
        let begun = Instant::now();
        let unload = v1::UnloadRequest {
            model: "big".to_owned(),
            ..Default::default()
        };
        let result = client.unload(unload).await.unwrap().into_inner().result.unwrap();
        let left = begun.elapsed().as_secs_f64() * 1e3;
        while Path::new(&format!("/proc/{pid}")).exists() {
            tokio::time::sleep(LOOK).await;
        }
        let returned = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let running = Plain::start(program, &arguments, &variables).await;
        let its = begun.elapsed().as_secs_f64() * 1e3;
        drop(running);
        if round == 0 {
            continue;
        }
        freed = result.freed_bytes;
        ours.push(our);
        plain.push(its);
        ratio.push(our / its);
        answered.push(left);
        gone.push(returned);
    }
    row("the model's file", mib(size), "");
    row("load, from the call to its result", ours.of("ms"), "");
    row("plain llama-server, start to first health answer", plain.of("ms"), "");
    row(
        "load ÷ plain, of medians",
        format!("{:.3}", ours.median() / plain.median()),
        "at most 1.1",
    );
    row("load ÷ plain, round by round", ratio.of(""), "");
    row(
        "unload, from the call to its answer",
        answered.of("ms"),
        "at most 1000 ms",
    );
    row("  until the process is gone", gone.of("ms"), "at most 1000 ms");
    row("  what it says it freed", mib(freed.unsigned_abs()), "");
}

async fn kills(program: &Path) {
    let home = Home::new();
    fs::write(home.model("big.gguf"), SHAPE.file()).unwrap();
    let flags = [
        format!("--store={}", home.store("").display()),
        "--model=big".to_owned(),
        format!("--model-path={}", home.model("big.gguf").display()),
        "--level=loaded".to_owned(),
    ];
    let entry = json!([{ "name": "one", "framework": "embedded", "backend_argv": flags }]);
    fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
    let service = start(&home, program);
    let channel = service.channel().await;
    let mut client = ModelControlClient::new(channel.clone());
    let mut watch = watch(&channel).await;
    until(&mut watch, SERVING).await;
    let (mut flipped, mut back) = (Samples::default(), Samples::default());
    let mut more = 0;
    for _ in 0..setting("KILLS", 5) {
        let pid = processes(&home.store("blobs"))[0];
        let begun = Instant::now();
        kill(pid);
        until(&mut watch, NOT_SERVING).await;
        flipped.push(begun.elapsed().as_secs_f64() * 1e3);
        until(&mut watch, SERVING).await;
        back.push(begun.elapsed().as_secs_f64() * 1e3);
        while timeout(QUIET, watch.message()).await.is_ok() {
            more += 1;
        }
        // It forgets that it ended, so that each is the first time.
        let unload = v1::UnloadRequest {
            model: "big".to_owned(),
            ..Default::default()
        };
        client.unload(unload).await.unwrap();
        load(&mut client).await;
        until(&mut watch, SERVING).await;
    }
    row(
        "health says so after the process is killed",
        flipped.of("ms"),
        "at most 2000 ms",
    );
    row("  and is SERVING again", back.of("ms"), "");
    row("  changes beside these two", more, "0: it does not flap");
}

fn start(home: &Home, program: &Path) -> Service {
    let mut command = home.command(&support::program());
    command.arg("--llama-server").arg(program);
    Service::start(command)
}

async fn load(client: &mut ModelControlClient<Channel>) {
    let request = v1::LoadRequest {
        model: "big".to_owned(),
        pin: true,
        ..Default::default()
    };
    let mut stream = client.load(request).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
}

async fn watch(channel: &Channel) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest {
        service: "backends/one/models/big".to_owned(),
    };
    let watch = HealthClient::new(channel.clone()).watch(request).await;
    watch.unwrap().into_inner()
}

async fn until(watch: &mut Streaming<HealthCheckResponse>, status: i32) {
    let seen = async { while watch.message().await.unwrap().expect("it stays open").status != status {} };
    timeout(PATIENCE, seen).await.expect("health changes");
}

/// What the service told its `llama-server`.
fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words = line
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<_> = words.skip_while(|word| word != "--model").collect();
    words.pop();
    words
}

/// The variables that the service gave it.
fn variables(pid: u32) -> Vec<(OsString, OsString)> {
    let all = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let variables = all.split(|byte| *byte == 0).filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&variable[..equals], &variable[equals + 1..]);
        Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
    });
    variables.collect()
}

// === impl Plain ===

impl Plain {
    /// Until it answers that it is healthy.
    async fn start(program: &Path, arguments: &[String], variables: &[(OsString, OsString)]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let port: u16 = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            if let Some((_, port)) = line.split_once("listening on http://127.0.0.1:") {
                break port.trim().parse().unwrap();
            }
        };
        let plain = Self { child, _log: log };
        while !healthy(port) {
            tokio::time::sleep(LOOK).await;
        }
        plain
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn healthy(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}
