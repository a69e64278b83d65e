//! From the start of the process to its first answer about health; what it takes when idle; the program's size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/service.rs"]
mod service;
mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use model_control::grpc::proto::health::{HealthCheckRequest, health_client::HealthClient};

use self::{
    service::Home,
    support::{Memory, Samples, mib, row, setting},
};

fn main() {
    support::run("start: one embedded backend, an empty store", bench());
}

async fn bench() {
    let program = support::program();
    let home = Home::new();
    let (mut listening, mut answered) = (Samples::default(), Samples::default());
    let (mut resident, mut anonymous) = (Samples::default(), Samples::default());
    let mut threads = 0;
    for round in 0..setting("ROUNDS", 30) {
        let start = Instant::now();
        let service = home.start(&program);
        listening.push(start.elapsed().as_secs_f64() * 1e3);
        let mut client = HealthClient::new(service.channel().await);
        client.check(HealthCheckRequest::default()).await.unwrap();
        answered.push(start.elapsed().as_secs_f64() * 1e3);
        if round % 10 == 0 {
            // Whatever a start still does is done by then.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let memory = Memory::of(service.pid());
            resident.push(memory.resident as f64 / f64::from(1 << 20));
            anonymous.push(memory.anonymous as f64 / f64::from(1 << 20));
            threads = memory.threads;
        }
    }
    row("start to listening", listening.of("ms"), "");
    row("start to the first health answer", answered.of("ms"), "at most 50 ms");
    row("resident when idle", resident.of("MiB"), "at most 12 MiB");
    row("  of that anonymous", anonymous.of("MiB"), "");
    row("threads when idle", threads, "");
    let size = fs::metadata(&program).unwrap().len();
    row(
        "the program's file",
        format!("{:.2} MB, {}", size as f64 / 1e6, mib(size)),
        "shipped: at most 12 MB",
    );
}
