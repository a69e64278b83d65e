//! A service with its page of metrics, on a configuration of the test's.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use model_control::grpc::proto::v1::model_control_client::ModelControlClient;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{interval, timeout},
};
use tonic::transport::Channel;

use super::{
    exposed::Exposed,
    llama,
    service::{Home, Service},
};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
/// No step takes longer: the test fails then.
pub(super) const LONG: Duration = Duration::from_mins(1);

/// A service that is watched.
pub(super) struct Scene {
    pub(super) home: Home,
    pub(super) service: Service,
}

// === impl Scene ===

impl Scene {
    pub(super) fn start(entries: &Value, flags: &[&str]) -> Self {
        let home = Home::new();
        fs::write(home.path("configs.yaml"), entries.to_string()).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "serve",
                "--listen=127.0.0.1:0",
                "--metrics-listen=127.0.0.1:0",
                "--probe-interval=200ms",
            ])
            .args(flags)
            .arg("--config")
            .arg(home.path("configs.yaml"))
            .arg("--state-dir")
            .arg(home.path("state"))
            .arg("--model-root")
            .arg(home.path("models"))
            .env_clear()
            .env("HOME", home.path(""));
        if let Some(program) = llama::program("llama-server") {
            command.arg("--llama-server").arg(program);
        }
        let service = Service::start(command);
        Self { home, service }
    }

    pub(super) async fn client(&self) -> ModelControlClient<Channel> {
        ModelControlClient::new(self.service.channel().await)
    }

    pub(super) fn write(&self, text: &str) {
        let new = self.home.path("configs.yaml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.home.path("configs.yaml")).unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.service.pid().cast_signed()).unwrap(), signal).unwrap();
    }

    pub(super) async fn metrics(&self) -> Exposed {
        let (status, text) = get(self.service.metrics(), "/metrics").await.unwrap();
        assert_eq!(status, 200);
        Exposed::read(&text)
    }

    /// Scrapes until it is so.
    pub(super) async fn until(&self, so: impl Fn(&Exposed) -> bool) -> Exposed {
        let (mut looks, mut last) = (interval(Duration::from_millis(20)), None);
        let seen = async {
            loop {
                looks.tick().await;
                let metrics = self.metrics().await;
                if so(&metrics) {
                    return metrics;
                }
                last = Some(metrics);
            }
        };
        let seen = timeout(LONG, seen).await.ok();
        seen.unwrap_or_else(|| panic!("it does not come so far: {last:#?}"))
    }
}

/// Status and body; an error when nobody answers.
pub(super) async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let asked = async {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let answer: std::io::Result<String> = timeout(LONG, asked).await.unwrap();
    let answer = answer?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, body.to_owned()))
}
