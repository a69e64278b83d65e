//! Callers share work, leave it and cancel it.

use super::support::*;

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
