//! Ollama killed in a pull, started late, and stopped for a while.

use std::time::Duration;

use model_control::grpc::proto::v1;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tonic::{Status, Streaming};

use super::{
    calls,
    hub::{Gate, Way},
    models::noise,
    support::{Code, soon},
    world::{Ground, NOT_SERVING, SERVING, World, assert_clean},
};

fn half(gate: &Gate) -> Way {
    Way {
        body: Some((512 << 10, gate.clone())),
        ..Way::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_whose_ollama_is_killed_ends_with_a_reason() {
    let Some(mut world) = World::new().await else { return };
    world.health("backends/one", SERVING).await;
    let gate = Gate::new();
    let blob = world.hub.publish("m", &[("model", &noise(3, 1 << 20))]);
    world.hub.way(&blob, half(&gate));
    let (stream, first) = calls::pulling(&mut world.client.clone(), world.request("m")).await;
    world.hub.is_asked(&["GET storage", blob.as_str()], 1).await;
    let (waiting, _) = calls::pulling(&mut world.client.clone(), world.request("other")).await;
    world.server.kill();
    let status = tokio::time::timeout(Duration::from_secs(5), calls::pulled(stream))
        .await
        .expect("at once")
        .unwrap_err();
    assert_clean(&status, &world);
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Aborted, "INTERRUPTED"),
        "{status:?}"
    );
    let operation = calls::get(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    assert_eq!(calls::failure(&operation).reason, "INTERRUPTED");
    // Whose turn is next learns that nobody is there.
    let status = calls::pulled(waiting).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
        "{status:?}"
    );
    world.health("backends/one", NOT_SERVING).await;
    world.health("", NOT_SERVING).await;
    world.server.restart();
    world.health("backends/one", SERVING).await;
    gate.open();
    assert!(world.pull("m").await.unwrap().changed);
    world.lives();
}

/// The model of the configuration is brought when there is somebody to bring it.
#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_that_starts_late_is_used_when_it_comes() {
    let Some(mut ground) = Ground::new().await else { return };
    ground.hub.publish("m", &[("model", &noise(4, 1 << 20))]);
    ground.server.kill();
    let model = format!("--model={}", ground.hub.name("m"));
    let mut world = ground.start(&[&model, "--insecure"]).await;
    world.health("backends/one", NOT_SERVING).await;
    let status = calls::ensured(&mut world.client.clone(), world.ensure("m"))
        .await
        .unwrap_err();
    assert_clean(&status, &world);
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
        "{status:?}"
    );
    world.server.restart();
    world.health("", SERVING).await;
    assert!(world.listed("m").await.is_some());
    calls::ensured(&mut world.client.clone(), world.ensure("m"))
        .await
        .unwrap();
    assert_eq!(world.hub.asked(&["/manifests/"]), 1);
    world.lives();
}

/// However long it takes.
async fn pulled(mut stream: Streaming<v1::PullResponse>) -> Result<v1::PullResult, Status> {
    while let Some(message) = soon(stream.message()).await? {
        if let Some(v1::pull_response::Event::Result(result)) = message.event {
            return Ok(result);
        }
    }
    panic!("no result")
}

/// It accepts connections and answers nothing; after a while it goes on.
async fn stopped(world: &mut World, noticed: bool) {
    world.health("backends/one", SERVING).await;
    let gate = Gate::new();
    let blob = world.hub.publish("m", &[("model", &noise(5, 1 << 20))]);
    world.hub.way(&blob, half(&gate));
    let mut pulls = JoinSet::new();
    for _ in 0..10 {
        let (stream, _) = calls::pulling(&mut world.client.clone(), world.request("m")).await;
        pulls.spawn(pulled(stream));
    }
    world.hub.is_asked(&["GET storage", blob.as_str()], 1).await;
    let stopped = Instant::now();
    world.server.stop();
    // Its bytes wait in the kernel.
    gate.open();
    let mut lists = JoinSet::new();
    if noticed {
        world.health("backends/one", NOT_SERVING).await;
        world.health("", NOT_SERVING).await;
        let ended = timeout_at(stopped + Duration::from_mins(1), pulls.join_next()).await;
        assert!(ended.is_err(), "nobody gives up within a minute: {ended:?}");
    } else {
        for _ in 0..10 {
            let mut client = world.client.clone();
            lists.spawn(async move { client.list(v1::ListRequest::default()).await });
        }
        let none = tokio::time::timeout(Duration::from_secs(2), lists.join_next()).await;
        assert!(none.is_err(), "nobody is answered by what is stopped");
    }
    world.server.cont();
    for listed in soon(lists.join_all()).await {
        assert!(listed.is_ok(), "{listed:?}");
    }
    for pulled in soon(pulls.join_all()).await {
        assert!(pulled.unwrap().changed);
    }
    world.health("backends/one", SERVING).await;
    assert!(world.listed("m").await.is_some());
    world.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_stopped_ollama_gets_the_answer_when_it_goes_on() {
    let Some(mut world) = World::new().await else { return };
    stopped(&mut world, false).await;
}

/// Three probes of ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_that_is_stopped_long_is_noticed_and_used_again() {
    let Some(mut world) = World::new().await else { return };
    stopped(&mut world, true).await;
}
