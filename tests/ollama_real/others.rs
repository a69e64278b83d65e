//! Another client of the same Ollama, of which the service knows nothing.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;
use tonic::Code;

use super::{
    calls,
    hub::{Gate, Way},
    models::{noise, tiny},
    support::soon,
    world::{World, assert_clean},
};

/// A request that is not waited for.
fn ask(address: SocketAddr, method: &str, path: &str, body: &serde_json::Value) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let len = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let read = move || {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    soon(tokio::task::spawn_blocking(read)).await.unwrap().unwrap()
}

/// Whatever comes first, the caller learns what is so.
#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_in_the_middle_makes_no_lie() {
    let Some(mut world) = World::new().await else { return };
    world.hub.publish("m", &[("model", &tiny(0))]);
    let (address, name) = (world.server.address(), world.hub.name("m"));
    let done = Arc::new(AtomicBool::new(false));
    let deleting = {
        let done = Arc::clone(&done);
        tokio::task::spawn_blocking(move || {
            while !done.load(Ordering::Relaxed) {
                let mut stream = ask(address, "DELETE", "/api/delete", &json!({"model": name}));
                stream.read_to_string(&mut String::new()).ok();
            }
        })
    };
    let mut ends = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let end = match calls::ensured(&mut world.client.clone(), world.ensure("m")).await {
            Ok(result) => {
                assert!(result.model.unwrap().digest.starts_with("sha256:"));
                "ready".to_owned()
            }
            Err(status) => {
                assert_clean(&status, &world);
                // What was there a moment ago is not there any more, and that is what is told.
                assert_eq!(
                    calls::told(&status),
                    calls::is(Code::Internal, "BACKEND_PROTOCOL"),
                    "{status:?}"
                );
                assert!(status.message().contains("but does not list"), "{status:?}");
                "not listed".to_owned()
            }
        };
        *ends.entry(end).or_insert(0) += 1;
    }
    done.store(true, Ordering::Relaxed);
    deleting.await.unwrap();
    eprintln!("with a client that deletes all the time: {ends:?}");
    // What was answered a moment before the last removal may be told for a moment more. A list asks anew.
    world.listed("m").await;
    let ready = calls::ensured(&mut world.client.clone(), world.ensure("m")).await;
    assert_eq!(
        ready.unwrap().model.unwrap().digest,
        world.listed("m").await.unwrap().digest
    );
    world.lives();
}

/// Ollama shares the download, and who leaves leaves it to the other.
#[tokio::test(flavor = "multi_thread")]
async fn who_pulls_the_same_blob_and_leaves_stops_nobody() {
    let Some(mut world) = World::new().await else { return };
    for stays in [true, false] {
        let gate = Gate::new();
        let model = if stays { "stays" } else { "leaves" };
        let blob = world.hub.publish(model, &[("model", &noise(stays.into(), 1 << 20))]);
        let way = Way {
            body: Some((1000, gate.clone())),
            ..Way::default()
        };
        world.hub.way(&blob, way);
        let body = json!({"model": world.hub.name(model), "insecure": true});
        let theirs = ask(world.server.address(), "POST", "/api/pull", &body);
        world.hub.is_asked(&["GET storage", blob.as_str()], 1).await;
        let (ours, _) = calls::pulling(&mut world.client.clone(), world.request(model)).await;
        world.hub.is_asked(&[&format!("/library/{model}/manifests/")], 2).await;
        if stays {
            gate.open();
            assert!(answer(theirs).await.contains("\"status\":\"success\""));
        } else {
            theirs.shutdown(Shutdown::Both).unwrap();
            drop(theirs);
            gate.open();
        }
        let pulled = calls::pulled(ours).await.unwrap();
        assert_eq!(pulled.model.unwrap().digest, world.listed(model).await.unwrap().digest);
        world.lives();
    }
}

/// It asks for the size of the blob when ours joins it, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_blob_first_is_joined() {
    let Some(mut world) = World::new().await else { return };
    let gate = Gate::new();
    let blob = world.hub.publish("m", &[("model", &noise(7, 1 << 20))]);
    let way = Way {
        head: Some(gate.clone()),
        ..Way::default()
    };
    world.hub.way(&blob, way);
    let body = json!({"model": world.hub.name("m"), "insecure": true});
    let theirs = ask(world.server.address(), "POST", "/api/pull", &body);
    world.hub.is_asked(&["HEAD", blob.as_str()], 1).await;
    let (ours, _) = calls::pulling(&mut world.client.clone(), world.request("m")).await;
    world.hub.is_asked(&["/manifests/"], 2).await;
    gate.open();
    assert!(answer(theirs).await.contains("\"status\":\"success\""));
    assert!(calls::pulled(ours).await.unwrap().model.is_some());
    world.lives();
}
