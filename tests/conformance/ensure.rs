//! Models that must be ready, from the configuration and from callers.

use super::{
    calls,
    case::cases,
    support::{Code, v1},
    world::{Ground, World, tiny},
};

const SERVING: i32 = 1;

cases![ensure =>
    what_is_there_is_ready [Registry],
    what_is_not_there_is_pulled [Registry],
    what_is_nowhere_is_not_found [Registry],
    a_path_is_created_from [Create],
    a_dry_run_does_nothing [Registry],
    a_configured_model_is_pulled_at_start [Registry],
    a_configured_path_is_created_from_and_never_pulled [Create],
    a_wrong_pin_is_told_and_replaces_nothing [Create],
];

fn ensure(name: &str) -> v1::EnsureReadyRequest {
    v1::EnsureReadyRequest {
        insecure: true,
        ..calls::ensure(name)
    }
}

async fn ensured(world: &World, request: v1::EnsureReadyRequest) -> Result<v1::EnsureReadyResult, tonic::Status> {
    calls::ensured(&mut world.client.clone(), request).await
}

async fn what_is_there_is_ready(ground: Ground) {
    let world = ground.start().await;
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    let pulled = world.pull(&name).await.unwrap().model.unwrap();
    for _ in 0..2 {
        let ready = ensured(&world, calls::ensure(&name)).await.unwrap();
        assert!(!ready.changed);
        assert!(ready.plan.unwrap().steps.is_empty());
        assert_eq!(ready.model.unwrap().digest, pulled.digest);
    }
}

async fn what_is_not_there_is_pulled(ground: Ground) {
    let world = ground.start().await;
    let digest = world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    let ready = ensured(&world, ensure(&name)).await.unwrap();
    assert!(ready.changed);
    assert_eq!(ready.model.unwrap().digest, digest);
    assert!(!ensured(&world, ensure(&name)).await.unwrap().changed);
}

async fn what_is_nowhere_is_not_found(ground: Ground) {
    let world = ground.start().await;
    let status = ensured(&world, ensure(&world.ground.name("none"))).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
}

async fn a_path_is_created_from(ground: Ground) {
    let world = ground.start().await;
    let path = world.ground.put("m.gguf", &tiny(0));
    let request = v1::EnsureReadyRequest {
        path: path.display().to_string(),
        ..calls::ensure("m")
    };
    let ready = ensured(&world, request.clone()).await.unwrap();
    assert!(ready.changed);
    assert!(!ensured(&world, request).await.unwrap().changed);
    assert_eq!(world.list().await[0].digest, ready.model.unwrap().digest);
}

async fn a_dry_run_does_nothing(ground: Ground) {
    let world = ground.start().await;
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    let request = v1::EnsureReadyRequest {
        dry_run: true,
        ..ensure(&world.ground.name("m"))
    };
    let planned = ensured(&world, request).await.unwrap();
    assert!(!planned.changed && planned.model.is_none());
    let steps = planned.plan.unwrap().steps;
    assert!(
        matches!(steps[0].step, Some(v1::plan::step::Step::Pull(_))),
        "{steps:?}"
    );
    assert!(world.list().await.is_empty());
}

async fn a_configured_model_is_pulled_at_start(ground: Ground) {
    let digest = ground.publish("m", &[("model", &tiny(0))]).await;
    let name = ground.name("m");
    let world = ground
        .start_with(&[format!("--model={name}"), "--insecure".to_owned()])
        .await;
    world
        .health(&format!("backends/one/models/{name}:latest"), SERVING)
        .await;
    world.health("", SERVING).await;
    assert_eq!(world.listed(&name).await.unwrap().digest, digest);
    // The first one may join the work of the start, which is seen before it has ended.
    ensured(&world, calls::ensure("")).await.unwrap();
    let ready = ensured(&world, calls::ensure("")).await.unwrap();
    assert!(!ready.changed);
}

async fn a_configured_path_is_created_from_and_never_pulled(ground: Ground) {
    let path = ground.put("tiny.gguf", &tiny(0));
    let flags = ["--model=llama3".to_owned(), format!("--model-path={}", path.display())];
    let world = ground.start_with(&flags).await;
    world.health("backends/one/models/llama3", SERVING).await;
    world.health("", SERVING).await;
    assert_eq!(world.list().await[0].name, "llama3:latest");
    ensured(&world, calls::ensure("llama3")).await.unwrap();
    assert!(!ensured(&world, calls::ensure("llama3")).await.unwrap().changed);
}

async fn a_wrong_pin_is_told_and_replaces_nothing(ground: Ground) {
    let world = ground.start().await;
    let created = world.create("m", &tiny(0)).await.unwrap().model.unwrap();
    let request = |digest: String| v1::EnsureReadyRequest {
        digest,
        path: world.ground.home.model("m.gguf").display().to_string(),
        ..calls::ensure("m")
    };
    let wrong = format!("sha256:{}", "0".repeat(64));
    let status = ensured(&world, request(wrong)).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH")
    );
    assert_eq!(world.list().await[0].digest, created.digest);
    assert!(!ensured(&world, request(created.digest)).await.unwrap().changed);
}
