//! Callers share work, leave it and cancel it.

use model_control::engines::Entry;

use super::{calls::*, support::*};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_cause_one_pull_and_all_get_its_result() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut client = service.client().await;
        for _ in 0..100 {
            let mut stream = soon(client.pull(pull("m"))).await.unwrap().into_inner();
            assert!(soon(stream.message()).await.unwrap().is_some());
            streams.push(stream);
        }
    }
    script.event(Event::Entered(Phase::Downloading(vec![]))).await;
    script.succeed(&"m".parse().unwrap(), "content").await;
    for mut stream in streams {
        let mut result = None;
        while let Some(message) = soon(stream.message()).await.unwrap() {
            result = Some(message);
        }
        let Some(v1::pull_response::Event::Result(result)) = result.unwrap().event else {
            panic!("no result")
        };
        assert_eq!(result.model.unwrap().name, "m:latest");
    }
    assert_eq!(engine.pulls(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_believed_only_when_the_engine_lists_the_model() {
    let engine = Scripted::new();
    engine.script(None).claim_success().await;
    let service = Service::start(engine, None).await;
    let mut stream = soon(service.client().await.pull(pull("m"))).await.unwrap().into_inner();
    let status = loop {
        if let Err(status) = soon(stream.message()).await {
            break status;
        }
    };
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Internal, "BACKEND_PROTOCOL")
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_stream_and_not_the_work() {
    let engine = Scripted::new();
    let _script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut request = Request::new(pull("m"));
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut stream = soon(service.client().await.pull(request)).await.unwrap().into_inner();
    let status = loop {
        if let Err(status) = soon(stream.message()).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let mut operations = service.operations().await;
    let listed = soon(operations.list(v1::OperationsListRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.operations[0].state(), v1::operation::State::Running);
    let id = listed.operations[0].operation_id.clone();
    let cancelled = soon(operations.cancel(v1::OperationsCancelRequest { operation_id: id }))
        .await
        .unwrap();
    assert_eq!(
        cancelled.into_inner().operation.unwrap().state(),
        v1::operation::State::Cancelled
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_caller_that_leaves_cancels_when_it_asked_for_that() {
    let engine = Scripted::new();
    let mut script = engine.script(None);
    let service = Service::start(engine, None).await;
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..pull("m")
    };
    let mut stream = soon(service.client().await.pull(request)).await.unwrap().into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
    drop(stream);
    soon(script.cancelled()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_caller_waits_and_what_it_wants_to_know_never_conflicts() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    let mut client = service.client().await;
    let (pulling_it, first) = pulling(&mut client, pull("m")).await;
    assert!(!first.joined);

    let (leaving, second) = pulling(
        &mut client,
        v1::PullRequest {
            on_disconnect: v1::OnDisconnect::Cancel.into(),
            ..pull("REGISTRY.ollama.ai/library/m")
        },
    )
    .await;
    assert!(second.joined);
    assert_eq!(second.operation_id, first.operation_id);
    drop(leaving);
    let ensuring = v1::EnsureReadyRequest {
        level: v1::Level::OnDisk.into(),
        keep_alive: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        load_options: Some(v1::LoadOptions::default()),
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..ensure("m")
    };
    let ensuring = soon(client.ensure_ready(ensuring)).await.unwrap().into_inner();
    let dry = v1::EnsureReadyRequest {
        dry_run: true,
        ..ensure("m")
    };
    let planned = ensured(&mut client, dry).await.unwrap();
    assert_eq!(
        planned.plan.unwrap().steps.len(),
        2,
        "a dry run tells it beside the pull"
    );

    script.succeed(&name("m"), "content").await;
    let result = pulled(pulling_it).await.unwrap();
    assert!(result.changed);
    // A caller of another kind gets the result of its own kind.
    let result = ready(ensuring).await.unwrap();
    assert!(result.changed);
    assert_eq!(result.model.unwrap().digest, digest("content"));
    assert_eq!(engine.pulls(), 1);
    let operation = get(&mut service.operations().await, &first.operation_id).await.unwrap();
    assert_eq!(
        operation.kind(),
        v1::operation::Kind::Pull,
        "it is told as it was begun"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_share_an_engine_share_its_work() {
    let scripted = Scripted::new();
    let script = scripted.script(None);
    let mut plan = Plan::new(scripted.clone());
    let engine = plan.entries[0].engine.clone();
    plan.entries.push(Entry {
        engine,
        ..entry("two", scripted.clone())
    });
    plan.entries.push(entry("three", scripted.clone()));
    let service = plan.start().await;
    let mut client = service.client().await;
    let of = |backend: &str| v1::PullRequest {
        backend: backend.into(),
        ..pull("m")
    };
    let (one, first) = pulling(&mut client, of("one")).await;
    let (two, second) = pulling(&mut client, of("two")).await;
    assert_eq!(first.operation_id, second.operation_id);
    began(&scripted, 1).await;
    let _other = scripted.script(None);
    let (_three, third) = pulling(&mut client, of("three")).await;
    assert_ne!(third.operation_id, first.operation_id, "another engine, other work");
    script.succeed(&name("m"), "content").await;
    for (stream, backend) in [(one, "one"), (two, "two")] {
        assert_eq!(pulled(stream).await.unwrap().model.unwrap().backend, backend);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_while_one_caller_wants_that() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut client = service.client().await;
    let mut operations = service.operations().await;
    let cancelling = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..pull("m")
    };
    let (keeps, first) = pulling(&mut client, pull("m")).await;
    let (leaves, _) = pulling(&mut client, cancelling).await;
    assert_eq!(
        get(&mut operations, &first.operation_id)
            .await
            .unwrap()
            .subscriber_count,
        2
    );
    drop((keeps, leaves));
    soon(async {
        while get(&mut operations, &first.operation_id)
            .await
            .unwrap()
            .subscriber_count
            > 0
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let watching = watch(&mut operations, &first.operation_id).await.unwrap();
    script.succeed(&name("m"), "content").await;
    let operation = ended(watching).await.unwrap();
    assert_eq!(operation.state(), v1::operation::State::Succeeded);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_joins_an_ensure_with_nothing_to_do_is_done_all_the_same() {
    let engine = Scripted::new();
    engine.put(&"m".parse().unwrap(), "old");
    let script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    // The ensure hangs at its look at the engine, and the pull joins it there.
    engine.set_silent(true);
    let mut client = service.client().await;
    let ensure = v1::EnsureReadyRequest {
        model: "m".into(),
        ..Default::default()
    };
    let mut ensured = soon(client.ensure_ready(ensure)).await.unwrap().into_inner();
    assert!(soon(ensured.message()).await.unwrap().is_some());
    let mut other = service.client().await;
    let pulled = tokio::spawn(async move { soon(other.pull(pull("m"))).await.unwrap().into_inner() });
    let mut operations = service.operations().await;
    let asked = v1::OperationsListRequest::default();
    assert_eq!(
        soon(operations.list(asked))
            .await
            .unwrap()
            .into_inner()
            .operations
            .len(),
        1
    );
    engine.set_silent(false);
    let mut pulled = soon(pulled).await.unwrap();
    script.succeed(&"m".parse().unwrap(), "new").await;
    let mut result = None;
    while let Some(message) = soon(pulled.message()).await.unwrap() {
        result = Some(message);
    }
    let Some(v1::pull_response::Event::Result(result)) = result.unwrap().event else {
        panic!("no result")
    };
    assert!(result.changed);
    assert_eq!(engine.pulls(), 1);
    service.stop().await;
}
