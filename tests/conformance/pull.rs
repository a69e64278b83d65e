//! Models from a registry.

use tokio::net::TcpListener;

use super::{
    calls,
    case::cases,
    ollama_double::Route,
    support::{Code, reason, soon, v1},
    world::{Engine, Ground, Kind, World, tiny},
};

cases![pull =>
    a_model_comes_with_all_its_layers [Registry],
    again_changes_nothing [Registry],
    a_moved_tag_is_followed [Registry],
    two_models_share_a_layer [Registry],
    a_missing_model_is_not_found [Registry],
    a_registry_that_is_not_listed_is_not_asked [Registry],
    reserved_tags_are_refused [Registry],
    names_are_no_names [],
    spellings_are_one_model [Registry],
    progress_never_falls [Registry],
    a_pin_that_does_not_hold_is_told [Registry],
    many_callers_are_one_pull [Registry],
    pulls_of_one_blob_harm_nobody [Registry],
    the_double_sees_one_pull_at_a_time [Registry, Count],
];

async fn a_model_comes_with_all_its_layers(ground: Ground) {
    let world = ground.start().await;
    let layers: &[(&str, &[u8])] = &[
        ("model", &tiny(0)),
        ("template", b"{{ .Prompt }}"),
        ("license", b"free"),
    ];
    let digest = world.ground.publish("m", layers).await;
    let result = world.pull(&world.ground.name("m")).await.unwrap();
    assert!(result.changed);
    let model = result.model.unwrap();
    assert_eq!(model.digest, digest);
    assert_eq!(model.level(), v1::Level::OnDisk);
    assert_eq!(world.listed(&world.ground.name("m")).await.unwrap().digest, digest);
}

async fn again_changes_nothing(ground: Ground) {
    let world = ground.start().await;
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    let first = world.pull(&name).await.unwrap();
    let again = world.pull(&name).await.unwrap();
    assert!(first.changed && !again.changed);
    assert_eq!(first.model.unwrap().digest, again.model.unwrap().digest);
}

async fn a_moved_tag_is_followed(ground: Ground) {
    let world = ground.start().await;
    let name = world.ground.name("m");
    let mut digests = Vec::new();
    for system in [b"one", b"two"] {
        let digest = world
            .ground
            .publish("m", &[("model", &tiny(0)), ("system", system)])
            .await;
        let result = world.pull(&name).await.unwrap();
        assert!(result.changed);
        assert_eq!(result.model.unwrap().digest, digest);
        digests.push(digest);
    }
    assert_ne!(digests[0], digests[1]);
    assert_eq!(world.list().await.len(), 1);
}

async fn two_models_share_a_layer(ground: Ground) {
    let world = ground.start().await;
    for (model, system) in [("a", b"a"), ("b", b"b")] {
        world
            .ground
            .publish(model, &[("model", &tiny(0)), ("system", system)])
            .await;
        assert!(world.pull(&world.ground.name(model)).await.unwrap().changed);
    }
    assert_eq!(world.list().await.len(), 2);
}

async fn a_missing_model_is_not_found(ground: Ground) {
    let world = ground.start().await;
    let name = world.ground.name("none");
    let status = world.pull(&name).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::NotFound, "MODEL_NOT_FOUND"),
        "{status:?}"
    );
    assert!(status.message().contains("none"), "{}", status.message());
    assert!(world.list().await.is_empty());
}

/// Listens where nobody may be asked, and tells whether somebody was.
async fn a_registry_that_is_not_listed_is_not_asked(ground: Ground) {
    let world = ground.start().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = format!("{}/library/m", other.local_addr().unwrap());
    for name in [named.as_str(), "m", "hf.co/a/b", "registry.example/a/b:c"] {
        let status = world.pull(name).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::PermissionDenied, "REGISTRY_NOT_ALLOWED"),
            "{name}"
        );
        let ensured = calls::ensured(&mut world.client.clone(), calls::ensure(name)).await;
        assert_eq!(reason(&ensured.unwrap_err()), "REGISTRY_NOT_ALLOWED", "{name}");
    }
    // Plain http is for hosts that are listed so.
    let asked = tokio::time::timeout(std::time::Duration::from_millis(200), other.accept()).await;
    assert!(asked.is_err(), "it was asked");
    match &world.ground.engine {
        Engine::Embedded => {}
        Engine::Double(double) => assert_eq!(double.asked(Route::Pull), 0),
        Engine::Ollama(server) => assert_eq!(server.asked("POST", "/api/pull"), 0),
    }
}

/// The embedded engine may pull what it can list and keep; Ollama would act on another model.
async fn reserved_tags_are_refused(ground: Ground) {
    let world = ground.start().await;
    for tag in ["local", "cloud", "7b-cloud", "LOCAL"] {
        world.ground.publish(&format!("m:{tag}"), &[("model", &tiny(0))]).await;
        let pulled = world.pull(&world.ground.name(&format!("m:{tag}"))).await;
        if world.ground.kind == Kind::Embedded {
            continue;
        }
        let status = pulled.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::InvalidArgument, "MODEL_NAME_INVALID"),
            "{tag}"
        );
        assert!(world.list().await.is_empty());
    }
}

async fn names_are_no_names(ground: Ground) {
    let world = ground.start().await;
    for name in ["", "a b", "a//b", "m@sha256:00", "../m", "a/b/c/d", "m:"] {
        let status = world.pull(name).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert_eq!(calls::fields(&status), ["model"], "{name}");
    }
}

async fn spellings_are_one_model(ground: Ground) {
    let world = ground.start().await;
    let digest = world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    assert!(world.pull(&name).await.unwrap().changed);
    let upper = name.replace("/m", "/M");
    for spelled in [
        format!("{name}:latest"),
        format!("http://{name}"),
        format!("{upper}:LATEST"),
        upper,
    ] {
        let ready = calls::ensured(&mut world.client.clone(), calls::ensure(&spelled))
            .await
            .unwrap();
        assert!(!ready.changed, "{spelled}");
        let model = ready.model.unwrap();
        assert_eq!(
            (model.name, model.digest),
            (format!("{name}:latest"), digest.clone()),
            "{spelled}"
        );
    }
    assert_eq!(world.list().await.len(), 1);
}

async fn progress_never_falls(ground: Ground) {
    let world = ground.start().await;
    let file = big(&world);
    world.ground.publish("m", &[("model", &file), ("system", b"s")]).await;
    let request = World::request(&world.ground.held_name("m"));
    let mut stream = soon(world.client.clone().pull(request)).await.unwrap().into_inner();
    let (mut seen, mut half_way, mut result) = (Vec::<v1::Progress>::new(), false, None);
    while let Some(message) = soon(stream.message()).await.unwrap() {
        match message.event.unwrap() {
            v1::pull_response::Event::Result(ended) => result = Some(ended),
            v1::pull_response::Event::Progress(progress) => {
                assert!(result.is_none(), "the result comes last");
                let downloading = matches!(progress.phase, Some(v1::progress::Phase::Downloading(_)));
                if downloading && progress.completed_bytes > 0 && !half_way {
                    half_way = true;
                    assert!(progress.completed_bytes < progress.total_bytes.unwrap(), "{progress:?}");
                    world.ground.gate.open();
                }
                seen.push(progress);
            }
        }
    }
    assert!(half_way && result.unwrap().changed);
    for pair in seen.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(before.operation_id, after.operation_id);
        assert!(before.sequence <= after.sequence, "{before:?} {after:?}");
        assert!(after.phases.len() >= before.phases.len());
        let same = |progress: &v1::Progress| progress.phase.as_ref().map(std::mem::discriminant);
        if same(before) == same(after) && before.attempt == after.attempt {
            assert!(before.completed_bytes <= after.completed_bytes, "{before:?} {after:?}");
            assert!(before.total_bytes <= after.total_bytes, "{before:?} {after:?}");
        }
    }
    for progress in &seen {
        assert!(
            progress
                .total_bytes
                .is_none_or(|total| progress.completed_bytes <= total),
            "{progress:?}"
        );
    }
    let last = seen.last().unwrap();
    let phases: Vec<_> = last.phases.iter().map(|record| record.phase.as_str()).collect();
    assert!(phases.contains(&"downloading"), "{phases:?}");
    assert!(world.listed(&world.ground.held_name("m")).await.is_some());
}

async fn a_pin_that_does_not_hold_is_told(ground: Ground) {
    let world = ground.start().await;
    let digest = world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    let pinned = |digest: &str| v1::PullRequest {
        digest: digest.to_owned(),
        ..World::request(&name)
    };
    let wrong = format!("sha256:{}", "0".repeat(64));
    let stream = soon(world.client.clone().pull(pinned(&wrong))).await.unwrap();
    let status = calls::pulled(stream.into_inner()).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH")
    );
    let stream = soon(world.client.clone().pull(pinned(&digest))).await.unwrap();
    let model = calls::pulled(stream.into_inner()).await.unwrap().model.unwrap();
    assert_eq!(model.digest, digest);
}

async fn many_callers_are_one_pull(ground: Ground) {
    const CALLERS: usize = 100;
    let world = ground.start().await;
    let file = big(&world);
    let digest = world.ground.publish("m", &[("model", &file)]).await;
    let name = world.ground.held_name("m");
    let mut callers = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..CALLERS {
        let (stream, first) = calls::pulling(&mut world.client.clone(), World::request(&name)).await;
        ids.insert(first.operation_id);
        callers.push(tokio::spawn(calls::pulled(stream)));
    }
    assert_eq!(ids.len(), 1);
    let operation = calls::get(&mut world.operations.clone(), ids.first().unwrap())
        .await
        .unwrap();
    assert_eq!(operation.subscriber_count, 100);
    world.ground.gate.open();
    for caller in callers {
        let result = soon(caller).await.unwrap().unwrap();
        assert_eq!(result.model.unwrap().digest, digest);
    }
    match &world.ground.engine {
        Engine::Embedded => {}
        Engine::Double(double) => assert_eq!((double.asked(Route::Pull), double.most_pulls()), (1, 1)),
        Engine::Ollama(server) => assert_eq!(server.asked("POST", "/api/pull"), 1),
    }
}

/// Two names on one blob: a real Ollama can crash when the second one leaves while the first is at its HEAD.
async fn pulls_of_one_blob_harm_nobody(ground: Ground) {
    let mut world = ground.start().await;
    let file = big(&world);
    for model in ["a", "b"] {
        world
            .ground
            .publish(model, &[("model", &file), ("system", model.as_bytes())])
            .await;
    }
    let (a, b) = (world.ground.held_name("a"), world.ground.held_name("b"));
    let cancelling = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..World::request(&b)
    };
    let (first, _) = calls::pulling(&mut world.client.clone(), World::request(&a)).await;
    let (second, joined) = calls::pulling(&mut world.client.clone(), cancelling).await;
    drop(second);
    let watch = calls::watch(&mut world.operations.clone(), &joined.operation_id)
        .await
        .unwrap();
    let ended = calls::ended(watch).await.unwrap();
    assert_eq!(ended.state(), v1::operation::State::Cancelled);
    world.ground.gate.open();
    assert!(calls::pulled(first).await.unwrap().changed);
    assert!(world.pull(&b).await.unwrap().changed);
    if let Engine::Ollama(server) = &mut world.ground.engine {
        assert!(!server.crashed(), "{}", server.log());
    }
}

async fn the_double_sees_one_pull_at_a_time(ground: Ground) {
    let world = ground.start().await;
    let mut pulls = Vec::new();
    for model in 0..20_u8 {
        let name = format!("m{model}");
        world.ground.publish(&name, &[("model", &tiny(model))]).await;
        let (client, request) = (world.client.clone(), World::request(&world.ground.name(&name)));
        pulls.push(tokio::spawn(async move {
            let mut client = client;
            calls::pulled(soon(client.pull(request)).await?.into_inner()).await
        }));
    }
    for pull in pulls {
        assert!(soon(pull).await.unwrap().unwrap().changed);
    }
    let double = world.ground.double();
    assert_eq!((double.asked(Route::Pull), double.most_pulls()), (20, 1));
}

/// More than a connection of the held road brings before the gate opens.
pub(super) fn big(world: &World) -> Vec<u8> {
    let path = world.ground.home.write_model("big.gguf", 2);
    std::fs::read(path).unwrap()
}
