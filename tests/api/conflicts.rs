//! Work that cannot be shared, names that are taken, and digests that are pinned.

use model_control::{
    backend::{self, Kind},
    model::Capability,
};

use super::{calls::*, support::*};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny.gguf");

/// The code and reason of a call's status, and the operation that is in the way.
async fn refused<T>(stream: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> (Code, String, String) {
    let status = match stream {
        Ok(stream) => soon(stream.into_inner().message()).await.err().expect("refused"),
        Err(status) => status,
    };
    (status.code(), reason(&status), metadata(&status, "operationId"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stores_other_content_conflicts_with_a_pull() {
    let engine = Scripted::new();
    engine.set_capabilities([Capability::Pull, Capability::Create]);
    let script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    let mut client = service.client().await;
    let (stream, first) = pulling(&mut client, pull("m")).await;
    let conflict = (
        Code::Aborted,
        "OPERATION_CONFLICT".to_owned(),
        first.operation_id.clone(),
    );

    let pinned = v1::PullRequest {
        digest: digest("other"),
        ..pull("m")
    };
    assert_eq!(refused(soon(client.pull(pinned)).await).await, conflict);
    let insecure = v1::PullRequest {
        insecure: true,
        ..pull("m")
    };
    assert_eq!(refused(soon(client.pull(insecure)).await).await, conflict);
    let beside = create("registry.ollama.ai/library/M:latest", Path::new("/m.gguf"));
    assert_eq!(refused(soon(client.create_from_path(beside)).await).await, conflict);
    let pinned = v1::EnsureReadyRequest {
        digest: digest("other"),
        ..ensure("m")
    };
    assert_eq!(refused(soon(client.ensure_ready(pinned)).await).await, conflict);
    let path = v1::EnsureReadyRequest {
        path: "/m.gguf".into(),
        ..ensure("m")
    };
    assert_eq!(refused(soon(client.ensure_ready(path)).await).await, conflict);

    // Nobody disturbed the pull.
    script.succeed(&name("m"), "content").await;
    assert!(pulled(stream).await.unwrap().changed);
    assert_eq!(engine.pulls(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stores_other_content_conflicts_with_a_create() {
    let engine = Scripted::new();
    engine.set_capabilities([Capability::Pull, Capability::Create]);
    let script = engine.script(None);
    let root = tempfile::tempdir().unwrap();
    let (file, other) = (root.path().join("m.gguf"), root.path().join("n.gguf"));
    std::fs::copy(TINY, &file).unwrap();
    std::fs::copy(TINY, &other).unwrap();
    let service = Service::start(engine, Some(root.path())).await;
    let mut client = service.client().await;
    let mut stream = soon(client.create_from_path(create("m", &file)))
        .await
        .unwrap()
        .into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    let Some(v1::create_from_path_response::Event::Progress(first)) = first.event else {
        panic!("no snapshot first")
    };
    let conflict = (
        Code::Aborted,
        "OPERATION_CONFLICT".to_owned(),
        first.operation_id.clone(),
    );

    assert_eq!(
        refused(soon(client.create_from_path(create("m", &other))).await).await,
        conflict
    );
    let options = v1::CreateFromPathRequest {
        import_options: Some(v1::ImportOptions {
            system: Some("be kind".into()),
            ..Default::default()
        }),
        ..create("m", &file)
    };
    assert_eq!(refused(soon(client.create_from_path(options)).await).await, conflict);
    assert_eq!(refused(soon(client.pull(pull("m"))).await).await, conflict);

    // The same path and options are shared, by an ensure too.
    let joined = v1::EnsureReadyRequest {
        path: file.display().to_string(),
        ..ensure("m")
    };
    let joined = soon(client.ensure_ready(joined)).await.unwrap().into_inner();
    script.succeed(&name("m"), "content").await;
    let result = ready(joined).await.unwrap();
    assert_eq!(result.model.unwrap().digest, digest("content"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_operations_run_than_may_and_joining_is_no_other_one() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let mut plan = Plan::new(engine.clone());
    plan.settings.max_operations = 1;
    let service = plan.start().await;
    let mut client = service.client().await;
    let (stream, _) = pulling(&mut client, pull("m")).await;
    let status = soon(client.pull(pull("n"))).await.unwrap_err();
    assert_eq!(told(&status), is(Code::ResourceExhausted, "TOO_MANY_OPERATIONS"));
    assert!(retry_delay(&status).is_some_and(|delay| !delay.is_zero()));
    assert_eq!(metadata(&status, "limit"), "1");
    let (joined, _) = pulling(&mut client, pull("m")).await;
    let dry = v1::EnsureReadyRequest {
        dry_run: true,
        ..ensure("n")
    };
    ensured(&mut client, dry).await.expect("a dry run is no operation");

    script.succeed(&name("m"), "content").await;
    pulled(stream).await.unwrap();
    pulled(joined).await.unwrap();
    engine.script(None).succeed(&name("n"), "content").await;
    let (stream, _) = pulling(&mut client, pull("n")).await;
    pulled(stream).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_other_content_is_replaced_only_when_asked() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = root.path().join("tiny.gguf");
    std::fs::copy(TINY, &file).unwrap();
    let engine = Arc::new(Embedded::open(store.path().join("s")).unwrap());
    let service = Service::start(engine, Some(root.path())).await;
    let mut client = service.client().await;
    let first = created(&mut client, create("m", &file)).await.unwrap();
    let first = first.model.unwrap().digest;

    let other = v1::CreateFromPathRequest {
        import_options: Some(v1::ImportOptions {
            system: Some("be kind".into()),
            ..Default::default()
        }),
        ..create("m", &file)
    };
    let status = created(&mut client, other.clone()).await.unwrap_err();
    assert_eq!(told(&status), is(Code::AlreadyExists, "MODEL_EXISTS"));
    assert_eq!(metadata(&status, "model"), "m:latest");
    assert!(!metadata(&status, "operationId").is_empty());
    let present = ensured(&mut client, ensure("m")).await.unwrap();
    assert_eq!(present.model.unwrap().digest, first, "nothing was replaced");

    let replace = v1::CreateFromPathRequest {
        replace: true,
        ..other.clone()
    };
    let replaced = created(&mut client, replace.clone()).await.unwrap();
    assert!(replaced.changed);
    assert_ne!(replaced.model.unwrap().digest, first);
    for same in [other, replace] {
        let again = created(&mut client, same).await.unwrap();
        assert!(!again.changed, "the same content is success, and nothing is done");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_never_replaces_what_has_another_digest() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = root.path().join("tiny.gguf");
    std::fs::copy(TINY, &file).unwrap();
    let engine = Arc::new(Embedded::open(store.path().join("s")).unwrap());
    let service = Service::start(engine, Some(root.path())).await;
    let mut client = service.client().await;
    let pinned = |pin: String| v1::EnsureReadyRequest {
        path: file.display().to_string(),
        digest: pin,
        ..ensure("m")
    };
    let mismatch = is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH");

    // Absent: what would come of the path is not what is pinned.
    let status = ensured(&mut client, pinned(digest("x"))).await.unwrap_err();
    assert_eq!(told(&status), mismatch);
    let listed = soon(client.list(v1::ListRequest::default())).await.unwrap();
    assert!(listed.into_inner().models.is_empty(), "nothing was stored");

    let made = ensured(&mut client, pinned(String::new())).await.unwrap();
    assert!(made.changed);
    let made = made.model.unwrap();
    let right = ensured(&mut client, pinned(made.digest.clone())).await.unwrap();
    assert!(!right.changed);
    let status = ensured(&mut client, pinned(digest("x"))).await.unwrap_err();
    assert_eq!(told(&status), mismatch);
    assert_eq!(metadata(&status, "presentDigest"), made.digest);
    let dry = v1::EnsureReadyRequest {
        dry_run: true,
        ..pinned(digest("x"))
    };
    assert_eq!(told(&ensured(&mut client, dry).await.unwrap_err()), mismatch);
    let still = ensured(&mut client, ensure("m")).await.unwrap();
    assert_eq!(still.model.unwrap().digest, made.digest);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_model_of_a_registry_is_pulled_and_checked_again() {
    let engine = Scripted::new();
    engine.put(&name("m"), "old");
    let service = Service::start(engine.clone(), None).await;
    let mut client = service.client().await;
    let pinned = v1::EnsureReadyRequest {
        digest: digest("new"),
        ..ensure("m")
    };
    let mismatch = is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH");

    // An engine that sees in time that the registry has something else.
    let script = engine.script(None);
    let call = soon(client.ensure_ready(pinned.clone())).await.unwrap().into_inner();
    script
        .fail(backend::Error::new(
            Kind::PinMismatch,
            "the registry has another digest",
        ))
        .await;
    assert_eq!(told(&ready(call).await.unwrap_err()), mismatch);
    let asked = engine.last_pull().unwrap();
    assert_eq!(asked.digest.unwrap().to_string(), digest("new"));
    let still = ensured(&mut client, ensure("m")).await.unwrap();
    assert_eq!(still.model.unwrap().digest, digest("old"), "nothing was replaced");

    // One that says it did, and lists something else.
    engine.script(None).succeed(&name("m"), "third").await;
    let status = ensured(&mut client, pinned.clone()).await.unwrap_err();
    assert_eq!(told(&status), mismatch);
    assert_eq!(metadata(&status, "presentDigest"), digest("third"));
    assert!(
        status.message().ends_with("the engine has replaced what was there"),
        "{status:?}"
    );

    engine.script(None).succeed(&name("m"), "new").await;
    let result = ensured(&mut client, pinned.clone()).await.unwrap();
    assert!(result.changed);
    assert_eq!(result.model.unwrap().digest, digest("new"));
    assert!(!ensured(&mut client, pinned).await.unwrap().changed);
    assert_eq!(engine.pulls(), 3);
    service.stop().await;
}
