//! Models from a real registry: fetched, verified, updated and pinned, through the real client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/missing.rs"]
mod missing;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/soon.rs"]
mod soon;
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
#[path = "api/support.rs"]
mod support;

use model_control::backend::embedded::{Pulling, RegistrySettings};
use registry::{Front, Registry};
use support::*;

/// A registry with its front, and a service that may ask it.
struct World {
    registry: Registry,
    front: Front,
    store: tempfile::TempDir,
    service: Service,
}

// === impl World ===

impl World {
    /// None without the program.
    async fn start() -> Option<Self> {
        let registry = Registry::start()?;
        let front = Front::before(&registry, registry.address).await;
        let store = tempfile::tempdir().unwrap();
        let hosts = [
            format!("http://{}", front.address),
            format!("http://localhost:{}", registry.address.port()),
        ];
        let settings = RegistrySettings {
            allow: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            ..RegistrySettings::default()
        };
        let pulling = Pulling::from(settings).unwrap();
        let engine = Embedded::pulling(store.path().join("s"), pulling).unwrap();
        let service = Service::start(Arc::new(engine), None).await;
        Some(Self {
            registry,
            front,
            store,
            service,
        })
    }

    fn name(&self, model: &str) -> String {
        format!("{}/library/{model}", self.front.address)
    }

    fn blobs(&self) -> usize {
        std::fs::read_dir(self.store.path().join("s/blobs")).unwrap().count()
    }

    async fn pull(&self, request: v1::PullRequest) -> Result<v1::PullResult, Status> {
        let mut client = self.service.client().await;
        let mut stream = soon(client.pull(request)).await?.into_inner();
        while let Some(message) = soon(stream.message()).await? {
            if let Some(v1::pull_response::Event::Result(result)) = message.event {
                assert!(soon(stream.message()).await?.is_none(), "the result comes last");
                return Ok(result);
            }
        }
        panic!("no result");
    }
}

fn tiny() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf")
}

fn text(folder: &Path, name: &str, content: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_once_and_updated_when_its_tag_moves() {
    let Some(world) = World::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (text(folder.path(), "1", "one"), text(folder.path(), "2", "two"));
    let (tiny, name) = (tiny(), world.name("tiny"));
    let first = world
        .registry
        .push("library/tiny", "latest", &[("model", &tiny), ("system", &one)])
        .await;
    let request = v1::PullRequest {
        insecure: true,
        ..pull(&name)
    };
    let result = world.pull(request.clone()).await.unwrap();
    let model = result.model.unwrap();
    assert!(result.changed);
    assert_eq!(model.digest, first.to_string());
    assert_eq!(model.parameter_count, Some(115_008));
    assert_eq!(world.blobs(), 3);
    assert!(!world.pull(request.clone()).await.unwrap().changed);

    let fetched = world.front.redirects.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(fetched, 3, "what is there is not fetched");
    let second = world
        .registry
        .push("library/tiny", "latest", &[("model", &tiny), ("system", &two)])
        .await;
    let result = world.pull(request.clone()).await.unwrap();
    assert_eq!(
        (result.changed, result.model.unwrap().digest),
        (true, second.to_string())
    );
    assert_eq!(world.blobs(), 3, "the old text is gone, the model is shared");

    let pinned = v1::PullRequest {
        digest: first.to_string(),
        ..request.clone()
    };
    let result = world.pull(pinned).await.unwrap();
    assert_eq!(
        result.model.unwrap().digest,
        first.to_string(),
        "by digest, for the tag has moved"
    );
    let pinned = v1::PullRequest {
        digest: format!("sha256:{}", "0".repeat(64)),
        ..request
    };
    let status = world.pull(pinned).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "DIGEST_PIN_MISMATCH")
    );
    let listed = soon(world.service.client().await.list(v1::ListRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().models[0].digest, first.to_string());
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_file_becomes_a_model_that_engines_can_run() {
    let Some(world) = World::start().await else { return };
    let file = tiny();
    world.registry.push_plain("library/plain", "latest", &file).await;
    let request = v1::PullRequest {
        insecure: true,
        ..pull(&world.name("plain"))
    };
    let result = world.pull(request.clone()).await.unwrap();
    let model = result.model.unwrap();
    assert_eq!((model.family.as_str(), model.parameter_count), ("llama", Some(115_008)));
    assert!(
        !world.pull(request.clone()).await.unwrap().changed,
        "the same file makes the same model"
    );
    let pinned = v1::PullRequest {
        digest: model.digest,
        ..request
    };
    assert!(!world.pull(pinned).await.unwrap().changed);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_allowed_is_told() {
    let Some(world) = World::start().await else { return };
    for (name, code, wanted) in [
        (world.name("none"), Code::NotFound, "MODEL_NOT_FOUND"),
        (
            format!("{}/library/tiny", world.registry.address),
            Code::PermissionDenied,
            "REGISTRY_NOT_ALLOWED",
        ),
        ("tiny".to_owned(), Code::PermissionDenied, "REGISTRY_NOT_ALLOWED"),
    ] {
        let request = v1::PullRequest {
            insecure: true,
            ..pull(&name)
        };
        let status = world.pull(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, wanted), "{name}");
    }
    world.service.stop().await;
}
