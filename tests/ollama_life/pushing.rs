//! What is pushed lies in the registry, whole.

use model_control::{
    backend::{Backend as _, Cancelled, Kind, Next, PushSpec, registries::AllowList},
    model::{Event, ImportOptions, Phase},
};

use super::{
    models::tiny,
    registry::Registry,
    world::{World, copy, ended, name, soon},
};

fn push(text: &str) -> PushSpec {
    PushSpec {
        name: name(text),
        insecure: true,
    }
}

fn allow(hosts: &[&str]) -> AllowList {
    AllowList(
        hosts
            .iter()
            .map(|host| format!("http://{host}").parse().unwrap())
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_arrives() {
    let Some(registry) = Registry::start() else { return };
    let host = registry.address.to_string();
    let Some(world) = World::with(&[], allow(&[&host])) else {
        return;
    };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    let there = format!("{host}/team/tiny:v1");
    soon(world.port.copy(&copy("tiny", &there))).await.unwrap();

    let mut call = world.port.push(push(&there)).await.unwrap();
    let mut phases = Vec::new();
    let mut layers = Vec::new();
    let done = loop {
        match soon(call.next()).await {
            Next::Event(Event::Entered(phase)) if phases.last() != Some(&phase) => phases.push(phase),
            Next::Event(Event::Layer(layer)) => layers.push(layer.digest),
            Next::Event(_) => {}
            Next::Ended(done) => break done.unwrap(),
        }
    };
    assert_eq!(phases, [Phase::Resolving, Phase::Uploading(Vec::new()), Phase::Writing]);
    assert!(!layers.is_empty());
    let url = format!("http://{host}/v2/team/tiny/manifests/v1");
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
    let accept = "application/vnd.docker.distribution.manifest.v2+json";
    let answer = answer.header("Accept", accept).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Ollama writes the manifest anew: the registry's digest is not the listed one.
    let digest = answer.headers()["docker-content-digest"].to_str().unwrap().to_owned();
    assert_ne!(world.digest(&there).await.unwrap().to_string(), digest);
    assert!(done.changed && done.digest.is_none());
    // Once more: everything is there.
    ended(world.port.push(push(&there)).await.unwrap()).await.unwrap();

    let freed = soon(world.port.delete(&name(&there))).await;
    assert_eq!(freed.unwrap(), 0, "`tiny` has all of it");
    let none = ended(world.port.push(push(&there)).await.unwrap()).await.unwrap_err();
    assert_eq!(none.kind, Kind::NotFound, "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_cannot_be_says_why() {
    let Some(world) = World::with(&[], allow(&["127.0.0.1:1"])) else {
        return;
    };
    world
        .create("127.0.0.1:1/n/tiny", &tiny(), ImportOptions::default())
        .await;
    let error = ended(world.port.push(push("127.0.0.1:1/n/tiny")).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::RegistryUnreachable, "{error}");
    let Err(error) = world.port.push(push("elsewhere.example/n/tiny")).await else {
        panic!()
    };
    assert_eq!(error.kind, Kind::RegistryNotAllowed, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_left_stops_and_the_next_one_arrives() {
    // It takes connections and says nothing.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = deaf.local_addr().unwrap().to_string();
    let Some(registry) = Registry::start() else { return };
    let real = registry.address.to_string();
    let Some(mut world) = World::with(&[], allow(&[&host, &real])) else {
        return;
    };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    for host in [&host, &real] {
        let there = format!("{host}/n/tiny");
        soon(world.port.copy(&copy("tiny", &there))).await.unwrap();
    }
    let mut call = world.port.push(push(&format!("{host}/n/tiny"))).await.unwrap();
    let asked = soon(deaf.accept()).await.unwrap();
    assert!(matches!(soon(call.next()).await, Next::Event(_)));
    assert!(matches!(soon(call.cancel()).await, Cancelled::Stopped));
    drop(asked);
    ended(world.port.push(push(&format!("{real}/n/tiny"))).await.unwrap())
        .await
        .unwrap();
    assert!(!world.server.crashed());
}
