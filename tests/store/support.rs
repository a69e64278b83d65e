use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use model_control::{
    backend::{Backend as _, Call, CreateSpec, Done, Error, Next, embedded::Embedded},
    gguf::{TensorKind, build::Builder},
    model::{Digest, Event, ImportOptions, ModelInfo, ModelName},
    source::{Opened, Source},
};
use tempfile::TempDir;

/// A store in a folder of its own, and the engine on it.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) engine: Embedded,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Embedded::open(folder.path().join("store")).unwrap();
        Self { folder, engine }
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("store").join(inside)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> Opened {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Opened {
            file_name: name.to_owned(),
            file: Arc::new(File::open(path).unwrap()),
        }
    }

    pub(crate) fn source(&self, name: &str, bytes: &[u8]) -> Source {
        Source::Gguf(vec![self.file(name, bytes)])
    }

    pub(crate) fn spec(&self, name: &str, bytes: &[u8]) -> CreateSpec {
        CreateSpec {
            digest: None,
            name: name.parse().unwrap(),
            source: self.source("model.gguf", bytes),
            adapters: Vec::new(),
            options: ImportOptions::default(),
            replace: false,
        }
    }

    pub(crate) async fn create(&self, spec: CreateSpec) -> Result<Done, Error> {
        self.follow(spec).await.1
    }

    pub(crate) async fn follow(&self, spec: CreateSpec) -> (Vec<Event>, Result<Done, Error>) {
        match self.engine.create(spec).await {
            Ok(call) => end(call).await,
            Err(error) => (Vec::new(), Err(error)),
        }
    }

    /// Makes a model and answers what is listed of it.
    pub(crate) async fn made(&self, name: &str, bytes: &[u8]) -> Arc<ModelInfo> {
        let done = self.create(self.spec(name, bytes)).await.unwrap();
        assert!(done.changed);
        self.inspect(name).await.unwrap()
    }

    pub(crate) async fn inspect(&self, name: &str) -> Option<Arc<ModelInfo>> {
        let name: ModelName = name.parse().unwrap();
        self.engine.inspect(&name).await.unwrap()
    }

    /// The names that are listed, in order.
    pub(crate) async fn names(&self) -> Vec<String> {
        let models = self.engine.list().await.unwrap();
        let mut names: Vec<_> = models.iter().map(|model| model.name.to_string()).collect();
        names.sort();
        names
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("blobs").join(format!("sha256-{}", digest.hex()))
    }

    pub(crate) fn blobs(&self) -> usize {
        fs::read_dir(self.path("blobs")).unwrap().count()
    }

    /// Nothing half-written is left.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(fs::read_dir(self.path(".model-control/tmp")).unwrap().count(), 0);
    }

    pub(crate) fn manifest(&self, name: &str) -> PathBuf {
        self.path("manifests/registry.ollama.ai/library")
            .join(name.replace(':', "/"))
    }

    /// The digest of the model's file.
    pub(crate) fn weights(&self, name: &str) -> Digest {
        let text = fs::read_to_string(self.manifest(name)).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap()
    }
}

pub(crate) async fn end(mut call: Box<dyn Call>) -> (Vec<Event>, Result<Done, Error>) {
    let mut events = Vec::new();
    loop {
        match call.next().await {
            Next::Event(event) => events.push(event),
            Next::Ended(result) => return (events, result),
        }
    }
}

/// A model of a few kilobytes; `seed` makes its content another.
pub(crate) fn model(seed: u8) -> Vec<u8> {
    builder(seed).finish()
}

pub(crate) fn builder(seed: u8) -> Builder {
    Builder::new("llama")
        .unsigned("general.file_type", 1)
        .unsigned("llama.context_length", 512)
        .unsigned("llama.embedding_length", 64)
        .tensor("a", &[64, 16], TensorKind::F16, &[seed; 2048])
        .tensor("b", &[64], TensorKind::F32, &[seed; 256])
}

pub(crate) fn adapter(architecture: &str) -> Vec<u8> {
    Builder::new(architecture)
        .text("general.type", "adapter")
        .tensor("a.lora_a", &[32], TensorKind::F32, &[1; 128])
        .finish()
}
