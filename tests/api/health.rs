//! The standard health service.

use super::support::*;

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
