//! The service ends, whoever is connected.

use std::time::{Duration, SystemTime};

use model_control::{
    engines::Setup,
    manager::{Manager, request},
    model::{Capability, Digest},
    operation::{self, Limits, OnDisconnect, Opening},
    source::Roots,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{calls::*, support::*};

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_with_open_streams_watches_and_silent_sockets() {
    let engine = Scripted::new();
    let _script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut stream = soon(service.client().await.pull(pull("m"))).await.unwrap().into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
    let request = HealthCheckRequest {
        service: "liveness".into(),
    };
    let mut watch = soon(HealthClient::new(service.channel().await).watch(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 1);
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    service.stop().await;
    let status = loop {
        if let Err(status) = soon(stream.message()).await {
            break status;
        }
    };
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    assert_eq!(
        soon(watch.message()).await.unwrap().unwrap().status,
        2,
        "NOT_SERVING is told first"
    );
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_shutdown_interrupts_is_told_so() {
    let engine = Scripted::new();
    let mut scripts = [engine.script(None), engine.script(Some("the engine goes on"))];
    let service = Service::start(engine.clone(), None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let mut streams = Vec::new();
    let mut watches = Vec::new();
    for (number, model) in (1..).zip(["a", "b"]) {
        let (stream, first) = pulling(&mut client, pull(model)).await;
        began(&engine, number).await;
        watches.push(watch(&mut operations, &first.operation_id).await.unwrap());
        streams.push(stream);
    }
    service.stop().await;
    for script in &mut scripts {
        soon(script.cancelled()).await;
    }
    // That is no end of the work: a successor may take it up under the same id.
    for watching in watches {
        let status = ended(watching).await.unwrap_err();
        assert_eq!(told(&status), is(Code::Unavailable, "SHUTTING_DOWN"));
    }
    for stream in streams {
        let status = pulled(stream).await.unwrap_err();
        assert_eq!(told(&status), is(Code::Unavailable, "SHUTTING_DOWN"));
        assert!(retry_delay(&status).is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_shutdown_interrupts_is_told_so() {
    let engine = Scripted::new();
    engine.set_capabilities([Capability::Unload]);
    engine.put(&name("m"), "content");
    let service = Service::start(engine.clone(), None).await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    engine.set_silent(true);
    let request = v1::UnloadRequest {
        model: "m".into(),
        ..Default::default()
    };
    let unloading = tokio::spawn(async move { soon(client.unload(request)).await });
    let running = v1::OperationsListRequest {
        state: v1::operation::State::Running.into(),
        ..Default::default()
    };
    soon(async {
        while operations
            .list(running.clone())
            .await
            .unwrap()
            .into_inner()
            .operations
            .is_empty()
        {}
    })
    .await;
    service.stop().await;
    let status = unloading.await.unwrap().unwrap_err();
    assert_eq!(told(&status), is(Code::Unavailable, "SHUTTING_DOWN"));
    assert!(retry_delay(&status).is_some());
}

/// A manager that records its operations there, and what the journal held.
fn manager(engine: &Arc<Scripted>, folder: &Path) -> (Manager, Opening) {
    let setup = Setup {
        entries: vec![Arc::new(entry("one", engine.clone()))],
        digest: Digest::of(b""),
        load_time: SystemTime::now(),
    };
    let limits = Limits {
        running: 8,
        ended: 8,
        ended_for: LONG,
    };
    let (operations, opening) = operation::Operations::recorded(limits, folder);
    let roots = Roots::new(&[]).unwrap();
    (
        Manager::new(Arc::new(setup), operations, roots, Arc::default()),
        opening,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_inherits_while_it_drains_is_its_successors() {
    let engine = Scripted::new();
    // Two of the first service, and two of the third.
    let _scripts = [(); 4].map(|()| engine.script(None));
    let folder = tempfile::tempdir().unwrap();
    let (first, opening) = manager(&engine, folder.path());
    soon(first.resume(opening)).await;
    let mut ids = Vec::new();
    for model in ["m", "n"] {
        let request = request::Pull {
            backend: "one".into(),
            model: name(model),
            digest: None,
            insecure: false,
            on_disconnect: OnDisconnect::Keep,
        };
        ids.push(soon(first.pull(request)).await.unwrap().id());
    }
    soon(first.operations().shutdown()).await;
    soon(first.operations().close_journal()).await;

    // It was told to end before it was the first one's turn to give the journal up.
    let (second, opening) = manager(&engine, folder.path());
    second.operations().drain();
    soon(second.resume(opening)).await;
    for id in &ids {
        assert!(second.operations().get(*id).is_none(), "it has no end of its own");
    }
    soon(second.operations().shutdown()).await;
    soon(second.operations().close_journal()).await;

    let (third, opening) = manager(&engine, folder.path());
    soon(third.resume(opening)).await;
    for id in ids {
        let status = third.operations().get(id).unwrap().status;
        assert!(status.ended.is_none(), "{status:?}");
    }
    soon(third.operations().shutdown()).await;
    soon(third.operations().close_journal()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_drain_questions_are_answered_and_new_work_is_refused() {
    let engine = Scripted::new();
    engine.put(&name("m"), "content");
    let script = engine.script(None);
    let mut plan = Plan::new(engine);
    plan.settings.drain_delay = Duration::from_millis(1500);
    let service = plan.start().await;
    let (mut client, mut operations) = (service.client().await, service.operations().await);
    let (stream, first) = pulling(&mut client, pull("n")).await;
    let mut health = HealthClient::new(service.channel().await);
    let mut watches = Vec::new();
    for (name, now) in [("liveness", 1), ("backends/one", 1), ("nobody", 3)] {
        let request = HealthCheckRequest { service: name.into() };
        let mut watch = soon(health.watch(request)).await.unwrap().into_inner();
        while soon(watch.message()).await.unwrap().unwrap().status != now {}
        watches.push(watch);
    }
    let stopping = tokio::spawn(service.stop());
    for watch in &mut watches[..2] {
        assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 2);
    }
    let refused = is(Code::Unavailable, "SHUTTING_DOWN");
    for status in [
        soon(client.pull(pull("m"))).await.unwrap_err(),
        soon(client.pull(pull("n"))).await.unwrap_err(),
        ensured(&mut client, ensure("m")).await.unwrap_err(),
    ] {
        assert_eq!(told(&status), refused);
        assert!(retry_delay(&status).is_some());
    }
    soon(client.list(v1::ListRequest::default()))
        .await
        .expect("questions are answered");
    let running = get(&mut operations, &first.operation_id).await.unwrap();
    assert_eq!(running.state(), v1::operation::State::Running);
    // What ends meanwhile ends as always.
    script.succeed(&name("n"), "content").await;
    assert!(pulled(stream).await.unwrap().changed);
    soon(stopping).await.unwrap();
    for mut watch in watches {
        let end = soon(watch.message()).await.unwrap_err();
        assert_eq!(told(&end), refused, "the stream ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_service_is_not_there_any_more() {
    let engine = Scripted::new();
    let service = Service::start(engine.clone(), None).await;
    let address = service.address;
    let mut client = service.client().await;
    soon(client.list(v1::ListRequest::default())).await.unwrap();
    service.stop().await;
    let status = soon(client.list(v1::ListRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
    assert_eq!(Arc::strong_count(&engine), 1, "nothing of the service holds the engine");
}
