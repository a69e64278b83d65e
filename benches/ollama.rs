//! What the service adds to a real Ollama on loopback, by ratios in one run against the same Ollama without it.
//!
//! `MODEL_CONTROL_TEST_OLLAMA` names the program, else it is found on the PATH; without it there is nothing to do.
//! `MODEL_CONTROL_BENCH_PART` is the one of the five parts to run (0, all): 1 lists, 2 EnsureReady, 3 creates of a GGUF,
//! 4 creates of a sharded safetensors model, 5 a pull. `MODEL_CONTROL_BENCH_MIB` is the size of what is created (2048; four
//! times as much disk is needed), `MODEL_CONTROL_BENCH_ROUNDS` how often works are done in turns.
//! `MODEL_CONTROL_BENCH_PYTHON` names a Python that has ollama-python; without it creates are compared with Ollama's own
//! client alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "ollama/create.rs"]
mod create;
#[path = "ollama/empty.rs"]
mod empty;
#[path = "ollama/ensure.rs"]
mod ensure;
#[path = "ollama/list.rs"]
mod list;
#[path = "../tests/support/missing.rs"]
mod missing;
#[path = "ollama/models.rs"]
mod models;
#[path = "../tests/support/ollama.rs"]
mod ollama;
#[path = "ollama/pull.rs"]
mod pull;
#[path = "../tests/support/registry.rs"]
mod registry;
#[path = "../tests/support/service.rs"]
mod service;
mod support;

use std::{env, fs};

use model_control::grpc::proto::v1::model_control_client::ModelControlClient;
use rustls::crypto::ring;
use serde_json::json;
use tonic::transport::Channel;

use self::{
    ollama::Server,
    service::{Home, Service},
    support::{row, setting},
};

type Client = ModelControlClient<Channel>;

/// An Ollama, and a service in front of it. What is dropped first ends first.
struct World {
    service: Service,
    server: Server,
    home: Home,
}

fn main() {
    if env::args().any(|argument| argument == "--serve") {
        return empty::serve();
    }
    support::run("ollama: the service in front of one, and without it", async {
        if ollama::program().is_none() {
            return;
        }
        let part = setting("PART", 0);
        let chosen = |number| part == 0 || part == number;
        told_load();
        if chosen(1) {
            list::bench().await;
        }
        if chosen(2) {
            ensure::bench().await;
        }
        if chosen(3) {
            create::gguf().await;
        }
        if chosen(4) {
            create::safetensors().await;
        }
        if chosen(5) {
            pull::bench().await;
        }
        told_load();
    });
}

/// Who else is at work on the machine.
fn told_load() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    row("load of the machine, 1, 5 and 15 minutes", load.trim(), "");
}

// === impl World ===

impl World {
    /// Their models lie on the disk of the build.
    async fn new(flags: &[&str]) -> (Self, Client) {
        let home = Home::new();
        let models = home.path("ollama");
        fs::create_dir(&models).unwrap();
        let server = Server::on(&models).expect("it was there");
        let entry =
            json!([{"name": "one", "framework": "ollama", "backend_argv": [format!("--host={}", server.url())]}]);
        fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
        let mut command = home.command(&support::program());
        command.args(flags);
        let service = Service::start(command);
        let client = ModelControlClient::new(service.channel().await);
        let world = Self { service, server, home };
        (world, client)
    }

    /// A small model, and so many copies of it that there are `count`.
    fn fill(&self, count: usize) {
        let bytes = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny.gguf")).unwrap();
        let digest = model_control::model::Digest::of(&bytes);
        fs::create_dir_all(self.server.models().join("blobs")).unwrap();
        let blob = self
            .server
            .models()
            .join("blobs")
            .join(digest.to_string().replace(':', "-"));
        fs::write(blob, &bytes).unwrap();
        let create = json!({"model": "model-0", "files": {"tiny.gguf": digest.to_string()}, "stream": false});
        self.server.post("/api/create", &create).unwrap();
        for number in 1..count {
            let copy = json!({"source": "model-0", "destination": format!("model-{number}")});
            let (status, _) = self.server.ask("POST", "/api/copy", &copy.to_string()).unwrap();
            assert_eq!(status, 200);
        }
    }
}

/// A client of the bare Ollama: connections kept, nothing between.
fn bare() -> reqwest::Client {
    // Plain http needs no provider of TLS, and the client wants one all the same.
    let _installed_already = ring::default_provider().install_default().is_err();
    reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap()
}
