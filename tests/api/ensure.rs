//! EnsureReady: what the configuration adds, and what would be done.

use model_control::{
    config,
    engines::Desired,
    model::{Capability, Level},
};

use super::{calls::*, support::*};

fn dry(model: &str) -> v1::EnsureReadyRequest {
    v1::EnsureReadyRequest {
        dry_run: true,
        ..ensure(model)
    }
}

fn steps(result: &v1::EnsureReadyResult) -> Vec<v1::plan::step::Step> {
    let plan = result.plan.clone().unwrap();
    plan.steps.into_iter().map(|step| step.step.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_model_means_the_configured_one_when_there_is_one() {
    for (models, expected) in [
        (vec![], None),
        (vec!["only"], Some("only:latest")),
        (vec!["a", "b"], None),
    ] {
        let engine = Scripted::new();
        for model in &models {
            engine.put(&name(model), "content");
        }
        let service = configured(engine, models.iter().map(|model| desired(model)))
            .start()
            .await;
        let answer = ensured(&mut service.client().await, ensure("")).await;
        match (answer, expected) {
            (Ok(result), Some(expected)) => {
                assert_eq!(result.model.unwrap().name, expected);
                assert!(!result.changed);
                assert!(result.plan.unwrap().steps.is_empty());
            }
            (Err(status), None) => {
                assert_eq!(told(&status), is(Code::InvalidArgument, "REQUEST_INVALID"));
                assert_eq!(fields(&status), ["model"]);
            }
            (answer, _) => panic!("{models:?}: {answer:?}"),
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_leaves_unset_comes_from_the_configuration() {
    let engine = Scripted::new();
    let pinned = config::Desired {
        digest: Some(model_control::model::Digest::of(b"content")),
        insecure: true,
        ..desired("m")
    };
    let service = configured(engine.clone(), [pinned]).start().await;
    let mut client = service.client().await;
    assert_eq!(
        steps(&ensured(&mut client, dry("")).await.unwrap())[1],
        v1::plan::step::Step::Verify(v1::plan::VerifyStep {
            digest: digest("content")
        })
    );
    engine.script(None).succeed(&name("m"), "content").await;
    let result = ensured(&mut client, ensure("")).await.unwrap();
    assert!(result.changed);
    let asked = engine.last_pull().unwrap();
    assert_eq!(asked.digest.unwrap().to_string(), digest("content"));
    assert!(asked.insecure);

    // What it sets is its own.
    let other = v1::EnsureReadyRequest {
        digest: digest("other"),
        ..ensure("m")
    };
    engine.script(None).succeed(&name("m"), "other").await;
    assert!(ensured(&mut client, other).await.unwrap().changed);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_path_means_never_pull() {
    let engine = Scripted::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let with_path = config::Desired {
        path: Some(file.clone()),
        ..desired("m")
    };
    let service = configured(engine.clone(), [with_path]).start().await;
    let mut client = service.client().await;

    // An engine that can pull, and cannot create.
    let status = ensured(&mut client, ensure("m")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::Unimplemented, "BACKEND_CANNOT_CREATE"));
    engine.set_capabilities([Capability::Pull, Capability::Create]);
    let status = ensured(&mut client, ensure("m")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::NotFound, "PATH_NOT_FOUND"));
    let folder_name = folder.path().display().to_string();
    assert!(
        !format!("{status:?}").contains(&folder_name),
        "the operator's folder is nobody's business"
    );

    // The operator's word needs no root.
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny.gguf"), &file).unwrap();
    let planned = ensured(&mut client, dry("m")).await.unwrap();
    let step = v1::plan::CreateStep {
        file_name: "model.gguf".into(),
    };
    assert_eq!(steps(&planned)[0], v1::plan::step::Step::Create(step));
    engine.script(None).succeed(&name("m"), "content").await;
    assert!(ensured(&mut client, ensure("m")).await.unwrap().changed);
    assert_eq!(engine.pulls(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_plan_and_does_nothing() {
    let engine = Scripted::new();
    engine.put(&name("there"), "content");
    let service = Service::start(engine.clone(), None).await;
    let mut client = service.client().await;
    let pull = || {
        v1::plan::step::Step::Pull(v1::plan::PullStep {
            source: "registry.ollama.ai".into(),
        })
    };
    let verify = |digest: String| v1::plan::step::Step::Verify(v1::plan::VerifyStep { digest });

    let mut stream = soon(client.ensure_ready(dry("absent"))).await.unwrap().into_inner();
    let only = soon(stream.message()).await.unwrap().unwrap();
    let Some(v1::ensure_ready_response::Event::Result(absent)) = only.event else {
        panic!("one result and no progress")
    };
    assert!(soon(stream.message()).await.unwrap().is_none());
    assert_eq!(steps(&absent), [pull(), verify(String::new())]);
    assert!(absent.model.is_none());
    assert!(!absent.changed, "nothing is changed");

    let there = ensured(&mut client, dry("there")).await.unwrap();
    assert!(steps(&there).is_empty());
    assert_eq!(there.model.unwrap().digest, digest("content"));
    let pinned = v1::EnsureReadyRequest {
        digest: digest("other"),
        ..dry("there")
    };
    let pinned = ensured(&mut client, pinned).await.unwrap();
    assert_eq!(steps(&pinned), [pull(), verify(digest("other"))]);
    assert!(!pinned.changed);

    // It fails as the work would.
    let path = v1::EnsureReadyRequest {
        path: "/m.gguf".into(),
        ..dry("absent")
    };
    let status = ensured(&mut client, path.clone()).await.unwrap_err();
    assert_eq!(told(&status), is(Code::Unimplemented, "BACKEND_CANNOT_CREATE"));
    engine.set_capabilities([Capability::Create]);
    let status = ensured(&mut client, path).await.unwrap_err();
    assert_eq!(told(&status), is(Code::PermissionDenied, "PATH_NOT_ALLOWED"));
    let status = ensured(&mut client, dry("absent")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::Unimplemented, "BACKEND_CANNOT_PULL"));
    engine.set_reachable(false);
    let status = ensured(&mut client, dry("there")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::Unavailable, "BACKEND_UNREACHABLE"));
    assert!(retry_delay(&status).is_some());

    let listed = soon(service.operations().await.list(v1::OperationsListRequest::default())).await;
    assert!(
        listed.unwrap().into_inner().operations.is_empty(),
        "a dry run is no operation"
    );
    assert_eq!(engine.pulls(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_above_the_disk_is_refused_whoever_wants_it() {
    let engine = Scripted::new();
    engine.put(&name("m"), "content");
    engine.put(&name("warm"), "content");
    let warm = config::Desired {
        level: Level::Warm,
        ..desired("warm")
    };
    let mut plan = configured(engine, []);
    plan.entries[0].desired = vec![Desired::new(warm)];
    let service = plan.start().await;
    let mut client = service.client().await;
    let level = |model: &str, level: v1::Level| v1::EnsureReadyRequest {
        level: level.into(),
        ..ensure(model)
    };
    let pinned = v1::EnsureReadyRequest {
        pin: true,
        ..ensure("m")
    };
    for request in [
        level("m", v1::Level::Loaded),
        level("m", v1::Level::Warm),
        ensure("warm"),
        pinned,
    ] {
        let status = ensured(&mut client, request.clone()).await.unwrap_err();
        assert_eq!(
            told(&status),
            is(Code::Unimplemented, "BACKEND_CANNOT_LOAD"),
            "{request:?}"
        );
    }
    // Asked for by name, the level on disk is enough.
    assert!(
        !ensured(&mut client, level("warm", v1::Level::OnDisk))
            .await
            .unwrap()
            .changed
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_told_at_once() {
    let service = Service::start(Scripted::new(), None).await;
    let mut client = service.client().await;
    let wrong = v1::EnsureReadyRequest {
        backend: "x".repeat(64),
        model: "a b".into(),
        path: "relative".into(),
        level: 99,
        digest: "sha256:1".into(),
        on_disconnect: 99,
        ..Default::default()
    };
    let status = ensured(&mut client, wrong).await.unwrap_err();
    assert_eq!(told(&status), is(Code::InvalidArgument, "REQUEST_INVALID"));
    assert_eq!(
        fields(&status),
        ["backend", "model", "path", "level", "digest", "on_disconnect"]
    );
    let status = ensured(&mut client, ensure("a b")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::InvalidArgument, "MODEL_NAME_INVALID"));
    let status = soon(client.pull(pull(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields(&status), ["model"]);
    service.stop().await;
}
