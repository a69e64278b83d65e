//! What following a pull of Ollama's costs the service, over a road of a bounded rate.

use std::time::Instant;

use model_control::grpc::proto::v1::{PullRequest, pull_response::Event};

use crate::{
    World,
    registry::{Front, Registry, Relay},
    support::{Samples, busy, row, setting},
};

/// Of each connection, in bytes a second.
const RATE: u64 = 10_000_000;
const MIB: u64 = 256;

pub(crate) async fn bench() {
    let Some(registry) = Registry::start() else { return };
    let relay = Relay::to(&registry, Some(RATE)).await;
    let front = Front::before(&registry, relay.address).await;
    let allow = format!("--allow-registry=http://{}", front.address);
    let (world, mut client) = World::new(&[&allow]).await;
    let file = world.home.write_model("big.gguf", MIB);
    let [mut seconds, mut share, mut messages] = std::array::from_fn(|_| Samples::default());
    for round in 0..setting("ROUNDS", 3) {
        let repository = format!("library/big{round}");
        let layer = [("model", file.as_path())];
        registry.push(&repository, "latest", &layer).await;
        let request = PullRequest {
            model: format!("{}/{repository}", front.address),
            insecure: true,
            ..Default::default()
        };
        let (before, start) = (busy(world.service.pid()), Instant::now());
        let mut stream = client.pull(request).await.unwrap().into_inner();
        let (mut count, mut last) = (0.0, None);
        while let Some(message) = stream.message().await.unwrap() {
            count += 1.0;
            last = message.event;
        }
        assert!(matches!(last, Some(Event::Result(result)) if result.changed));
        let lasted = start.elapsed().as_secs_f64();
        seconds.push(lasted);
        share.push((busy(world.service.pid()) - before) / lasted * 100.0);
        messages.push(count);
        let delete = serde_json::json!({"model": format!("{}/{repository}", front.address)});
        world.server.ask("DELETE", "/api/delete", &delete.to_string()).unwrap();
    }
    row(
        &format!("Pull of {MIB} MiB through Ollama, 10 MB/s a connection"),
        seconds.of("s"),
        "",
    );
    row("  messages", messages.of(""), "");
    row("  the service's share of a core", share.of("%"), "at most 2 %");
}
