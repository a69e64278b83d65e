//! A registry, the road to it, a store of ours, and short words for what tests ask.

use std::{fs, net::SocketAddr, time::Duration};

use model_control::{
    backend::{
        Backend as _, Call, CopySpec, CreateSpec, Done, Error, Next, PullSpec, PushSpec,
        embedded::{Embedded, Pulling, RegistrySettings},
    },
    model::{Digest, Event, ImportOptions, ModelName},
    source::{gather_model, open_unconfined},
};

use super::{registry::Registry, road::Road};

pub(crate) use crate::soon::soon;

/// A chunk of a blob: the model below has several.
pub(super) const CHUNK: u64 = 16 << 10;

pub(super) struct World {
    pub(super) registry: Registry,
    pub(super) road: Road,
    pub(super) engine: Embedded,
    folder: tempfile::TempDir,
}

/// What a push told and how it ended.
pub(super) struct Told {
    pub(super) events: Vec<Event>,
    pub(super) ended: Result<Done, Error>,
}

pub(super) fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

pub(super) fn tiny() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny.gguf")).unwrap()
}

pub(super) async fn told(mut call: Box<dyn Call>) -> Told {
    let mut events = Vec::new();
    loop {
        match soon(call.next()).await {
            Next::Event(event) => events.push(event),
            Next::Ended(ended) => return Told { events, ended },
        }
    }
}

/// An engine with a store of its own that may ask these hosts on plain http.
pub(super) fn engine(folder: &tempfile::TempDir, store: &str, hosts: &[SocketAddr]) -> Embedded {
    let settings = RegistrySettings {
        allow: hosts
            .iter()
            .map(|host| format!("http://{host}").parse().unwrap())
            .collect(),
        ..RegistrySettings::default()
    };
    let mut pulling = Pulling::from(settings).unwrap();
    pulling.limits.part = CHUNK;
    pulling.limits.first_wait = Duration::from_millis(10);
    Embedded::pulling(folder.path().join(store), pulling).unwrap()
}

// === impl World ===

impl World {
    /// None without the program.
    pub(super) async fn start() -> Option<Self> {
        let registry = Registry::start()?;
        let road = Road::to(registry.address).await;
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder, "one", &[road.address]);
        Some(Self {
            registry,
            road,
            engine,
            folder,
        })
    }

    pub(super) fn name(&self, model: &str) -> ModelName {
        name(&format!("{}/{model}", self.road.address))
    }

    /// The repository's model with something said of it, under this name at the registry.
    pub(super) async fn create(&self, model: &str) -> ModelName {
        let path = self.folder.path().join("model.gguf");
        fs::write(&path, tiny()).unwrap();
        let spec = CreateSpec {
            name: self.name(model),
            source: gather_model(open_unconfined(&path).unwrap()).unwrap(),
            adapters: Vec::new(),
            options: ImportOptions {
                system: Some("say little".to_owned()),
                ..ImportOptions::default()
            },
            digest: None,
            replace: true,
        };
        told(self.engine.create(spec).await.unwrap()).await.ended.unwrap();
        self.name(model)
    }

    pub(super) async fn copy(&self, source: &ModelName, model: &str) -> ModelName {
        let destination = self.name(model);
        let spec = CopySpec {
            source: source.clone(),
            destination: destination.clone(),
            replace: false,
        };
        soon(self.engine.copy(&spec)).await.unwrap();
        destination
    }

    pub(super) async fn push(&self, name: &ModelName) -> Told {
        let spec = PushSpec {
            name: name.clone(),
            insecure: true,
        };
        told(soon(self.engine.push(spec)).await.unwrap()).await
    }

    /// The manifest of a name as it lies in a store of ours.
    pub(super) fn stored(&self, store: &str, name: &ModelName) -> Vec<u8> {
        let mut path = self.folder.path().join(store).join("manifests");
        path.extend(name.parts());
        fs::read(path).unwrap()
    }

    /// A blob as it lies in a store of ours.
    pub(super) fn blob(&self, store: &str, digest: &Digest) -> std::path::PathBuf {
        let file = format!("sha256-{}", digest.hex());
        self.folder.path().join(store).join("blobs").join(file)
    }

    /// Each blob that a stored manifest names.
    pub(super) fn blobs(&self, store: &str, name: &ModelName) -> Vec<Digest> {
        let manifest: serde_json::Value = serde_json::from_slice(&self.stored(store, name)).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let digests = layers
            .chain([&manifest["config"]])
            .map(|layer| layer["digest"].as_str());
        digests.map(|digest| digest.unwrap().parse().unwrap()).collect()
    }

    /// The registry's own manifest, and its digest by its own word.
    pub(super) async fn at_registry(&self, name: &ModelName) -> Option<(Vec<u8>, String)> {
        let [_, namespace, model, tag] = name.parts();
        let url = format!(
            "http://{}/v2/{namespace}/{model}/manifests/{tag}",
            self.registry.address
        );
        let accept = "application/vnd.docker.distribution.manifest.v2+json";
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).header("accept", accept).send().await.unwrap();
        if answer.status() != 200 {
            return None;
        }
        let digest = answer.headers()["docker-content-digest"].to_str().unwrap().to_owned();
        Some((answer.bytes().await.unwrap().to_vec(), digest))
    }

    /// Fetches the model into another store.
    pub(super) async fn pulled(&self, store: &str, name: &ModelName) -> Embedded {
        let engine = engine(&self.folder, store, &[self.road.address]);
        let spec = PullSpec {
            name: name.clone(),
            digest: None,
            insecure: true,
        };
        let ended = told(soon(engine.pull(spec)).await.unwrap()).await.ended;
        assert!(ended.unwrap().changed);
        engine
    }
}
