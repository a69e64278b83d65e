//! Sends a model from the store to its registry.
//!
//! ```text
//! turn      one of the few that may push at a time
//! resolve   the stored manifest; nothing to do when the registry's tag stands for the same bytes
//! send      each blob that the repository does not have, a few at a time; those of the registry's other repositories are
//!           mounted where the store knows of them
//! write     the manifest, to the byte, and read back
//! ```
//!
//! A push that is stopped or fails leaves whole blobs in the registry under no name, and the old manifest. It tells the
//! registry of the uploads that it leaves, if that answers soon.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt as _, TryStreamExt as _, future, stream};

use super::{
    Pulling,
    registry::{Limits, Manifest, Published, Registry, Sent, Upload, Wanted},
    store::{self, Store},
};
use crate::{
    backend::{
        Call, Done, Error, Kind, PushSpec,
        call::{self, TaskReporter},
        turns::Turns,
    },
    model::{Digest, Event, Layer as Progress, ModelName, Phase},
};

/// Pushes of one engine at a time, and blobs of a push. Each holds a chunk's pieces in memory, under a megabyte.
const PUSHES: usize = 4;
const BLOBS: usize = 4;
/// How often a push starts over when the registry lets go of blobs that it had.
const ATTEMPTS: usize = 2;
/// Takes models from who signs with a key of Ollama's.
const HUB: &str = "registry.ollama.ai";

/// Pushes of one engine. Cheap to clone: a handle.
#[derive(Debug, Clone)]
pub(super) struct Pushes {
    store: Arc<Store>,
    registry: Registry,
    limits: Limits,
    turns: Arc<Turns>,
}

/// One push.
struct Job {
    pushes: Pushes,
    spec: PushSpec,
    reporter: TaskReporter,
}

/// What is to be sent.
struct Model {
    manifest: Manifest,
    /// Each blob once.
    blobs: Vec<store::manifest::Layer>,
    /// Repositories of the same registry that may have a blob.
    elsewhere: HashMap<Digest, String>,
}

// === impl Pushes ===

impl Pushes {
    pub(super) fn new(store: Arc<Store>, pulling: &Pulling) -> Self {
        Self {
            store,
            registry: pulling.registry.clone(),
            limits: pulling.limits.clone(),
            turns: Arc::new(Turns::new(PUSHES)),
        }
    }

    /// Begins one, unless its registry may not be asked.
    pub(super) fn start(&self, spec: PushSpec) -> Result<Box<dyn Call>, Error> {
        self.registry.admits(&spec.name, spec.insecure)?;
        let pushes = self.clone();
        Ok(call::task(|reporter| Job { pushes, spec, reporter }.run()))
    }
}

// === impl Job ===

impl Job {
    async fn run(self) -> Result<Done, Error> {
        let turn = async { Ok(self.pushes.turns.take(&self.reporter).await) };
        let _turn = self.reporter.unless_stopped(turn).await?;
        self.reporter.report(Event::Entered(Phase::Resolving)).await;
        // What is sent outlives a removal of the model by anybody but another process.
        let mut pins = self.pushes.store.pins();
        let model = self.blocking(read).await?;
        model.blobs.iter().for_each(|layer| pins.pin(&layer.digest));
        let digest = Some(model.manifest.digest.clone());
        let PushSpec { name, insecure } = &self.spec;
        let has = async {
            let has = self.pushes.registry.has(name, &model.manifest, *insecure).await;
            has.map_err(|fault| explained(name, fault.error))
        };
        if self.reporter.unless_stopped(has).await? {
            return Ok(Done {
                digest,
                ..Done::default()
            });
        }
        for _ in 0..ATTEMPTS {
            self.send(&model).await?;
            if self.publish(&model.manifest).await? == Published::Whole {
                return Ok(Done {
                    changed: true,
                    digest,
                    ..Done::default()
                });
            }
            let reason = "the registry removed parts of the model while it was sent";
            self.reporter.report(Event::Restarted(reason.to_owned())).await;
        }
        let message = format!("registry {} removes parts of `{name}` while it is sent", name.host());
        Err(Error::new(Kind::RegistryUnreachable, message))
    }

    /// Returns when the repository has all blobs.
    async fn send(&self, model: &Model) -> Result<(), Error> {
        let layers = model.blobs.iter().map(|layer| progress(layer, 0)).collect();
        self.reporter.report(Event::Entered(Phase::Uploading(layers))).await;
        let uploads = model.blobs.iter().map(|layer| self.upload(model, layer));
        let uploads = uploads.collect::<Result<Vec<_>, _>>()?;
        // Collected: a closure over borrows in a stream is not `Send` in the compiler's eyes.
        let sends: Vec<_> = uploads
            .iter()
            .zip(&model.blobs)
            .map(|(upload, layer)| self.one(upload, layer))
            .collect();
        let all = stream::iter(sends).buffer_unordered(BLOBS).try_collect::<()>();
        let sent = self.reporter.unless_stopped(all).await;
        if sent.is_err() {
            future::join_all(uploads.iter().map(Upload::abandon)).await;
        }
        sent
    }

    async fn one(&self, upload: &Upload, layer: &store::manifest::Layer) -> Result<(), Error> {
        let sent = upload.run().await.map_err(|error| explained(&self.spec.name, error))?;
        let how = match sent {
            Sent::There => "was there",
            Sent::Mounted => "mounted",
            Sent::Whole => "sent",
        };
        tracing::debug!(model.name = %self.spec.name, digest = %layer.digest, how, "the registry has a blob");
        self.reporter.report(Event::Layer(progress(layer, layer.size))).await;
        Ok(())
    }

    fn upload(&self, model: &Model, layer: &store::manifest::Layer) -> Result<Upload, Error> {
        let Self { pushes, spec, reporter } = self;
        let (reporter, counted) = (reporter.clone(), layer.clone());
        // A chunk that is sent again does not set the count back.
        let most = AtomicU64::new(0);
        let wanted = Wanted {
            name: spec.name.clone(),
            insecure: spec.insecure,
            layer: layer.clone(),
            path: pushes.store.layout().blob(&layer.digest),
            from: model.elsewhere.get(&layer.digest).cloned(),
            told: Box::new(move |bytes| {
                if most.fetch_max(bytes, Ordering::Relaxed) < bytes {
                    reporter.count(Event::Layer(progress(&counted, bytes)));
                }
            }),
        };
        pushes.registry.upload(wanted, &pushes.limits)
    }

    /// Once it is being sent it is sent and read back: who cancels learns whether the registry has the model.
    async fn publish(&self, manifest: &Manifest) -> Result<Published, Error> {
        self.reporter.report(Event::Entered(Phase::Writing)).await;
        let PushSpec { name, insecure } = &self.spec;
        let registry = &self.pushes.registry;
        let mut attempt = 0;
        loop {
            let step = async { Ok(registry.publish(name, manifest, *insecure).await) };
            let fault = match self.reporter.to_the_end(step).await? {
                Ok(published) => {
                    tracing::info!(model.name = %name, digest = %manifest.digest, "a model was pushed");
                    return Ok(published);
                }
                Err(fault) => fault,
            };
            let Some(pause) = registry.pause(&fault, attempt) else {
                return Err(explained(name, fault.error));
            };
            attempt += 1;
            let pause = async {
                tokio::time::sleep(pause).await;
                Ok(())
            };
            self.reporter.unless_stopped(pause).await?;
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store, &ModelName) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (store, name) = (Arc::clone(&self.pushes.store), self.spec.name.clone());
        tokio::task::spawn_blocking(move || ask(&store, &name))
            .await
            .unwrap_or_else(|error| {
                Err(Error::new(Kind::Internal, "the store failed by a fault of this service").because(error))
            })
    }
}

fn read(store: &Store, name: &ModelName) -> Result<Model, Error> {
    let none = || {
        Error::new(
            Kind::NotFound,
            format!("the store has no model `{name}`: pull or create it first"),
        )
    };
    let info = store.find(name)?.ok_or_else(none)?;
    let bytes = store.stored(&info.name).ok_or_else(none)?;
    let manifest = store::manifest::Manifest::read(&bytes).map_err(|error| {
        Error::new(Kind::FileInvalid, format!("the manifest of `{name}` is damaged")).because(error)
    })?;
    let mut seen = HashSet::new();
    let distinct = manifest.blobs().filter(|layer| seen.insert(&layer.digest));
    Ok(Model {
        blobs: distinct.cloned().collect(),
        elsewhere: elsewhere(store, name, &manifest)?,
        manifest: Manifest {
            digest: Digest::of(&bytes),
            media_type: manifest.media_type().to_owned(),
            bytes: bytes.into(),
        },
    })
}

/// The repositories that other models of this registry name: it may have these blobs there.
fn elsewhere(
    store: &Store,
    name: &ModelName,
    manifest: &store::manifest::Manifest,
) -> Result<HashMap<Digest, String>, Error> {
    let wanted: HashSet<_> = manifest.blobs().map(|layer| &layer.digest).collect();
    let [host, namespace, model, _] = name.parts();
    let mut found = HashMap::new();
    for other in store.list()? {
        let [other_host, other_namespace, other_model, _] = other.name.parts();
        let same_place = (other_namespace, other_model) == (namespace, model);
        if !other_host.eq_ignore_ascii_case(host) || same_place {
            continue;
        }
        let Some((_, Some(manifest))) = store.present(&other.name) else {
            continue;
        };
        for layer in manifest.blobs().filter(|layer| wanted.contains(&layer.digest)) {
            found
                .entry(layer.digest.clone())
                .or_insert_with(|| format!("{other_namespace}/{other_model}"));
        }
    }
    Ok(found)
}

/// With what is to be done where credentials cannot help.
fn explained(name: &ModelName, mut error: Error) -> Error {
    if error.kind == Kind::RegistryCredentials && name.host().eq_ignore_ascii_case(HUB) {
        error.message += "; this hub takes models only from an Ollama whose key its owner has registered there, and this \
                          engine has no such key: push through a backend that is an Ollama, or copy the model to a name \
                          with the host of another registry";
    }
    error
}

fn progress(layer: &store::manifest::Layer, completed_bytes: u64) -> Progress {
    Progress {
        digest: layer.digest.to_string(),
        completed_bytes,
        total_bytes: Some(layer.size),
        file_name: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_wants_is_told_for_the_hub_alone() {
        let told = |name: &str, kind| explained(&name.parse().unwrap(), Error::new(kind, "refused")).message;
        assert!(told("me/model", Kind::RegistryCredentials).contains("an Ollama whose key"));
        assert_eq!(told("me/model", Kind::NotFound), "refused");
        assert_eq!(told("127.0.0.1:5000/me/model", Kind::RegistryCredentials), "refused");
    }
}
