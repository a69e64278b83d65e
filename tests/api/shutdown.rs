//! The service ends, whoever is connected.

use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::support::*;

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
