//! One pull at a time: two that meet at a blob can end Ollama's process.

use model_control::grpc::proto::v1;
use tokio::task::JoinSet;

use super::{
    calls::{self, Client},
    hub::{Gate, Way},
    models::{noise, tiny},
    support::{Code, soon},
    world::{World, until},
};

fn held_head(gate: &Gate) -> Way {
    Way {
        head: Some(gate.clone()),
        ..Way::default()
    }
}

fn held_body(gate: &Gate) -> Way {
    Way {
        body: Some((1000, gate.clone())),
        ..Way::default()
    }
}

/// They come while it goes on, for one model and by both entries.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_are_one_pull() {
    let Some(mut world) = World::new().await else { return };
    let gate = Gate::new();
    let blob = world.hub.publish("m", &[("model", &tiny(0)), ("system", b"Be brief.")]);
    world.hub.way(&blob, held_body(&gate));
    let mut callers = JoinSet::new();
    let mut streams = Vec::new();
    for number in 0..100 {
        if number % 25 == 0 {
            streams.push(Client::new(world.service.channel().await));
        }
        let backend = if number % 2 == 0 { "one" } else { "two" };
        let client = streams.last_mut().unwrap();
        if number % 4 < 2 {
            let request = v1::PullRequest {
                backend: backend.into(),
                ..world.request("m")
            };
            let (stream, first) = calls::pulling(client, request).await;
            assert_eq!(first.joined, number > 0);
            callers.spawn(async { calls::pulled(stream).await.unwrap().model.unwrap().digest });
        } else {
            let request = v1::EnsureReadyRequest {
                backend: backend.into(),
                ..world.ensure("m")
            };
            let mut stream = soon(client.ensure_ready(request)).await.unwrap().into_inner();
            soon(stream.message()).await.unwrap().unwrap();
            callers.spawn(async { calls::ready(stream).await.unwrap().model.unwrap().digest });
        }
    }
    gate.open();
    let told = soon(callers.join_all()).await;
    let listed = world.listed("m").await.unwrap().digest;
    assert_eq!(told, vec![listed; 100]);
    assert_eq!(world.hub.asked(&["/manifests/"]), 1);
    assert_eq!(world.hub.asked(&["HEAD", blob.as_str()]), 1);
    // Here and from where it is sent.
    assert_eq!(world.hub.asked(&["GET", blob.as_str()]), 2);
    assert_eq!(world.hub.asked(&["GET storage", blob.as_str()]), 1);
    assert_eq!(world.server.asked("POST", "/api/pull"), 1);
    world.lives();
}

/// The second would wait for ever in Ollama, and end it by leaving.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_another_asks_for_its_blob_ends_nothing() {
    let Some(mut world) = World::new().await else { return };
    let gate = Gate::new();
    let blob = world.hub.publish("a", &[("model", &tiny(0))]);
    world.hub.publish("b", &[("model", &tiny(0)), ("system", b"b")]);
    world.hub.way(&blob, held_head(&gate));
    let (first, _) = calls::pulling(&mut world.client.clone(), world.request("a")).await;
    world.hub.is_asked(&["HEAD", blob.as_str()], 1).await;
    for backend in ["one", "two", "one"] {
        let request = v1::PullRequest {
            backend: backend.into(),
            on_disconnect: v1::OnDisconnect::Cancel.into(),
            ..world.request("b")
        };
        let (second, told) = calls::pulling(&mut world.client.clone(), request).await;
        let watch = calls::watch(&mut world.operations.clone(), &told.operation_id).await;
        drop(second);
        let ended = calls::ended(watch.unwrap()).await.unwrap();
        assert_eq!(ended.state(), v1::operation::State::Cancelled);
    }
    assert_eq!(world.hub.asked(&["/library/b/"]), 0, "it waited for its turn");
    assert_eq!(world.hub.asked(&["HEAD", blob.as_str()]), 1);
    gate.open();
    assert!(calls::pulled(first).await.unwrap().changed);
    assert!(world.pull("b").await.unwrap().changed);
    assert_eq!(world.server.asked("POST", "/api/pull"), 2);
    world.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_begins_when_the_one_before_is_cancelled() {
    let Some(mut world) = World::new().await else { return };
    let gate = Gate::new();
    let blob = world.hub.publish("a", &[("model", &tiny(0))]);
    world.hub.publish("b", &[("model", &tiny(0)), ("system", b"b")]);
    world.hub.way(&blob, held_head(&gate));
    let (first, told) = calls::pulling(&mut world.client.clone(), world.request("a")).await;
    world.hub.is_asked(&["HEAD", blob.as_str()], 1).await;
    let (second, _) = calls::pulling(&mut world.client.clone(), world.request("b")).await;
    world.cancel(&told.operation_id).await;
    let status = calls::pulled(first).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
    world.hub.is_asked(&["HEAD", blob.as_str()], 2).await;
    gate.open();
    assert!(calls::pulled(second).await.unwrap().changed);
    assert!(world.pull("a").await.unwrap().changed);
    world.lives();
}

/// A head that fails is forgotten before the next pull asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_fails_stops_no_other_pull() {
    let Some(mut world) = World::new().await else { return };
    let gate = Gate::new();
    let blob = world.hub.publish("a", &[("model", &tiny(0))]);
    world.hub.publish("b", &[("model", &tiny(0)), ("system", b"b")]);
    let way = Way {
        head_status: Some(500),
        ..held_head(&gate)
    };
    world.hub.way(&blob, way);
    let (first, _) = calls::pulling(&mut world.client.clone(), world.request("a")).await;
    world.hub.is_asked(&["HEAD", blob.as_str()], 1).await;
    let (second, _) = calls::pulling(&mut world.client.clone(), world.request("b")).await;
    world.hub.way(&blob, Way::default());
    gate.open();
    let status = calls::pulled(first).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Unavailable, "REGISTRY_UNREACHABLE"),
        "{status:?}"
    );
    assert!(calls::pulled(second).await.unwrap().changed);
    world.lives();
}

/// Ten times in the head, and ten in the body: once it has begun that, it asks for no head any more.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_and_asked_again_without_a_pause() {
    let Some(mut world) = World::new().await else { return };
    let blob = world.hub.publish("m", &[("model", &noise(1, 1 << 20))]);
    for number in 0..20 {
        let gate = Gate::new();
        let (way, words) = if number < 10 {
            (held_head(&gate), ["HEAD", blob.as_str()])
        } else {
            (held_body(&gate), ["GET storage", blob.as_str()])
        };
        world.hub.way(&blob, way);
        let before = world.hub.asked(&words);
        let (stream, told) = calls::pulling(&mut world.client.clone(), world.request("m")).await;
        world.hub.is_asked(&words, before + 1).await;
        world.cancel(&told.operation_id).await;
        let status = calls::pulled(stream).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
        world.lives();
    }
    world.hub.way(&blob, Way::default());
    assert!(world.pull("m").await.unwrap().changed);
    world.lives();
}

/// Between the answer and the start of the transfer a connection that closes ends Ollama's process. Each time the partial
/// file has another name, for what is begun asks for no head any more.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_while_its_head_is_answered() {
    let Some(mut world) = World::new().await else { return };
    for number in 0..10 {
        let (head, body) = (Gate::new(), Gate::new());
        let blob = world.hub.publish("m", &[("model", &noise(100 + number, 1 << 20))]);
        let way = Way {
            head: Some(head.clone()),
            body: Some((1000, body)),
            ..Way::default()
        };
        world.hub.way(&blob, way);
        let (stream, told) = calls::pulling(&mut world.client.clone(), world.request("m")).await;
        world.hub.is_asked(&["HEAD", blob.as_str()], 1).await;
        head.open();
        world.cancel(&told.operation_id).await;
        let status = calls::pulled(stream).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
        world.lives();
    }
    assert!(world.server.get("/api/version").is_some());
}

/// It sleeps before another try when it is cancelled: whoever comes then is told that it was cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_of_somebody_else_is_no_failure() {
    let Some(mut world) = World::new().await else { return };
    let blob = world.hub.publish("m", &[("model", &noise(2, 1 << 20))]);
    let way = Way {
        cut: Some(1000),
        ..Way::default()
    };
    world.hub.way(&blob, way);
    let (stream, told) = calls::pulling(&mut world.client.clone(), world.request("m")).await;
    // After its third try, and none is interrupted.
    world.hub.is_asked(&["GET storage", blob.as_str()], 3).await;
    until(|| world.server.log().contains("retrying in 4s")).await;
    world.cancel(&told.operation_id).await;
    drop(stream);
    world.hub.way(&blob, Way::default());
    let mut again = soon(world.client.clone().pull(world.request("m")))
        .await
        .unwrap()
        .into_inner();
    let mut attempts = 0;
    let changed = loop {
        match soon(again.message()).await.unwrap().unwrap().event.unwrap() {
            v1::pull_response::Event::Progress(progress) => attempts = attempts.max(progress.attempt),
            v1::pull_response::Event::Result(result) => break result.changed,
        }
    };
    assert!(changed);
    assert!(attempts > 1, "Ollama told nobody that it was cancelled");
    world.lives();
}
