//! An engine that is away, goes away in the middle, and comes back.

use super::{
    calls,
    case::{Need, cases},
    pull::big,
    support::{Code, soon, v1},
    world::{Engine, Ground, World, tiny},
};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

cases![outage =>
    an_engine_that_is_away_at_start_is_told_and_seen_later [Outage, Registry],
    a_pull_that_loses_its_engine_ends_with_a_reason [Outage, Registry],
    an_engine_that_comes_back_has_its_models [Outage, Registry],
    an_engine_that_does_not_answer_is_not_ready [Outage, Registry],
];

async fn an_engine_that_is_away_at_start_is_told_and_seen_later(mut ground: Ground) {
    ground.down().await;
    let mut world = ground.start().await;
    world.health("backends/one", NOT_SERVING).await;
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    let mut client = world.client.clone();
    let request = v1::ListRequest {
        backend: "one".into(),
        ..Default::default()
    };
    let mut answers = vec![
        soon(client.list(v1::ListRequest::default())).await.unwrap_err(),
        soon(client.list(request)).await.unwrap_err(),
        calls::ensured(&mut client, calls::ensure(&name)).await.unwrap_err(),
        world.pull(&name).await.unwrap_err(),
    ];
    if world.ground.kind.has(Need::Create) {
        answers.push(world.create("m", &tiny(0)).await.unwrap_err());
    }
    for status in answers {
        assert_eq!(
            calls::told(&status),
            calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
            "{status:?}"
        );
        assert!(calls::retry_delay(&status).is_some(), "{status:?}");
    }
    let described = soon(client.describe(v1::DescribeRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(described.backends[0].state(), v1::backend::State::Unreachable);
    assert_eq!(
        described.backends[0].failure.as_ref().unwrap().reason,
        "BACKEND_UNREACHABLE"
    );

    world.ground.up().await;
    world.health("backends/one", SERVING).await;
    assert!(world.pull(&name).await.unwrap().changed);
}

async fn a_pull_that_loses_its_engine_ends_with_a_reason(ground: Ground) {
    let mut world = ground.start().await;
    let file = big(&world);
    world.ground.publish("m", &[("model", &file)]).await;
    let name = world.ground.held_name("m");
    let mut stream = soon(world.client.clone().pull(World::request(&name)))
        .await
        .unwrap()
        .into_inner();
    loop {
        let message = soon(stream.message()).await.unwrap().unwrap();
        let Some(v1::pull_response::Event::Progress(progress)) = message.event else {
            panic!("no result yet")
        };
        if matches!(progress.phase, Some(v1::progress::Phase::Downloading(_))) {
            break;
        }
    }
    world.ground.down().await;
    let status = calls::pulled(stream).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Aborted, "INTERRUPTED"),
        "{status:?}"
    );
    world.ground.gate.open();
    world.ground.up().await;
    world.health("backends/one", SERVING).await;
    assert!(world.listed(&name).await.is_none());
    assert!(world.pull(&name).await.unwrap().changed);
}

async fn an_engine_that_comes_back_has_its_models(ground: Ground) {
    let mut world = ground.start().await;
    let digest = world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    world.pull(&name).await.unwrap();
    world.health(&format!("backends/one/models/{name}"), SERVING).await;
    world.ground.down().await;
    world.health("backends/one", NOT_SERVING).await;
    world.health("", NOT_SERVING).await;
    world.ground.up().await;
    world.health("backends/one", SERVING).await;
    assert_eq!(world.list().await[0].digest, digest);
}

/// It accepts connections and says nothing.
async fn an_engine_that_does_not_answer_is_not_ready(ground: Ground) {
    let world = ground.start().await;
    world.health("backends/one", SERVING).await;
    match &world.ground.engine {
        Engine::Double(double) => double.be(super::ollama_double::Mode::Deaf),
        Engine::Ollama(server) => server.stop(),
        Engine::Embedded => unreachable!(),
    }
    // Who asks meanwhile is answered all the same, and learns what health will say.
    let request = v1::ListRequest::default();
    let status = soon(world.client.clone().list(request)).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
        "{status:?}"
    );
    world.health("backends/one", NOT_SERVING).await;
    match &world.ground.engine {
        Engine::Double(double) => double.be(super::ollama_double::Mode::Ollama),
        Engine::Ollama(server) => server.cont(),
        Engine::Embedded => unreachable!(),
    }
    world.health("backends/one", SERVING).await;
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
}
