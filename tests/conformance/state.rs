//! What is told of the engine: description, readiness, health.

use super::{
    case::{Need, cases},
    support::{HealthCheckRequest, soon, v1},
    world::{Ground, Kind, tiny},
};

const SERVING: i32 = 1;
const SERVICE_UNKNOWN: i32 = 3;

cases![state =>
    the_engine_is_described [],
    health_follows_the_list [Registry],
    services_are_serving [],
];

async fn the_engine_is_described(ground: Ground) {
    let world = ground.start().await;
    world.health("backends/one", SERVING).await;
    let described = soon(world.client.clone().describe(v1::DescribeRequest::default())).await;
    let backends = described.unwrap().into_inner().backends;
    let [backend] = backends.as_slice() else {
        panic!("{backends:?}")
    };
    assert_eq!(
        (backend.name.as_str(), backend.framework.as_str()),
        ("one", world.ground.kind.framework())
    );
    assert_eq!(backend.state(), v1::backend::State::Ready);
    assert!(backend.failure.is_none() && backend.last_seen_time.is_some());
    let can: Vec<_> = backend.capabilities().collect();
    assert!(can.contains(&v1::BackendCapability::Pull), "{can:?}");
    assert!(can.contains(&v1::BackendCapability::Push), "{can:?}");
    let creates = can.contains(&v1::BackendCapability::Create);
    assert_eq!(creates, world.ground.kind.has(Need::Create), "{can:?}");
    if world.ground.kind == Kind::Embedded {
        assert_eq!(backend.inference_endpoint, "", "each model has its own");
        return;
    }
    assert_eq!(backend.version, "0.34.0");
    assert!(
        backend.endpoint.starts_with("http://127.0.0.1:"),
        "{}",
        backend.endpoint
    );
    assert_eq!(backend.inference_endpoint, backend.endpoint);
    assert_eq!(backend.protocols.len(), 2);
}

async fn health_follows_the_list(ground: Ground) {
    let world = ground.start().await;
    let request = HealthCheckRequest {
        service: format!("backends/one/models/{}", world.ground.name("m")),
    };
    let mut watch = soon(world.health.clone().watch(request)).await.unwrap().into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, SERVICE_UNKNOWN);
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    world.pull(&world.ground.name("m")).await.unwrap();
    while soon(watch.message()).await.unwrap().expect("it goes on").status != SERVING {}
}

async fn services_are_serving(ground: Ground) {
    let world = ground.start().await;
    for name in [
        "liveness",
        "",
        "ichat.modelcontrol.v1.ModelControl",
        "ichat.modelcontrol.v1.Operations",
        "backends/one",
    ] {
        world.health(name, SERVING).await;
    }
}
