//! Callers that leave, cancels, and the end of the service in the middle of a transfer.

use std::time::{Duration, Instant};

use super::{
    calls,
    hub::gguf,
    support::*,
    world::{World, progress, until},
};
use model_control::model::Digest;

/// What a transfer may take to stop.
const SECOND: Duration = Duration::from_secs(1);

/// The newest operation's id.
pub(crate) async fn newest(world: &World) -> String {
    let listed = soon(world.operations.clone().list(v1::OperationsListRequest::default())).await;
    let listed = listed.unwrap().into_inner().operations;
    let ids = listed.into_iter().map(|operation| operation.operation_id);
    ids.max().unwrap()
}

/// The newest operation, once it has ended.
pub(crate) async fn ended(world: &World) -> v1::Operation {
    let newest = newest(world).await;
    let watch = calls::watch(&mut world.operations.clone(), &newest).await.unwrap();
    calls::ended(watch).await.unwrap()
}

fn with(mode: v1::OnDisconnect, request: v1::PullRequest) -> v1::PullRequest {
    v1::PullRequest {
        on_disconnect: mode.into(),
        ..request
    }
}

/// What came is there, and the next pull asks for the rest alone.
async fn assert_resumed(world: World, file: &[u8], came: usize) {
    let digest = Digest::of(file);
    assert!(world.partial(&digest).exists());
    assert!(world.partial(&digest).with_extension("json").exists());
    let before = world.hub.asked_bytes(&digest);
    world.mends("m").await;
    assert_eq!(world.hub.asked_bytes(&digest) - before, file.len() - came);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_caller_that_leaves_stops_the_transfer() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let request = with(v1::OnDisconnect::Cancel, world.request("m"));
    let (stored, listed) = (world.stored(), world.list().await);
    let (one, _gate, came) = world.half_way(&file, request.clone()).await;
    let mut two = world.begin(request).await;
    assert!(progress(soon(two.message()).await.unwrap().unwrap()).joined);
    drop(one);
    // Somebody still wants it.
    let id = newest(&world).await;
    let operation = calls::get(&mut world.operations.clone(), &id).await.unwrap();
    assert_eq!(operation.state(), v1::operation::State::Running);
    assert_eq!(world.hub.double.held(), super::world::CONNECTIONS);
    let start = Instant::now();
    drop(two);
    until(|| world.hub.double.held() == 0).await;
    let operation = ended(&world).await;
    let took = start.elapsed();
    assert!(took < SECOND, "{took:?}");
    assert_eq!(operation.state(), v1::operation::State::Cancelled);
    assert_eq!(calls::failure(&operation).reason, "OPERATION_CANCELLED");
    world.assert_whole(&stored, &listed).await;
    assert_resumed(world, &file, came).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_transfer() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let (stored, listed) = (world.stored(), world.list().await);
    let (mut stream, _gate, came) = world.half_way(&file, world.request("m")).await;
    let mut joined = world.begin(world.request("m")).await;
    let id = progress(soon(joined.message()).await.unwrap().unwrap()).operation_id;
    let start = Instant::now();
    calls::cancel(&mut world.operations.clone(), &id).await.unwrap();
    until(|| world.hub.double.held() == 0).await;
    for stream in [&mut stream, &mut joined] {
        let status = loop {
            match soon(stream.message()).await {
                Ok(message) => assert!(message.is_some(), "it succeeded"),
                Err(status) => break status,
            }
        };
        assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
    }
    let took = start.elapsed();
    assert!(took < SECOND, "{took:?}");
    world.assert_whole(&stored, &listed).await;
    assert_resumed(world, &file, came).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_a_pull_that_waits_for_its_registry() {
    let world = World::stocked().await;
    world.hub.script(|_| Some(super::double::Answer::raw("").then_hang()));
    let mut stream = world.begin(world.request("m")).await;
    let id = progress(soon(stream.message()).await.unwrap().unwrap()).operation_id;
    until(|| world.hub.double.held() == 1).await;
    let start = Instant::now();
    calls::cancel(&mut world.operations.clone(), &id).await.unwrap();
    assert_eq!(ended(&world).await.state(), v1::operation::State::Cancelled);
    until(|| world.hub.double.held() == 0).await;
    let took = start.elapsed();
    assert!(took < SECOND, "{took:?}");
    world.mends("m").await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_leave_goes_on_unless_all_asked_to_cancel_it() {
    use v1::OnDisconnect::{Cancel, Keep, Unspecified};
    for modes in [[Unspecified, Keep], [Cancel, Keep], [Keep, Cancel]] {
        let (world, file) = (World::stocked().await, gguf(1, 200));
        let request = |mode| with(mode, world.request("m"));
        let (one, gate, _) = world.half_way(&file, request(modes[0])).await;
        let mut two = world.begin(request(modes[1])).await;
        assert!(progress(soon(two.message()).await.unwrap().unwrap()).joined);
        drop((one, two));
        assert_eq!(world.hub.double.held(), super::world::CONNECTIONS);
        gate.open();
        assert_eq!(
            ended(&world).await.state(),
            v1::operation::State::Succeeded,
            "{modes:?}"
        );
        assert_eq!(world.hub.asked_bytes(&Digest::of(&file)), file.len());
        assert_eq!(world.list().await.len(), 2);
        world.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_service_goes_on_where_the_last_one_stopped() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let (stored, listed) = (world.stored(), world.list().await);
    let (mut stream, _gate, came) = world.half_way(&file, world.request("m")).await;
    let start = Instant::now();
    let (world, status) = tokio::join!(world.again(), async {
        loop {
            match soon(stream.message()).await {
                Ok(message) => assert!(message.is_some(), "it succeeded"),
                Err(status) => break status,
            }
        }
    });
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    assert_eq!(calls::told(&status), calls::is(Code::Unavailable, "SHUTTING_DOWN"));
    world.assert_whole(&stored, &listed).await;
    assert_resumed(world, &file, came).await;
}
