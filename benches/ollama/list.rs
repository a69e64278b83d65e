//! List over gRPC, and `GET /api/tags` read to its end; both warm and uncached. Of one model, also an empty call.

use std::time::Instant;

use model_control::grpc::proto::v1::ListRequest;

use crate::{
    Client, World, bare,
    empty::Empty,
    support::{Samples, row, setting},
};

const COUNTS: [usize; 3] = [1, 100, 1000];
const WARM: usize = 20;

struct Scene {
    count: usize,
    world: World,
    client: Client,
    ours: Samples,
    raw: Samples,
    decoded: Samples,
}

pub(crate) async fn bench() {
    let (http, empty) = (bare(), Empty::start());
    let mut nothing = empty.client().await;
    let mut calls = Samples::default();
    let mut scenes = Vec::new();
    for count in COUNTS {
        scenes.push(Scene::new(count).await);
    }
    for _ in 0..WARM {
        call(&mut nothing, 0).await;
        for scene in &mut scenes {
            scene.round(&http, false).await;
        }
    }
    for _ in 0..setting("ROUNDS", 300) {
        calls.push(call(&mut nothing, 0).await);
        for scene in &mut scenes {
            scene.round(&http, true).await;
        }
    }
    for scene in &scenes {
        let Scene {
            count,
            ours,
            raw,
            decoded,
            ..
        } = scene;
        row(&format!("List of {count} models over gRPC"), ours.of("ms"), "");
        row("  GET /api/tags", raw.of("ms"), "");
        row("  GET /api/tags, read as JSON", decoded.of("ms"), "");
        let bound = match count {
            100 => "at most 1.15",
            1000 => "at most 1.05",
            _ => "",
        };
        row(
            "  the one by the other, p50",
            format!("{:.3}", ours.median() / raw.median()),
            bound,
        );
        row(
            "  by the one read as JSON",
            format!("{:.3}", ours.median() / decoded.median()),
            "",
        );
        if *count == 1 {
            let added = (ours.median() - raw.median()) * 1e3;
            row("  added", format!("{added:.0} µs"), "");
            row("  an empty tonic call", format!("{:.0} µs", calls.median() * 1e3), "");
        }
    }
}

/// Milliseconds.
async fn call(client: &mut Client, expected: usize) -> f64 {
    let request = ListRequest {
        page_size: 1000,
        ..Default::default()
    };
    let start = Instant::now();
    let page = client.list(request).await.unwrap().into_inner();
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(page.models.len(), expected);
    milliseconds
}

// === impl Scene ===

impl Scene {
    async fn new(count: usize) -> Self {
        let (world, client) = World::new(&[]).await;
        world.fill(count);
        Self {
            count,
            world,
            client,
            ours: Samples::default(),
            raw: Samples::default(),
            decoded: Samples::default(),
        }
    }

    async fn round(&mut self, http: &reqwest::Client, counts: bool) {
        let url = format!("{}/api/tags", self.world.server.url());
        let ours = call(&mut self.client, self.count).await;
        let start = Instant::now();
        http.get(&url).send().await.unwrap().bytes().await.unwrap();
        let raw = start.elapsed().as_secs_f64() * 1e3;
        let start = Instant::now();
        let body = http.get(&url).send().await.unwrap().bytes().await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let decoded = start.elapsed().as_secs_f64() * 1e3;
        assert_eq!(body["models"].as_array().unwrap().len(), self.count);
        if counts {
            self.ours.push(ours);
            self.raw.push(raw);
            self.decoded.push(decoded);
        }
    }
}
