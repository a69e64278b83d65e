//! Operations outlive the process: the service is killed or stopped in the middle of work, starts again on the same state
//! directory, and a caller finds its operation by the id that it was told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "journal/asked_again.rs"]
mod asked_again;
#[path = "journal/ended.rs"]
mod ended;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/service.rs"]
mod service;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/soon.rs"]
mod soon;
#[path = "journal/taken_up.rs"]
mod taken_up;

use std::path::Path;

use model_control::grpc::proto::v1::{
    CreateFromPathRequest, Operation, OperationsGetRequest, OperationsListRequest, OperationsWatchRequest, Progress,
    create_from_path_response, model_control_client::ModelControlClient, operation::State,
    operations_client::OperationsClient, operations_watch_response::Event,
};
use tonic::{Status, transport::Channel};

use self::service::{Home, Service};
use self::soon::soon;

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");

fn start(home: &Home) -> Service {
    home.start(Path::new(PROGRAM))
}

async fn client(service: &Service) -> ModelControlClient<Channel> {
    ModelControlClient::new(service.channel().await)
}

async fn operations(service: &Service) -> OperationsClient<Channel> {
    OperationsClient::new(service.channel().await)
}

async fn get(service: &Service, id: &str) -> Result<Operation, Status> {
    let request = OperationsGetRequest {
        operation_id: id.to_owned(),
    };
    let got = soon(operations(service).await.get(request)).await?;
    Ok(got.into_inner().operation.unwrap())
}

/// Newest first.
async fn list(service: &Service) -> Vec<Operation> {
    let request = OperationsListRequest::default();
    let listed = soon(operations(service).await.list(request)).await.unwrap();
    listed.into_inner().operations
}

/// The snapshots from after this sequence to the end, and the end.
async fn watch(service: &Service, id: &str, after_sequence: i64) -> (Vec<Progress>, Operation) {
    let request = OperationsWatchRequest {
        operation_id: id.to_owned(),
        after_sequence,
    };
    let mut stream = soon(operations(service).await.watch(request))
        .await
        .unwrap()
        .into_inner();
    let mut told = Vec::new();
    loop {
        let message = soon(stream.message()).await.unwrap().expect("the end is told");
        match message.event.unwrap() {
            Event::Progress(progress) => told.push(progress),
            Event::Operation(operation) => return (told, operation),
        }
    }
}

/// Creates a model to the end: the last snapshot's operation and sequence, and what came of it.
async fn create(service: &Service, home: &Home, model: &str, file: &str) -> Result<String, Status> {
    let request = CreateFromPathRequest {
        model: model.to_owned(),
        path: home.model(file).display().to_string(),
        ..Default::default()
    };
    let mut stream = soon(client(service).await.create_from_path(request))
        .await?
        .into_inner();
    let mut id = String::new();
    while let Some(message) = soon(stream.message()).await? {
        if let create_from_path_response::Event::Progress(progress) = message.event.unwrap() {
            id = progress.operation_id;
        }
    }
    Ok(id)
}

/// An ended one tells the same before and after a restart.
fn same(before: &Operation, after: &Operation) {
    let mut before = before.clone();
    // Nobody follows it any more.
    before.subscriber_count = 0;
    assert_eq!(before, *after);
}

fn state(operation: &Operation) -> State {
    operation.state()
}
