//! An Ollama, the port to it, and short words for what tests ask.

use std::{fs, path::PathBuf};

use model_control::{
    backend::{
        Backend as _, Call, CopySpec, CreateSpec, Done, Error, LoadSpec, Next,
        ollama::{Memory, Ollama, Settings},
        registries::AllowList,
    },
    model::{Digest, ImportOptions, KeepAlive, LoadOptions, ModelName, Running, Unloaded},
    source::{gather_model, open_unconfined},
};
use serde_json::json;

use super::ollama::Server;

pub(crate) use crate::soon::soon;

pub(super) struct World {
    pub(super) port: Ollama,
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
}

pub(super) fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

pub(super) fn load(text: &str) -> LoadSpec {
    LoadSpec {
        name: name(text),
        options: LoadOptions::default(),
        keep_alive: KeepAlive::Default,
    }
}

pub(super) fn copy(source: &str, destination: &str) -> CopySpec {
    CopySpec {
        source: name(source),
        destination: name(destination),
        replace: false,
    }
}

/// The end of a call, whatever it told before.
pub(super) async fn ended(mut call: Box<dyn Call>) -> Result<Done, Error> {
    soon(async {
        loop {
            if let Next::Ended(ended) = call.next().await {
                return ended;
            }
        }
    })
    .await
}

// === impl World ===

impl World {
    pub(super) fn start() -> Option<Self> {
        Self::with(&[], AllowList::default())
    }

    pub(super) fn with(variables: &[(&str, &str)], allow: AllowList) -> Option<Self> {
        let server = Server::with(variables)?;
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            url: server.url(),
            header_file: None,
        };
        let port = Ollama::new(&settings, allow, Memory::open(&folder.path().join("state"))).unwrap();
        Some(Self { port, server, folder })
    }

    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A model of this file.
    pub(super) async fn create(&self, model: &str, bytes: &[u8], options: ImportOptions) -> Done {
        let path = self.file("model.gguf", bytes);
        let spec = CreateSpec {
            name: name(model),
            source: gather_model(open_unconfined(&path).unwrap()).unwrap(),
            adapters: Vec::new(),
            options,
            digest: None,
            replace: true,
        };
        ended(self.port.create(spec).await.unwrap()).await.unwrap()
    }

    /// The same weights with something else said of them.
    pub(super) fn derive(&self, from: &str, model: &str) {
        let ask = json!({"model": model, "from": from, "system": model, "stream": false});
        assert_eq!(self.server.post("/api/create", &ask).unwrap()["status"], "success");
    }

    pub(super) async fn load(&self, spec: LoadSpec) -> Result<Done, Error> {
        ended(self.port.load(spec).await?).await
    }

    pub(super) async fn unload(&self, model: &str) -> Result<Unloaded, Error> {
        soon(self.port.unload(&name(model))).await
    }

    pub(super) async fn running(&self) -> Vec<Running> {
        soon(self.port.running()).await.unwrap()
    }

    pub(super) async fn digest(&self, model: &str) -> Option<Digest> {
        let found = soon(self.port.inspect(&name(model))).await.unwrap();
        found.map(|model| model.digest.clone())
    }

    /// By Ollama's own list.
    pub(super) fn loaded(&self) -> Vec<String> {
        let told = self.server.get("/api/ps").unwrap();
        let models = told["models"].as_array().unwrap().clone();
        models
            .iter()
            .map(|model| model["name"].as_str().unwrap().to_owned())
            .collect()
    }
}
