//! What is sent, and what is not.

use model_control::{
    backend::{Backend as _, Kind, PushSpec},
    model::{Digest, Event, Phase},
};

use super::world::{World, name, soon, tiny};

fn sent(passed: &[(String, String, usize)]) -> usize {
    passed.iter().map(|(_, _, bytes)| bytes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_arrives_and_a_second_one_sends_nothing() {
    let Some(world) = World::start().await else { return };
    let name = world.create("team/tiny:v1").await;
    let told = world.push(&name).await;
    let done = told.ended.unwrap();
    let stored = world.stored("one", &name);
    let digest = Digest::of(&stored);
    assert!(done.changed);
    assert_eq!(done.digest.as_ref(), Some(&digest));
    let (bytes, told_digest) = world.at_registry(&name).await.unwrap();
    assert_eq!((bytes, told_digest), (stored, digest.to_string()));

    let mut phases = Vec::new();
    let mut last = std::collections::HashMap::<String, u64>::new();
    for event in &told.events {
        match event {
            Event::Entered(phase) => phases.push(phase.name()),
            Event::Layer(layer) => {
                let before = last.insert(layer.digest.clone(), layer.completed_bytes).unwrap_or(0);
                assert!(layer.completed_bytes >= before, "{layer:?}");
                assert!(layer.completed_bytes <= layer.total_bytes.unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(phases, ["resolving", "uploading", "writing"]);
    let Some(Event::Entered(Phase::Uploading(layers))) = told
        .events
        .iter()
        .find(|event| matches!(event, Event::Entered(Phase::Uploading(_))))
    else {
        panic!("it uploads")
    };
    assert_eq!(layers.len(), world.blobs("one", &name).len());
    for layer in layers {
        assert_eq!(
            last[&layer.digest],
            layer.total_bytes.unwrap(),
            "each layer is told to its end"
        );
    }
    assert!(sent(&world.road.passed()) > tiny().len());

    let again = world.push(&name).await.ended.unwrap();
    assert_eq!((again.changed, again.digest), (false, Some(digest)));
    let passed = world.road.passed();
    assert_eq!(sent(&passed), 0, "{passed:?}");
    assert!(passed.iter().all(|(method, ..)| method == "GET"), "{passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tag_sends_no_blob_and_a_second_repository_mounts_them() {
    let Some(world) = World::start().await else { return };
    let first = world.create("team/tiny:v1").await;
    world.push(&first).await.ended.unwrap();
    world.road.passed();
    let blobs = world.blobs("one", &first).len();

    let tag = world.copy(&first, "team/tiny:v2").await;
    assert!(world.push(&tag).await.ended.unwrap().changed);
    let passed = world.road.passed();
    let of = |wanted: &str| passed.iter().filter(|(method, ..)| method == wanted).count();
    assert_eq!((of("HEAD"), of("POST"), of("PATCH"), of("PUT")), (blobs, 0, 0, 1));

    let other = world.copy(&first, "else/where:v1").await;
    assert!(world.push(&other).await.ended.unwrap().changed);
    let passed = world.road.passed();
    let of = |wanted: &str| passed.iter().filter(|(method, ..)| method == wanted).count();
    assert_eq!((of("HEAD"), of("POST"), of("PATCH"), of("PUT")), (blobs, blobs, 0, 1));
    assert_eq!(sent(&passed), world.stored("one", &other).len(), "the manifest alone");
    let (bytes, _) = world.at_registry(&other).await.unwrap();
    assert_eq!(bytes, world.stored("one", &first));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_model_was_never_pushed_for_is_sent() {
    let Some(world) = World::start().await else { return };
    let first = world.create("team/tiny:v1").await;
    // Its repository is known here, and has nothing there.
    let other = world.copy(&first, "else/where:v1").await;
    assert!(world.push(&other).await.ended.unwrap().changed);
    assert!(sent(&world.road.passed()) > tiny().len());
    assert!(world.at_registry(&other).await.is_some());
    assert!(world.at_registry(&first).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_allowed_is_told_before_anything_is_sent() {
    let Some(world) = World::start().await else { return };
    let none = world.push(&world.name("team/none")).await.ended.unwrap_err();
    assert_eq!(none.kind, Kind::NotFound, "{none}");
    let direct = format!("{}/team/tiny", world.registry.address);
    let plain = world.name("team/tiny").to_string();
    for (model, insecure) in [("tiny", false), (&direct, true), (&plain, false)] {
        let spec = PushSpec {
            name: name(model),
            insecure,
        };
        let Err(error) = soon(world.engine.push(spec)).await else {
            panic!("{model}")
        };
        assert_eq!(error.kind, Kind::RegistryNotAllowed, "{error}");
    }
    assert_eq!(world.road.passed(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_damaged_here_is_never_pushed() {
    let Some(world) = World::start().await else { return };
    let name = world.create("team/tiny:v1").await;
    let model = Digest::of(&tiny());
    let path = world.blob("one", &model);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = world.push(&name).await.ended.unwrap_err();
    assert_eq!(error.kind, Kind::DigestMismatch, "{error}");
    assert!(error.message.contains(&name.to_string()), "{error}");
    assert!(world.at_registry(&name).await.is_none());
    let passed = world.road.passed();
    let told = |wanted: &str, path: &str| {
        let found = passed
            .iter()
            .filter(|(method, at, _)| method == wanted && at.contains(path));
        found.count()
    };
    assert_eq!(told("PUT", "/manifests/"), 0);
    assert!(
        told("DELETE", "/uploads/") >= 1,
        "the upload is not left behind: {passed:?}"
    );
}
