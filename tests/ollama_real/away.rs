//! Ollama's port taken by another program that speaks HTTP.

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    response::IntoResponse as _,
};
use tokio::net::TcpListener;
use tonic::Code;

use super::{
    calls,
    hub::{listener, serve},
    models::tiny,
    support::{soon, v1},
    world::{NOT_SERVING, SERVING, World, assert_clean},
};

/// Answers everything alike.
fn stranger(status: u16, location: String) -> Router {
    Router::new().fallback(move || {
        let location = location.clone();
        async move {
            let page = Body::from("<!doctype html><title>Welcome</title>");
            let response = Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .header("content-type", "text/html; charset=utf-8");
            let response = if location.is_empty() {
                response
            } else {
                response.header("location", location)
            };
            response.body(page).unwrap().into_response()
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_its_port_is_told_and_never_followed() {
    let Some(mut world) = World::new().await else { return };
    world.hub.publish("m", &[("model", &tiny(0))]);
    let path = world.put("c.gguf", &tiny(1));
    // Where a redirect would lead: whoever comes there is counted as a connection.
    let lured = listener().await;
    let elsewhere = format!("http://{}/", lured.local_addr().unwrap());
    for (status, location) in [
        (200, String::new()),
        (404, String::new()),
        (302, elsewhere.clone()),
        (308, elsewhere),
    ] {
        world.health("backends/one", SERVING).await;
        world.server.kill();
        let port = TcpListener::bind(world.server.address()).await.unwrap();
        let stranger = serve(port, stranger(status, location));
        world.health("backends/one", NOT_SERVING).await;
        let mut client = world.client.clone();
        for answer in [
            soon(client.list(v1::ListRequest::default())).await.map(drop),
            calls::ensured(&mut client, world.ensure("m")).await.map(drop),
            world.pull("m").await.map(drop),
            world.create("c", &path).await.map(drop),
        ] {
            let answer = answer.expect_err("no Ollama is there");
            assert_clean(&answer, &world);
            assert_eq!(
                calls::told(&answer),
                calls::is(Code::Internal, "BACKEND_PROTOCOL"),
                "{status}: {answer:?}"
            );
        }
        stranger.abort();
        world.server.restart();
    }
    world.health("backends/one", SERVING).await;
    assert!(world.pull("m").await.unwrap().changed);
    assert!(world.create("c", &path).await.unwrap().changed);
    let came = tokio::time::timeout(std::time::Duration::ZERO, lured.accept()).await;
    assert!(came.is_err(), "a redirect was followed");
    world.lives();
}
