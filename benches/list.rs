//! List over gRPC with 10 to 10 000 models in the store, pages of 1000 followed.
//!
//! Warm: the store was listed before. First: the first answer of a process that has just started; the files are in the
//! system's cache.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/service.rs"]
mod service;
mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use model_control::{
    gguf::{TensorKind, build::Builder},
    grpc::proto::v1::{ListRequest, model_control_client::ModelControlClient},
    model::Digest,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use self::{
    service::{Home, Service},
    support::{Memory, Samples, mib, row, setting},
};

const COUNTS: [usize; 4] = [10, 100, 1000, 10_000];
const FIRST: usize = 5;

struct Scene {
    count: usize,
    home: Home,
    first: Samples,
    warm: Samples,
    small_pages: Samples,
}

fn main() {
    support::run("list: over gRPC, by the number of models in the store", bench());
}

async fn bench() {
    let mut scenes: Vec<_> = COUNTS.into_iter().map(Scene::new).collect();
    // A state of the disk that is younger than two seconds is not trusted: it would be read again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..FIRST {
        for scene in &mut scenes {
            let (_service, mut client) = scene.start().await;
            scene.first.push(scene.list(&mut client, 1000).await);
        }
    }
    let mut running = Vec::new();
    for scene in &scenes {
        let (service, mut client) = scene.start().await;
        scene.list(&mut client, 1000).await;
        running.push((service, client));
    }
    for round in 0..setting("ROUNDS", 200) {
        for (scene, (_, client)) in scenes.iter_mut().zip(&mut running) {
            // The large one would take most of the time.
            if scene.count < 10_000 || round % 10 == 0 {
                let seconds = scene.list(client, 1000).await;
                scene.warm.push(seconds);
            }
            if round % 40 == 0 {
                let seconds = scene.list(client, 100).await;
                scene.small_pages.push(seconds);
            }
        }
    }
    for (scene, (service, _)) in scenes.iter().zip(&running) {
        let count = scene.count;
        row(&format!("{count} models, warm"), scene.warm.of("ms"), "");
        row(
            &format!("{count} models, warm, pages of 100"),
            scene.small_pages.of("ms"),
            "",
        );
        row(&format!("{count} models, first"), scene.first.of("ms"), "");
        row("  resident afterwards", mib(Memory::of(service.pid()).resident), "");
    }
    let [ten, _, thousand, most] = &scenes[..] else {
        panic!("four counts")
    };
    let ratio = |a: &Samples, b: &Samples| format!("{:.1}", a.median() / b.median());
    row("1000 by 10, warm", ratio(&thousand.warm, &ten.warm), "at most 100");
    row("1000 by 10, first", ratio(&thousand.first, &ten.first), "");
    row(
        "10000 by 1000, warm",
        ratio(&most.warm, &thousand.warm),
        "linear: about 10",
    );
    row(
        "10000 by 1000, first",
        ratio(&most.first, &thousand.first),
        "linear: about 10",
    );
}

// === impl Scene ===

impl Scene {
    /// A store as creates would make it, written without their care for durability.
    fn new(count: usize) -> Self {
        let home = Home::new();
        fs::create_dir_all(home.store("blobs")).unwrap();
        for number in 0..count {
            let model = Builder::new("llama")
                .unsigned("general.file_type", 1)
                .unsigned("llama.context_length", 4096)
                .unsigned("llama.embedding_length", 64)
                .text("tokenizer.chat_template", &"{{ messages }}".repeat(100))
                .tensor("a", &[64, 16], TensorKind::F16, &[0; 2048])
                .tensor(&format!("number {number}"), &[64], TensorKind::F32, &[0; 256])
                .finish();
            let model = blob(&home, "application/vnd.ollama.image.model", &model);
            let config = json!({
                "model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "1.1K",
                "file_type": "F16", "architecture": "amd64", "os": "linux",
                "rootfs": { "type": "layers", "diff_ids": [model["digest"]] },
            });
            let config = config.to_string();
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": blob(&home, "application/vnd.docker.container.image.v1+json", config.as_bytes()),
                "layers": [model],
            });
            let folder = home
                .store("manifests/registry.ollama.ai/library")
                .join(format!("model-{number:05}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("latest"), manifest.to_string()).unwrap();
        }
        Self {
            count,
            home,
            first: Samples::default(),
            warm: Samples::default(),
            small_pages: Samples::default(),
        }
    }

    async fn start(&self) -> (Service, ModelControlClient<Channel>) {
        let service = self.home.start(&support::program());
        let client = ModelControlClient::new(service.channel().await);
        (service, client)
    }

    /// Milliseconds of one list of all.
    async fn list(&self, client: &mut ModelControlClient<Channel>, page_size: i32) -> f64 {
        let start = Instant::now();
        let (mut request, mut listed) = (ListRequest::default(), 0);
        request.page_size = page_size;
        loop {
            let page = client.list(request.clone()).await.unwrap().into_inner();
            listed += page.models.len();
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        assert_eq!(listed, self.count);
        milliseconds
    }
}

/// Stores it; the layer that names it.
fn blob(home: &Home, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(home.store("blobs").join(format!("sha256-{}", digest.hex())), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
}
