//! Operations are found, watched, cancelled and forgotten.

use model_control::backend::{self, Kind};

use super::{calls::*, support::*};

async fn list(operations: &mut Operations, request: v1::OperationsListRequest) -> v1::OperationsListResponse {
    soon(operations.list(request)).await.unwrap().into_inner()
}

fn ids(page: &v1::OperationsListResponse) -> Vec<&str> {
    page.operations.iter().map(|one| one.operation_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_listed_newest_first_in_pages_and_by_what_they_are() {
    let engine = Scripted::new();
    let other = Scripted::new();
    let mut plan = Plan::new(engine.clone());
    plan.entries.push(entry("two", other.clone()));
    let service = plan.start().await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);

    let mut begun = Vec::new();
    engine.script(None).succeed(&name("a"), "content").await;
    let (stream, first) = pulling(&mut client, pull("a")).await;
    pulled(stream).await.unwrap();
    begun.push(first.operation_id);
    engine
        .script(None)
        .fail(backend::Error::new(Kind::NotFound, "no such model"))
        .await;
    let (stream, first) = pulling(&mut client, pull("b")).await;
    assert_eq!(
        told(&pulled(stream).await.unwrap_err()),
        is(Code::NotFound, "MODEL_NOT_FOUND")
    );
    begun.push(first.operation_id);
    let _scripts = [engine.script(None), engine.script(None)];
    let mut streams = Vec::new();
    for model in ["c", "d"] {
        let (stream, first) = pulling(&mut client, pull(model)).await;
        begun.push(first.operation_id);
        streams.push(stream);
    }
    let _script = other.script(None);
    let two = v1::PullRequest {
        backend: "two".into(),
        ..pull("c")
    };
    let (_stream, first) = pulling(&mut client, two).await;
    begun.push(first.operation_id);
    begun.reverse();

    let all = list(&mut operations, v1::OperationsListRequest::default()).await;
    assert_eq!(ids(&all), begun);
    assert_eq!(all.next_page_token, "");
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let request = v1::OperationsListRequest {
            page_size: 2,
            page_token: token,
            ..Default::default()
        };
        let page = list(&mut operations, request).await;
        assert!(page.operations.len() <= 2);
        paged.extend(ids(&page).into_iter().map(str::to_owned));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, begun);

    let by_state = |state: v1::operation::State| v1::OperationsListRequest {
        state: state.into(),
        ..Default::default()
    };
    let running = list(&mut operations, by_state(v1::operation::State::Running)).await;
    assert_eq!(ids(&running), begun[..3]);
    let failed = list(&mut operations, by_state(v1::operation::State::Failed)).await;
    assert_eq!(ids(&failed), begun[3..4]);
    assert_eq!(failure(&failed.operations[0]).reason, "MODEL_NOT_FOUND");
    let succeeded = list(&mut operations, by_state(v1::operation::State::Succeeded)).await;
    assert_eq!(ids(&succeeded), begun[4..]);
    let by_model = v1::OperationsListRequest {
        model: "registry.ollama.ai/library/C".into(),
        ..Default::default()
    };
    assert_eq!(
        ids(&list(&mut operations, by_model.clone()).await),
        [&begun[0], &begun[2]]
    );
    let by_both = v1::OperationsListRequest {
        backend: "two".into(),
        ..by_model
    };
    assert_eq!(ids(&list(&mut operations, by_both).await), begun[..1]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_operation_is_told_so() {
    let service = Service::start(Scripted::new(), None).await;
    let mut operations = service.operations().await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let not_found = is(Code::NotFound, "OPERATION_NOT_FOUND");
    for status in [
        get(&mut operations, unknown).await.unwrap_err(),
        cancel(&mut operations, unknown).await.unwrap_err(),
        watch(&mut operations, unknown).await.unwrap_err(),
    ] {
        assert_eq!(told(&status), not_found);
        assert_eq!(metadata(&status, "operationId"), unknown);
    }
    for wrong in ["", "junk"] {
        for status in [
            get(&mut operations, wrong).await.unwrap_err(),
            cancel(&mut operations, wrong).await.unwrap_err(),
            watch(&mut operations, wrong).await.unwrap_err(),
        ] {
            assert_eq!(told(&status), is(Code::InvalidArgument, "REQUEST_INVALID"));
            assert_eq!(fields(&status), ["operation_id"]);
        }
    }
    let wrong = v1::OperationsListRequest {
        page_size: -1,
        page_token: "junk".into(),
        state: 99,
        ..Default::default()
    };
    let status = soon(operations.list(wrong)).await.unwrap_err();
    assert_eq!(fields(&status), ["page_size", "state", "page_token"]);
    let wrong = v1::OperationsListRequest {
        backend: "none".into(),
        ..Default::default()
    };
    let status = soon(operations.list(wrong)).await.unwrap_err();
    assert_eq!(told(&status), is(Code::NotFound, "BACKEND_NOT_FOUND"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_well_whatever_the_outcome() {
    use v1::operation::State;
    let engine = Scripted::new();
    let service = Service::start(engine.clone(), None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    for expected in [State::Succeeded, State::Failed, State::Cancelled] {
        let script = engine.script(None);
        let (stream, first) = pulling(&mut client, pull("m")).await;
        let id = first.operation_id;
        let running = watch(&mut operations, &id).await.unwrap();
        match expected {
            State::Succeeded => script.succeed(&name("m"), "content").await,
            State::Failed => script.fail(backend::Error::new(Kind::DigestMismatch, "broken")).await,
            _ => drop(cancel(&mut operations, &id).await.unwrap()),
        }
        let operation = ended(running).await.unwrap();
        assert_eq!(operation.state(), expected);
        assert!(operation.end_time.is_some());
        // Its own caller is told by a result or a status.
        let result = pulled(stream).await;
        match expected {
            State::Succeeded => assert!(result.unwrap().changed),
            State::Failed => assert_eq!(told(&result.unwrap_err()), is(Code::DataLoss, "DIGEST_MISMATCH")),
            _ => {
                let status = result.unwrap_err();
                assert_eq!(told(&status), is(Code::Cancelled, "OPERATION_CANCELLED"));
                assert_eq!(metadata(&status, "operationId"), id);
            }
        }
        match (expected, operation.outcome.as_ref().unwrap()) {
            (State::Succeeded, v1::operation::Outcome::Pull(result)) => {
                assert_eq!(result.model.as_ref().unwrap().digest, digest("content"));
            }
            (State::Failed, v1::operation::Outcome::Failure(failure)) => assert_eq!(failure.reason, "DIGEST_MISMATCH"),
            (State::Cancelled, v1::operation::Outcome::Failure(failure)) => {
                assert_eq!(failure.reason, "OPERATION_CANCELLED");
            }
            (_, other) => panic!("{other:?}"),
        }
        // Whoever comes later is told the same, and so is Get.
        assert_eq!(
            ended(watch(&mut operations, &id).await.unwrap()).await.unwrap(),
            operation
        );
        assert_eq!(get(&mut operations, &id).await.unwrap(), operation);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_keeps_nothing_and_cancels_nothing() {
    let engine = Scripted::new();
    let mut script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let cancelling = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..pull("m")
    };
    let (stream, first) = pulling(&mut client, cancelling.clone()).await;
    let id = first.operation_id;
    let mut gone = watch(&mut operations, &id).await.unwrap();
    assert!(soon(gone.message()).await.unwrap().is_some());
    drop(gone);
    let watching = watch(&mut operations, &id).await.unwrap();
    // Both are told of, once the one that has gone is noticed to have.
    let mut counts = vec![];
    soon(async {
        while counts.last() != Some(&2) {
            let now = get(&mut operations, &id).await.unwrap();
            assert_eq!(now.state(), v1::operation::State::Running);
            assert!([2, 3].contains(&now.subscriber_count), "{}", now.subscriber_count);
            counts.push(now.subscriber_count);
        }
    })
    .await;
    // The last caller leaves; the watcher does not hold the work.
    drop(stream);
    soon(script.cancelled()).await;
    let operation = ended(watching).await.unwrap();
    assert_eq!(operation.state(), v1::operation::State::Cancelled);
    assert_eq!(failure(&operation).reason, "OPERATION_CANCELLED");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_twice_is_cancelling_once() {
    let engine = Scripted::new();
    let _script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let (stream, first) = pulling(&mut client, pull("m")).await;
    let mut also = operations.clone();
    let (one, two) = tokio::join!(
        cancel(&mut operations, &first.operation_id),
        cancel(&mut also, &first.operation_id)
    );
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(pulled(stream).await.unwrap_err().code(), Code::Cancelled);
    let third = cancel(&mut operations, &first.operation_id).await.unwrap();
    assert_eq!(third.state(), v1::operation::State::Cancelled);
    assert_eq!(third.continues, "");

    // One that has ended well stays as it ended.
    engine.script(None).succeed(&name("m"), "content").await;
    let (stream, second) = pulling(&mut client, pull("m")).await;
    assert_ne!(
        second.operation_id, first.operation_id,
        "what was cancelled is joined by nobody"
    );
    pulled(stream).await.unwrap();
    let late = cancel(&mut operations, &second.operation_id).await.unwrap();
    assert_eq!(late.state(), v1::operation::State::Succeeded);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_goes_on_is_told_of() {
    let engine = Scripted::new();
    let _script = engine.script(Some("the engine finishes what it began"));
    let service = Service::start(engine, None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let (stream, first) = pulling(&mut client, pull("m")).await;
    let operation = cancel(&mut operations, &first.operation_id).await.unwrap();
    assert_eq!(operation.state(), v1::operation::State::Cancelled);
    assert_eq!(operation.continues, "the engine finishes what it began");
    assert_eq!(pulled(stream).await.unwrap_err().code(), Code::Cancelled);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_holds_up_no_cancel() {
    let engine = Scripted::new();
    let service = Service::start(engine.clone(), None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    engine.set_silent(true);
    let (stream, first) = pulling(&mut client, pull("m")).await;
    let start = std::time::Instant::now();
    let operation = cancel(&mut operations, &first.operation_id).await.unwrap();
    assert_eq!(operation.state(), v1::operation::State::Cancelled);
    assert_eq!(operation.continues, "", "a question was given up, no work");
    // Else it is dropped where it stands after ten seconds.
    assert!(
        start.elapsed() < std::time::Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(pulled(stream).await.unwrap_err().code(), Code::Cancelled);
    assert_eq!(engine.pulls(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_operations_are_kept_by_count() {
    let engine = Scripted::new();
    let mut plan = Plan::new(engine.clone());
    plan.settings.keep_operations = 2;
    let service = plan.start().await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let _script = engine.script(None);
    let (_running, first) = pulling(&mut client, pull("running")).await;
    began(&engine, 1).await;
    let running = first.operation_id;
    let mut ended_ids = Vec::new();
    for _ in 0..4 {
        engine.script(None).succeed(&name("m"), "content").await;
        let (stream, first) = pulling(&mut client, pull("m")).await;
        pulled(stream).await.unwrap();
        ended_ids.push(first.operation_id);
    }
    let listed = list(&mut operations, v1::OperationsListRequest::default()).await;
    assert_eq!(
        ids(&listed),
        [&ended_ids[3], &ended_ids[2], &running],
        "running ones are always found"
    );
    let status = get(&mut operations, &ended_ids[0]).await.unwrap_err();
    assert_eq!(told(&status), is(Code::NotFound, "OPERATION_NOT_FOUND"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_an_operation_hears_its_end_though_it_is_forgotten_at_once() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let mut plan = Plan::new(engine.clone());
    plan.settings.keep_operations = 0;
    let service = plan.start().await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let (stream, first) = pulling(&mut client, pull("m")).await;
    let watching = watch(&mut operations, &first.operation_id).await.unwrap();
    script.succeed(&name("m"), "content").await;
    pulled(stream).await.unwrap();
    assert_eq!(ended(watching).await.unwrap().state(), v1::operation::State::Succeeded);

    let _script = engine.script(None);
    let (_stream, first) = pulling(&mut client, pull("m")).await;
    let cancelled = cancel(&mut operations, &first.operation_id).await.unwrap();
    assert_eq!(cancelled.state(), v1::operation::State::Cancelled);
    let status = get(&mut operations, &first.operation_id).await.unwrap_err();
    assert_eq!(told(&status), is(Code::NotFound, "OPERATION_NOT_FOUND"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_operations_are_kept_by_age() {
    let engine = Scripted::new();
    let mut plan = Plan::new(engine.clone());
    plan.settings.keep_operations_for = std::time::Duration::from_millis(100);
    let service = plan.start().await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    engine.script(None).succeed(&name("m"), "content").await;
    let (stream, first) = pulling(&mut client, pull("m")).await;
    pulled(stream).await.unwrap();
    let status = soon(async {
        loop {
            if let Err(status) = get(&mut operations, &first.operation_id).await {
                break status;
            }
        }
    })
    .await;
    assert_eq!(told(&status), is(Code::NotFound, "OPERATION_NOT_FOUND"));
    for status in [
        watch(&mut operations, &first.operation_id).await.unwrap_err(),
        cancel(&mut operations, &first.operation_id).await.unwrap_err(),
    ] {
        assert_eq!(told(&status), is(Code::NotFound, "OPERATION_NOT_FOUND"));
    }
    service.stop().await;
}
