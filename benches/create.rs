//! CreateFromPath of a large file, against what a shell would do: copy it, sync, and hash the copy.
//!
//! `MODEL_CONTROL_BENCH_MIB` is the file's size (2048 by default; three times as much disk is needed),
//! `MODEL_CONTROL_BENCH_ROUNDS` how often both are done in turns (5).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/service.rs"]
mod service;
mod support;

use std::{fs, path::Path, process::Command, time::Instant};

use model_control::grpc::proto::v1::{
    CreateFromPathRequest, ListRequest, create_from_path_response::Event, model_control_client::ModelControlClient,
};
use tonic::transport::Channel;

use self::{
    service::Home,
    support::{Memory, Samples, Watch, mib, row, setting},
};

fn main() {
    support::run("create: a large file over gRPC, and cp && sync && sha256sum", bench());
}

async fn bench() {
    let size = setting("MIB", 2048);
    let home = Home::new();
    let source = home.write_model("big.gguf", size);
    let service = home.start(&support::program());
    let mut client = ModelControlClient::new(service.channel().await);
    client.list(ListRequest::default()).await.unwrap();
    let idle = Memory::of(service.pid());

    let (mut ours, mut shell, mut ratio) = (Samples::default(), Samples::default(), Samples::default());
    let mut anonymous = 0;
    for round in 0..setting("ROUNDS", 5) {
        let mut create = async || {
            let watch = Watch::begin(service.pid());
            let seconds = create(&mut client, &source).await;
            anonymous = anonymous.max(watch.most().anonymous);
            forget(&home);
            seconds
        };
        // Who begins takes turns too.
        let (of_ours, of_shell) = if round % 2 == 0 {
            let of_shell = copy(&source, &home.path("copy"));
            (create().await, of_shell)
        } else {
            (create().await, copy(&source, &home.path("copy")))
        };
        ours.push(of_ours);
        shell.push(of_shell);
        ratio.push(of_ours / of_shell);
    }
    let end = Memory::of(service.pid());
    row(&format!("CreateFromPath of {size} MiB"), ours.of("s"), "");
    row("cp && sync && sha256sum of it", shell.of("s"), "");
    row("the one by the other", ratio.of(""), "at most 0.5");
    row("resident when idle", mib(idle.resident), "");
    let above = |most: u64, before: u64| mib(most.saturating_sub(before));
    row(
        "most resident above that",
        above(end.peak, idle.resident),
        "at most 32 MiB",
    );
    row("most anonymous above idle", above(anonymous, idle.anonymous), "");
}

async fn create(client: &mut ModelControlClient<Channel>, source: &Path) -> f64 {
    let request = CreateFromPathRequest {
        model: "big".to_owned(),
        path: source.display().to_string(),
        ..Default::default()
    };
    let start = Instant::now();
    let mut stream = client.create_from_path(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.event;
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(matches!(last, Some(Event::Result(result)) if result.changed));
    seconds
}

fn copy(source: &Path, to: &Path) -> f64 {
    let start = Instant::now();
    shell(r#"cp "$1" "$2" && sync && sha256sum "$2" > /dev/null"#, &[source, to]);
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_file(to).unwrap();
    shell("sync", &[]);
    seconds
}

/// The model is gone, as if another process had removed it.
fn forget(home: &Home) {
    fs::remove_dir_all(home.store("manifests/registry.ollama.ai")).unwrap();
    for blob in fs::read_dir(home.store("blobs")).unwrap() {
        fs::remove_file(blob.unwrap().path()).unwrap();
    }
    shell("sync", &[]);
}

fn shell(script: &str, arguments: &[&Path]) {
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success());
}
