//! Callers that leave a create in its middle, and deadlines that pass during it. Each create is the real engine's.

use std::collections::BTreeMap;

use super::{
    held::{scene, standing},
    scene::{Scene, sparse},
    support::*,
};

/// The one operation, once it has ended.
async fn ended(scene: &Scene) -> v1::Operation {
    let mut operations = scene.service.operations().await;
    let listed = soon(operations.list(v1::OperationsListRequest::default()))
        .await
        .unwrap();
    let [operation] = &listed.into_inner().operations[..] else {
        panic!("one operation")
    };
    let watch = v1::OperationsWatchRequest {
        operation_id: operation.operation_id.clone(),
        after_sequence: 0,
    };
    let mut stream = soon(operations.watch(watch)).await.unwrap().into_inner();
    while let Some(message) = soon(stream.message()).await.unwrap() {
        if let Some(v1::operations_watch_response::Event::Operation(operation)) = message.event {
            return operation;
        }
    }
    panic!("no end")
}

async fn running(scene: &Scene) -> bool {
    let request = v1::OperationsListRequest {
        state: v1::operation::State::Running.into(),
        ..Default::default()
    };
    let mut operations = scene.service.operations().await;
    let listed = soon(operations.list(request)).await.unwrap().into_inner();
    listed.operations.len() == 1
}

fn with(request: v1::CreateFromPathRequest, mode: v1::OnDisconnect) -> v1::CreateFromPathRequest {
    v1::CreateFromPathRequest {
        on_disconnect: mode.into(),
        ..request
    }
}

async fn assert_cancelled(scene: &mut Scene) {
    let operation = ended(scene).await;
    assert_eq!(operation.state(), v1::operation::State::Cancelled);
    let Some(v1::operation::Outcome::Failure(failure)) = operation.outcome else {
        panic!("a failure")
    };
    assert_eq!(failure.reason, "OPERATION_CANCELLED");
    scene.assert_clean(&BTreeMap::new(), &[]).await;
}

async fn assert_made(scene: &mut Scene) {
    let operation = ended(scene).await;
    assert_eq!(operation.state(), v1::operation::State::Succeeded);
    let Some(v1::operation::Outcome::CreateFromPath(result)) = operation.outcome else {
        panic!("a result")
    };
    assert_eq!(scene.list().await, [result.model.unwrap()]);
    assert_eq!(scene.unfinished(), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_leaves_the_work() {
    let (mut scene, hold, request) = scene().await;
    for mode in [v1::OnDisconnect::Unspecified, v1::OnDisconnect::Keep] {
        // The second joins what the first has left.
        drop(standing(&mut scene, with(request.clone(), mode)).await);
        assert!(running(&scene).await);
    }
    hold.release();
    assert_made(&mut scene).await;
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_connection_breaks_leaves_the_work() {
    let (mut scene, hold, request) = scene().await;
    let kept = std::mem::replace(&mut scene.client, scene.service.client().await);
    let stream = standing(&mut scene, request).await;
    // The only clones of the channel: the connection goes with them.
    drop((stream, std::mem::replace(&mut scene.client, kept)));
    hold.release();
    assert_made(&mut scene).await;
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_caller_that_wants_it_cancelled_takes_it_away() {
    let (mut scene, hold, request) = scene().await;
    let request = with(request, v1::OnDisconnect::Cancel);
    let first = standing(&mut scene, request.clone()).await;
    let second = standing(&mut scene, request).await;
    drop(first);
    assert!(running(&scene).await);
    drop(second);
    assert_cancelled(&mut scene).await;
    hold.release();
    scene.alive().await;
}

/// Not held: bytes flow while the caller leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_copy_stops_when_its_caller_leaves() {
    let mut scene = Scene::new().await;
    let path = scene.root("large.gguf");
    sparse(&path, 2 << 30);
    let request = with(create("m", &path), v1::OnDisconnect::Cancel);
    let mut stream = soon(scene.client.create_from_path(request)).await.unwrap().into_inner();
    loop {
        let message = soon(stream.message()).await.unwrap().expect("it takes longer");
        let Some(v1::create_from_path_response::Event::Progress(progress)) = message.event else {
            panic!("it takes longer")
        };
        if let Some(v1::progress::Phase::Uploading(_)) = progress.phase {
            break;
        }
    }
    drop(stream);
    assert_cancelled(&mut scene).await;
    scene.alive().await;
}

/// A deadline that passes while the create stands still.
async fn deadline(mode: v1::OnDisconnect) {
    let (mut scene, hold, request) = scene().await;
    let mut request = Request::new(with(request, mode));
    request.metadata_mut().insert("grpc-timeout", "2S".parse().unwrap());
    let mut stream = standing(&mut scene, request).await;
    let status = loop {
        match soon(stream.message()).await {
            Ok(message) => assert!(message.is_some(), "it stands still"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    if mode == v1::OnDisconnect::Cancel {
        assert_cancelled(&mut scene).await;
        hold.release();
    } else {
        assert!(running(&scene).await);
        hold.release();
        assert_made(&mut scene).await;
    }
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_leaves_the_work() {
    deadline(v1::OnDisconnect::Keep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_takes_the_work_away_when_that_was_asked_for() {
    deadline(v1::OnDisconnect::Cancel).await;
}
