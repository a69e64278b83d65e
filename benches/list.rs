//! List over gRPC with 10 to 10 000 models in the store.
//!
//! A call asks for the first page, of at most 1000 models; all pages are followed for the whole. Each call looks at the whole
//! store anew, so that each page is true: a call's cost is linear in the models, that of following `n` pages is `n` times a
//! call's. Warm: the store was listed before. First: the first call of a process that has just started; the files are in the
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
    support::{Memory, Samples, cpu, mib, row, setting},
};

const COUNTS: [usize; 4] = [10, 100, 1000, 10_000];
const FIRST: usize = 5;

struct Scene {
    count: usize,
    home: Home,
    first: Samples,
    warm: Samples,
    /// Of the service, for a warm call.
    cpu: Samples,
    whole: Samples,
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
            let milliseconds = scene.call(&mut client).await;
            scene.first.push(milliseconds);
        }
    }
    let mut running = Vec::new();
    for scene in &scenes {
        let (service, mut client) = scene.start().await;
        scene.call(&mut client).await;
        running.push((service, client));
    }
    for round in 0..setting("ROUNDS", 100) {
        for (scene, (service, client)) in scenes.iter_mut().zip(&mut running) {
            // The large one would take most of the time.
            if scene.count < 10_000 || round % 5 == 0 {
                let before = cpu(service.pid());
                let milliseconds = scene.call(client).await;
                scene.warm.push(milliseconds);
                scene.cpu.push(cpu(service.pid()) - before);
            }
            if round % 20 == 0 {
                let milliseconds = scene.whole(client).await;
                scene.whole.push(milliseconds);
            }
        }
    }
    for (scene, (service, _)) in scenes.iter().zip(&running) {
        let count = scene.count;
        row(&format!("{count} models, a call, warm"), scene.warm.of("ms"), "");
        row("  the service's processor time of that", scene.cpu.of("ms"), "");
        row("  first", scene.first.of("ms"), "");
        row("  all pages, warm", scene.whole.of("ms"), "");
        row("  resident afterwards", mib(Memory::of(service.pid()).resident), "");
    }
    let [ten, _, thousand, most] = &scenes[..] else {
        panic!("four counts")
    };
    let ratio = |a: &Samples, b: &Samples| {
        format!(
            "{:.1} (of the least: {:.1})",
            a.median() / b.median(),
            a.least() / b.least()
        )
    };
    row(
        "a call, warm: 1000 by 10",
        ratio(&thousand.warm, &ten.warm),
        "at most 100",
    );
    row("its processor time: 1000 by 10", ratio(&thousand.cpu, &ten.cpu), "");
    row(
        "its processor time: 10000 by 1000",
        ratio(&most.cpu, &thousand.cpu),
        "linear: at most 10",
    );
    row("a call, first: 1000 by 10", ratio(&thousand.first, &ten.first), "");
    row(
        "a call, warm: 10000 by 1000",
        ratio(&most.warm, &thousand.warm),
        "linear: at most 10",
    );
    row(
        "a call, first: 10000 by 1000",
        ratio(&most.first, &thousand.first),
        "linear: at most 10",
    );
    row(
        "all pages, warm: 10000 by 1000",
        ratio(&most.whole, &thousand.whole),
        "ten calls",
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
            cpu: Samples::default(),
            whole: Samples::default(),
        }
    }

    async fn start(&self) -> (Service, ModelControlClient<Channel>) {
        let service = self.home.start(&support::program());
        let client = ModelControlClient::new(service.channel().await);
        (service, client)
    }

    /// Milliseconds of the first page.
    async fn call(&self, client: &mut ModelControlClient<Channel>) -> f64 {
        let start = Instant::now();
        let page = client.list(page("")).await.unwrap().into_inner();
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        assert_eq!(page.models.len(), self.count.min(1000));
        milliseconds
    }

    /// Milliseconds of all pages.
    async fn whole(&self, client: &mut ModelControlClient<Channel>) -> f64 {
        let start = Instant::now();
        let (mut token, mut listed) = (String::new(), 0);
        loop {
            let page = client.list(page(&token)).await.unwrap().into_inner();
            listed += page.models.len();
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        assert_eq!(listed, self.count);
        milliseconds
    }
}

fn page(token: &str) -> ListRequest {
    ListRequest {
        page_size: 1000,
        page_token: token.to_owned(),
        ..Default::default()
    }
}

/// Stores it; the layer that names it.
fn blob(home: &Home, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(home.store("blobs").join(format!("sha256-{}", digest.hex())), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
}
