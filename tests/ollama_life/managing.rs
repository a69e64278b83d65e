//! Copies and removals are done, or the reason is told.

use model_control::{
    backend::{Backend as _, CopySpec, Kind},
    model::ImportOptions,
};

use super::{
    models::{embedder, tiny},
    world::{World, copy, name, soon},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_same_and_replaces_only_when_told() {
    let Some(world) = World::start() else { return };
    world.create("a", &tiny(), ImportOptions::default()).await;
    world.create("other", &embedder(), ImportOptions::default()).await;
    let error = soon(world.port.copy(&copy("none", "b"))).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    soon(world.port.copy(&copy("A", "B:v1"))).await.unwrap();
    assert_eq!(world.digest("b:v1").await, world.digest("a").await);
    // Once more is nothing to do, also onto itself.
    for destination in ["b:V1", "a"] {
        soon(world.port.copy(&copy("a", destination))).await.unwrap();
    }
    assert_eq!(world.server.asked("POST", "/api/copy"), 1);

    let onto = copy("other", "b:v1");
    let error = soon(world.port.copy(&onto)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Exists, "{error}");
    let onto = CopySpec { replace: true, ..onto };
    soon(world.port.copy(&onto)).await.unwrap();
    assert_eq!(world.digest("b:v1").await, world.digest("other").await);

    // Two that cross do not wait for each other.
    let (ab, ba) = (copy("a", "other"), copy("other", "a"));
    let crossed = soon(futures::future::join(world.port.copy(&ab), world.port.copy(&ba))).await;
    let kinds = [crossed.0, crossed.1].map(|ended| ended.unwrap_err().kind);
    assert_eq!(kinds, [Kind::Exists, Kind::Exists]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_and_frees_what_nobody_shares() {
    let Some(world) = World::start() else { return };
    let done = world.create("a", &tiny(), ImportOptions::default()).await;
    let stored = done.provenance.unwrap().stored_digest.to_string().replace(':', "-");
    let stored = world.server.models().join("blobs").join(stored);
    soon(world.port.copy(&copy("a", "b"))).await.unwrap();
    world.derive("a", "c");
    let size = |listed: Option<std::sync::Arc<model_control::model::ModelInfo>>| listed.unwrap().size_bytes;
    let last = size(soon(world.port.inspect(&name("c"))).await.unwrap());
    let error = soon(world.port.delete(&name("none"))).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    for (model, freed) in [("a", 0), ("B", 0), ("c", last)] {
        assert!(stored.exists());
        assert_eq!(soon(world.port.delete(&name(model))).await.unwrap(), freed, "{model}");
        assert_eq!(world.digest(model).await, None);
    }
    let error = soon(world.port.delete(&name("a"))).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    assert!(!stored.exists());
}
