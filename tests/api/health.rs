//! The standard health service.

use std::time::Duration;

use model_control::{config, engines::Desired, grpc::proto::health::HealthListRequest};
use tonic::Streaming;

use super::{calls::*, support::*};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

type Health = HealthClient<Channel>;
type Watch = Streaming<model_control::grpc::proto::health::HealthCheckResponse>;

async fn health(service: &Service) -> Health {
    HealthClient::new(service.channel().await)
}

async fn check(health: &mut Health, name: &str) -> Result<i32, Status> {
    let request = HealthCheckRequest { service: name.into() };
    Ok(soon(health.check(request)).await?.into_inner().status)
}

async fn observe(health: &mut Health, name: &str) -> Watch {
    let request = HealthCheckRequest { service: name.into() };
    soon(health.watch(request)).await.unwrap().into_inner()
}

async fn next(watch: &mut Watch) -> i32 {
    soon(watch.message())
        .await
        .unwrap()
        .expect("the stream stays open")
        .status
}

/// Reads until the status comes, which it must.
async fn until(watch: &mut Watch, status: i32) {
    while next(watch).await != status {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_health_name_is_watched_until_it_is_known() {
    let engine = Scripted::new();
    let service = Service::start(engine.clone(), None).await;
    let request = HealthCheckRequest {
        service: "backends/one/models/m".into(),
    };
    let mut watch = soon(HealthClient::new(service.channel().await).watch(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 3);
    engine.put(&"m".parse().unwrap(), "content");
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_alone_is_served_on_its_own_listener() {
    let mut plan = Plan::new(Scripted::new());
    plan.settings.health_listen = Some("127.0.0.1:0".parse().unwrap());
    let service = plan.start().await;
    let side = channel(service.health.unwrap()).await;
    let request = HealthCheckRequest {
        service: "liveness".into(),
    };
    let answer = soon(HealthClient::new(side.clone()).check(request)).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
    let status = soon(ModelControlClient::new(side).list(v1::ListRequest::default()))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unimplemented, "METHOD_UNKNOWN")
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_the_table_is_checked() {
    let (one, two) = (Scripted::new(), Scripted::new());
    one.put(&name("there"), "content");
    one.put(&name("unasked"), "content");
    let mut plan = configured(one, [startup("there")]);
    plan.entries.push(entry("two", two.clone()));
    plan.entries[1].desired = vec![Desired::new(startup("absent"))];
    plan.entries.push(model_control::engines::Entry {
        engine: None,
        ..entry("alien", two)
    });
    let service = plan.start().await;
    let mut health = health(&service).await;
    for ready in ["backends/one", "backends/one/models/unasked"] {
        until(&mut observe(&mut health, ready).await, SERVING).await;
    }
    until(
        &mut observe(&mut health, "ichat.modelcontrol.v1.ModelControl").await,
        SERVING,
    )
    .await;
    for (name, expected) in [
        ("liveness", Some(SERVING)),
        ("ichat.modelcontrol.v1.ModelControl", Some(SERVING)),
        ("ichat.modelcontrol.v1.Operations", Some(SERVING)),
        ("", Some(NOT_SERVING)),
        ("backends/one", Some(SERVING)),
        ("backends/two", Some(NOT_SERVING)),
        ("backends/one/models/there", Some(SERVING)),
        ("backends/one/models/there:latest", Some(SERVING)),
        (
            "backends/one/models/registry.ollama.ai/library/there:latest",
            Some(SERVING),
        ),
        ("backends/one/models/unasked:latest", Some(SERVING)),
        ("backends/two/models/absent", Some(NOT_SERVING)),
        ("backends/two/models/there", None),
        ("backends/one/models/other", None),
        ("backends/one/models/", None),
        ("backends/one/", None),
        ("backends/", None),
        ("backends", None),
        ("backends/three", None),
        ("backends/alien", None),
        ("grpc.health.v1.Health", None),
        ("Liveness", None),
    ] {
        match (check(&mut health, name).await, expected) {
            (Ok(status), Some(expected)) => assert_eq!(status, expected, "{name}"),
            (Err(status), None) => assert_eq!(status.code(), Code::NotFound, "{name}"),
            (answer, _) => panic!("{name}: {answer:?}"),
        }
    }
    let listed = soon(health.list(HealthListRequest {})).await.unwrap().into_inner();
    let mut listed: Vec<_> = listed
        .statuses
        .iter()
        .map(|(name, one)| (name.as_str(), one.status))
        .collect();
    listed.sort_unstable();
    assert_eq!(
        listed,
        [
            ("", NOT_SERVING),
            ("backends/one", SERVING),
            ("backends/one/models/registry.ollama.ai/library/there:latest", SERVING),
            ("backends/two", NOT_SERVING),
            (
                "backends/two/models/registry.ollama.ai/library/absent:latest",
                NOT_SERVING
            ),
            ("ichat.modelcontrol.v1.ModelControl", SERVING),
            ("ichat.modelcontrol.v1.Operations", SERVING),
            ("liveness", SERVING),
        ]
    );
    service.stop().await;
}

/// A model that is made ready at start.
fn startup(model: &str) -> config::Desired {
    config::Desired {
        keep_alive: None,
        context_length: None,
        ensure: config::Ensure::Startup,
        ..desired(model)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_hundred_names_are_checked_one_by_one() {
    // Process, whole, two services and the backend are five.
    for (models, fits) in [(95, true), (96, false)] {
        let models = (0..models).map(|number| desired(&format!("m{number}")));
        let service = configured(Scripted::new(), models).start().await;
        let mut health = health(&service).await;
        let listed = soon(health.list(HealthListRequest {})).await;
        if fits {
            assert_eq!(listed.unwrap().into_inner().statuses.len(), 100);
        } else {
            assert_eq!(listed.unwrap_err().code(), Code::ResourceExhausted);
        }
        assert_eq!(
            check(&mut health, "backends/one/models/m94").await.unwrap(),
            NOT_SERVING
        );
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_serves_before_it_was_seen_to() {
    let engine = Scripted::new();
    engine.put(&name("m"), "content");
    engine.set_silent(true);
    let service = configured(engine.clone(), [desired("m")]).start().await;
    let mut health = health(&service).await;
    let names = [
        "",
        "ichat.modelcontrol.v1.ModelControl",
        "ichat.modelcontrol.v1.Operations",
        "backends/one",
        "backends/one/models/m",
    ];
    for name in names {
        assert_eq!(check(&mut health, name).await.unwrap(), NOT_SERVING, "{name}");
    }
    assert_eq!(check(&mut health, "liveness").await.unwrap(), SERVING);
    let mut whole = observe(&mut health, "").await;
    assert_eq!(next(&mut whole).await, NOT_SERVING);
    engine.set_silent(false);
    assert_eq!(next(&mut whole).await, SERVING);
    for name in names {
        assert_eq!(check(&mut health, name).await.unwrap(), SERVING, "{name}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_health_never_reaches_an_engine() {
    let engine = Scripted::new();
    engine.put(&name("m"), "content");
    let mut plan = configured(engine.clone(), [desired("m")]);
    plan.settings.probe_interval = Duration::from_hours(1);
    let service = plan.start().await;
    let mut health = health(&service).await;
    until(&mut observe(&mut health, "").await, SERVING).await;
    let before = engine.calls();
    engine.set_silent(true);
    for _ in 0..20 {
        for name in ["", "liveness", "backends/one", "backends/one/models/m"] {
            assert_eq!(check(&mut health, name).await.unwrap(), SERVING, "{name}");
            assert_eq!(next(&mut observe(&mut health, name).await).await, SERVING, "{name}");
        }
        soon(health.list(HealthListRequest {})).await.unwrap();
    }
    assert_eq!(engine.calls(), before);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_is_told_after_three_failures_and_at_once_when_it_is_back() {
    let engine = Scripted::new();
    engine.put(&name("m"), "content");
    let mut plan = configured(engine.clone(), [desired("m")]);
    plan.settings.probe_interval = Duration::from_millis(50);
    plan.entries.push(entry("two", Scripted::new()));
    let service = plan.start().await;
    let mut health = health(&service).await;
    let mut watches = Vec::new();
    for name in ["", "backends/one", "backends/one/models/m"] {
        let mut watch = observe(&mut health, name).await;
        until(&mut watch, SERVING).await;
        watches.push(watch);
    }
    let before = engine.calls();
    engine.set_reachable(false);
    for watch in &mut watches {
        assert_eq!(next(watch).await, NOT_SERVING);
    }
    // A failed probe is one call, and one may have begun before.
    assert!(engine.calls() - before >= 3, "{}", engine.calls() - before);
    let services = check(&mut health, "ichat.modelcontrol.v1.ModelControl").await.unwrap();
    assert_eq!(services, SERVING, "the other backend answers");
    assert_eq!(check(&mut health, "backends/two").await.unwrap(), SERVING);
    engine.set_reachable(true);
    for watch in &mut watches {
        assert_eq!(next(watch).await, SERVING);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_for_later_counts_once_it_was_asked_for() {
    let engine = Scripted::new();
    let mut plan = configured(engine.clone(), [desired("later")]);
    plan.settings.probe_interval = Duration::from_hours(1);
    let service = plan.start().await;
    let mut client = service.client().await;
    let mut health = health(&service).await;
    let mut whole = observe(&mut health, "").await;
    until(&mut whole, SERVING).await;
    let model = "backends/one/models/later";
    assert_eq!(check(&mut health, model).await.unwrap(), NOT_SERVING, "it is not there");

    let dry = v1::EnsureReadyRequest {
        dry_run: true,
        ..ensure("later")
    };
    ensured(&mut client, dry).await.unwrap();
    assert_eq!(check(&mut health, "").await.unwrap(), SERVING, "nobody wants it yet");

    let script = engine.script(None);
    let asking = soon(client.ensure_ready(ensure("later"))).await.unwrap().into_inner();
    assert_eq!(
        check(&mut health, "").await.unwrap(),
        NOT_SERVING,
        "it counts from now on"
    );
    assert_eq!(next(&mut whole).await, NOT_SERVING, "its watchers hear it now");
    assert_eq!(check(&mut health, "backends/one").await.unwrap(), NOT_SERVING);
    script.succeed(&name("later"), "content").await;
    ready(asking).await.unwrap();
    // The end of the work is looked at, though the next probe is an hour away.
    let mut watch = observe(&mut health, model).await;
    until(&mut watch, SERVING).await;
    assert_eq!(next(&mut whole).await, SERVING);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_goes_is_told_as_what_it_was() {
    let engine = Scripted::new();
    for model in ["wanted", "pinned", "found"] {
        engine.put(&name(model), "content");
    }
    let pinned = config::Desired {
        digest: Some(model_control::model::Digest::of(b"content")),
        ..desired("pinned")
    };
    let mut plan = configured(engine.clone(), [desired("wanted"), pinned]);
    plan.settings.probe_interval = Duration::from_millis(50);
    let service = plan.start().await;
    let mut health = health(&service).await;
    let mut watches = Vec::new();
    for model in ["wanted", "pinned", "found"] {
        let mut watch = observe(&mut health, &format!("backends/one/models/{model}")).await;
        until(&mut watch, SERVING).await;
        watches.push(watch);
    }
    engine.remove(&name("wanted"));
    engine.remove(&name("found"));
    engine.put(&name("pinned"), "other");
    assert_eq!(next(&mut watches[0]).await, NOT_SERVING, "the configuration wants it");
    assert_eq!(next(&mut watches[1]).await, NOT_SERVING, "it is another one");
    assert_eq!(next(&mut watches[2]).await, SERVICE_UNKNOWN, "nobody knows it any more");
    let status = check(&mut health, "backends/one/models/found").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    for model in ["wanted", "pinned", "found"] {
        engine.put(&name(model), "content");
    }
    for watch in &mut watches {
        assert_eq!(next(watch).await, SERVING);
    }
    service.stop().await;
}
