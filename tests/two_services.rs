//! Two services on one store: the second says so and ends, the first notices nothing, and who comes after it finds all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/service.rs"]
mod service;

use std::{fs, path::Path, process::Stdio};

use model_control::grpc::proto::v1::{CreateFromPathRequest, ListRequest, model_control_client::ModelControlClient};

use self::service::{Home, Service};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");

async fn names(service: &Service) -> Vec<String> {
    let mut client = ModelControlClient::new(service.channel().await);
    let listed = client.list(ListRequest::default()).await.unwrap().into_inner();
    listed.models.into_iter().map(|model| model.name).collect()
}

async fn create(service: &Service, home: &Home, model: &str) {
    let request = CreateFromPathRequest {
        model: model.to_owned(),
        path: home.model("tiny.gguf").display().to_string(),
        ..Default::default()
    };
    let mut client = ModelControlClient::new(service.channel().await);
    let mut stream = client.create_from_path(request).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_has_one_service_at_a_time() {
    let home = Home::new();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf");
    fs::copy(tiny, home.model("tiny.gguf")).unwrap();
    let first = home.start(Path::new(PROGRAM));
    create(&first, &home, "a").await;

    let mut second = home.command(Path::new(PROGRAM));
    second.stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || second.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{said}");
    assert!(
        said.contains(&format!("in use by another process (pid {})", first.pid())),
        "{said}"
    );

    create(&first, &home, "b").await;
    assert_eq!(names(&first).await, ["a:latest", "b:latest"]);
    // A kill leaves no lock.
    first.kill();
    let third = home.start(Path::new(PROGRAM));
    assert_eq!(names(&third).await, ["a:latest", "b:latest"]);
}
