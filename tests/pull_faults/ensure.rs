//! The same way by EnsureReady.

use super::{calls, hub::gguf, support::*, world::World};

fn steps(result: &v1::EnsureReadyResult) -> Vec<v1::plan::step::Step> {
    let plan = result.plan.clone().unwrap();
    plan.steps.into_iter().map(|step| step.step.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_model_is_pulled_and_a_present_one_asks_nobody() {
    let world = World::new().await;
    let digest = world.hub.put("m", &gguf(1, 200));
    let mut client = world.client.clone();
    let dry = v1::EnsureReadyRequest {
        dry_run: true,
        ..world.ensuring("m")
    };
    let planned = calls::ensured(&mut client, dry.clone()).await.unwrap();
    assert!(
        matches!(&steps(&planned)[0], v1::plan::step::Step::Pull(_)),
        "{planned:?}"
    );
    assert!(!planned.changed && planned.model.is_none());
    assert_eq!(world.hub.requests("/blobs/"), 0);
    assert!(world.list().await.is_empty());

    let result = calls::ensured(&mut client, world.ensuring("m")).await.unwrap();
    assert!(result.changed);
    assert_eq!(result.model.as_ref().unwrap().digest, digest.to_string());
    assert_eq!(world.list().await, [result.model.unwrap()]);

    let asked = world.hub.double.lines().len();
    for request in [world.ensuring("m"), dry] {
        let result = calls::ensured(&mut client, request).await.unwrap();
        assert!(!result.changed);
        assert_eq!(steps(&result), []);
    }
    assert_eq!(world.hub.double.lines().len(), asked);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_holds() {
    let world = World::new().await;
    let first = world.hub.put("m", &gguf(1, 200));
    let mut client = world.client.clone();
    let pinned = |digest: &str| v1::EnsureReadyRequest {
        digest: digest.to_owned(),
        ..world.ensuring("m")
    };
    let nobodys = format!("sha256:{}", "0".repeat(64));
    let status = calls::ensured(&mut client, pinned(&nobodys)).await.unwrap_err();
    let mismatch = calls::is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH");
    assert_eq!(calls::told(&status), mismatch);
    assert!(world.list().await.is_empty());

    assert!(
        calls::ensured(&mut client, pinned(first.as_str()))
            .await
            .unwrap()
            .changed
    );
    // The tag moves on: nobody asks, for what is pinned is there.
    let second = world.hub.put("m", &gguf(2, 200));
    let asked = world.hub.double.lines().len();
    assert!(
        !calls::ensured(&mut client, pinned(first.as_str()))
            .await
            .unwrap()
            .changed
    );
    assert_eq!(world.hub.double.lines().len(), asked);
    // Another pin is fetched, and one that nobody has replaces nothing.
    let result = calls::ensured(&mut client, pinned(second.as_str())).await.unwrap();
    assert!(result.changed);
    let (stored, listed) = (world.stored(), world.list().await);
    let status = calls::ensured(&mut client, pinned(&nobodys)).await.unwrap_err();
    assert_eq!(calls::told(&status), mismatch);
    world.assert_whole(&stored, &listed).await;
    assert_eq!(world.list().await[0].digest, second.to_string());
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_as_by_pull() {
    let world = World::stocked().await;
    world.hub.script(|_| Some(super::double::Answer::new(403)));
    let status = calls::ensured(&mut world.client.clone(), world.ensuring("m")).await;
    assert_eq!(
        calls::told(&status.unwrap_err()),
        calls::is(Code::FailedPrecondition, "REGISTRY_CREDENTIALS")
    );
    world.mends("m").await;
    world.service.stop().await;
}
