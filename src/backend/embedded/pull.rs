//! Brings a model from a registry into the store.
//!
//! ```text
//! turn      one of the few that may pull at a time
//! resolve   the manifest, by tag or by the pinned digest; nothing to do when it is the one that is there
//! fetch     each blob that is missing, all at a time, joined with whoever fetches the same one
//! check     what the engine will read of it: the configuration, the model file's header
//! commit    the manifest, last; layers of the old one go when no manifest names them
//! ```
//!
//! A pull that fails or is stopped leaves what it fetched: whole blobs, and partial files that the next one goes on with.
//!
//! A plain OCI manifest becomes one of Ollama's, made from its GGUF, so that every engine on the folder can run the model.
//! Its digest is the made one's: that is what lists show and what a pin means.

use std::{collections::HashSet, sync::Arc};

use self::fetch::Fetch;
use super::{
    super::{Call, Done, Error, Kind, PullSpec, call},
    Pulling,
    registry::{Document, Fetched, Reference, Registry, transfer::Downloads},
    store::{
        self, Commit, Committed, Store, blobs,
        manifest::{Layer, Manifest},
    },
};
use crate::{
    backend::{call::TaskReporter, turns::Turns},
    model::{Digest, Event, ModelName, Phase},
};

mod check;
mod fetch;
mod made;

/// How often a pull starts over when another process removes its blobs.
const ATTEMPTS: usize = 2;

/// Pulls of one engine. Cheap to clone: a handle.
#[derive(Debug, Clone)]
pub(super) struct Pulls {
    store: Arc<Store>,
    registry: Registry,
    downloads: Downloads,
    turns: Arc<Turns>,
}

/// One pull.
struct Job {
    pulls: Pulls,
    spec: PullSpec,
    reporter: TaskReporter,
}

/// A manifest to be stored, and its bytes.
struct Wanted {
    manifest: Manifest,
    bytes: Vec<u8>,
    digest: Digest,
}

// === impl Pulls ===

impl Pulls {
    pub(super) fn new(store: Arc<Store>, pulling: Pulling) -> Self {
        Self {
            downloads: Downloads::new(Arc::clone(&store), pulling.limits),
            store,
            registry: pulling.registry,
            turns: Arc::new(Turns::new(pulling.at_a_time)),
        }
    }

    /// Begins one.
    pub(super) fn start(&self, spec: PullSpec) -> Box<dyn Call> {
        let pulls = self.clone();
        call::task(|reporter| Job { pulls, spec, reporter }.run())
    }
}

// === impl Job ===

impl Job {
    async fn run(self) -> Result<Done, Error> {
        let turn = async { Ok(self.pulls.turns.take(&self.reporter).await) };
        let _turn = self.reporter.unless_stopped(turn).await?;
        for _ in 0..ATTEMPTS {
            if let Some(done) = self.attempt().await? {
                return Ok(done);
            }
            let reason = "another process removed parts of the model from the store while it was fetched";
            self.reporter.report(Event::Restarted(reason.to_owned())).await;
        }
        Err(Error::new(
            Kind::StoreUnusable,
            "another process removes parts of the model while it is fetched: the operator may stop that, or configure another \
             store",
        ))
    }

    /// Nothing when another process removed parts of it meanwhile.
    async fn attempt(&self) -> Result<Option<Done>, Error> {
        self.reporter.report(Event::Entered(Phase::Resolving)).await;
        let fetched = self.reporter.unless_stopped(self.resolve()).await?;
        let name = self.blocking(spelt).await?;
        if let Document::Ollama(_) = &fetched.document
            && self.is_there(&name, &fetched.digest).await?
        {
            return Ok(Some(Done::default()));
        }
        // Before it is looked which blobs are there: none of them is pruned by us until the manifest names it.
        let mut pins = self.pulls.store.pins();
        let wanted = match fetched.document {
            Document::Ollama(manifest) => {
                manifest.blobs().for_each(|layer| pins.pin(&layer.digest));
                self.fetch(distinct(manifest.blobs())).await?;
                self.reporter.report(Event::Entered(Phase::Parsing)).await;
                let read = manifest.clone();
                self.blocking(move |store, _| check::readable(store, &read)).await?;
                Wanted {
                    manifest,
                    bytes: fetched.bytes.to_vec(),
                    digest: fetched.digest,
                }
            }
            Document::Plain { digest, size, .. } => {
                pins.pin(&digest);
                let model = Layer::new(store::manifest::Kind::Model, digest, size);
                self.fetch(vec![model.clone()]).await?;
                self.reporter.report(Event::Entered(Phase::Parsing)).await;
                let made = self.blocking(move |store, _| made::of(store, model)).await?;
                // Before anything of it is stored.
                self.check_pin(&made.digest)?;
                if self.is_there(&name, &made.digest).await? {
                    return Ok(Some(Done::default()));
                }
                let (digest, config) = (made.manifest.config.digest.clone(), made.config);
                pins.pin(&digest);
                self.blocking(move |store, _| {
                    let need = config.len() as u64;
                    let put = blobs::put(store.layout(), &digest, &config).map(drop);
                    put.map_err(|error| store.write_failed("store a blob", need, error))
                })
                .await?;
                Wanted {
                    manifest: made.manifest,
                    bytes: made.bytes,
                    digest: made.digest,
                }
            }
        };
        self.reporter.report(Event::Entered(Phase::Writing)).await;
        // Once it is being written it is written: who cancels learns whether the model is there.
        let committed = self.blocking(move |store, _| commit(store, &name, &wanted));
        let committed = self.reporter.to_the_end(committed).await?;
        drop(pins);
        Ok(match committed {
            Committed::Whole => Some(Done {
                changed: true,
                provenance: None,
            }),
            Committed::BlobVanished => None,
        })
    }

    /// The manifest that is wanted. A pin is asked for by itself when the tag has moved on.
    async fn resolve(&self) -> Result<Fetched, Error> {
        let ask = |reference| {
            self.pulls
                .registry
                .manifest(&self.spec.name, reference, self.spec.insecure)
        };
        let tagged = ask(Reference::Tag).await.map_err(|fault| fault.error);
        let Some(pin) = &self.spec.digest else { return tagged };
        let other = match tagged {
            // What a plain file becomes is told only by the file.
            Ok(fetched) if fetched.digest == *pin || matches!(fetched.document, Document::Plain { .. }) => {
                return Ok(fetched);
            }
            Ok(fetched) => self.not_the_pinned(&fetched.digest),
            Err(error) if error.kind == Kind::NotFound => error,
            Err(error) => return Err(error),
        };
        ask(Reference::Digest(pin))
            .await
            .map_err(|fault| match fault.error.kind {
                Kind::NotFound => other,
                _ => fault.error,
            })
    }

    fn check_pin(&self, digest: &Digest) -> Result<(), Error> {
        match &self.spec.digest {
            Some(pin) if pin != digest => Err(self.not_the_pinned(digest)),
            _ => Ok(()),
        }
    }

    fn not_the_pinned(&self, digest: &Digest) -> Error {
        let Self { spec, .. } = self;
        let pin = spec.digest.as_ref().map(Digest::to_string).unwrap_or_default();
        Error::new(
            Kind::PinMismatch,
            format!(
                "registry {} gives `{}` with the digest {digest}, and no longer {pin}, which is pinned: nothing was \
                 replaced",
                spec.name.host(),
                spec.name
            ),
        )
    }

    /// Whether this very manifest is a whole model of the store already.
    async fn is_there(&self, name: &ModelName, digest: &Digest) -> Result<bool, Error> {
        let (name, digest) = (name.clone(), digest.clone());
        self.blocking(move |store, _| Ok(store.find(&name)?.is_some_and(|info| info.digest == digest)))
            .await
    }

    async fn fetch(&self, layers: Vec<Layer>) -> Result<(), Error> {
        let fetch = Fetch {
            pulls: &self.pulls,
            spec: &self.spec,
            reporter: &self.reporter,
        };
        fetch.all(layers).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store, &PullSpec) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (store, spec) = (Arc::clone(&self.pulls.store), self.spec.clone());
        tokio::task::spawn_blocking(move || ask(&store, &spec))
            .await
            .unwrap_or_else(|error| {
                Err(Error::new(Kind::Internal, "the store failed by a fault of this service").because(error))
            })
    }
}

/// The name as it lies on disk, when it does.
fn spelt(store: &Store, spec: &PullSpec) -> Result<ModelName, Error> {
    Ok(match store.find(&spec.name)? {
        Some(info) => info.name.clone(),
        None => store.spelling(&spec.name),
    })
}

fn commit(store: &Store, name: &ModelName, wanted: &Wanted) -> Result<Committed, Error> {
    let committed = store.commit(&Commit {
        name,
        manifest: &wanted.manifest,
        bytes: &wanted.bytes,
        replace: true,
        over: None,
    })?;
    tracing::info!(model.name = %name, digest = %wanted.digest, "stored a model's manifest");
    Ok(committed)
}

/// Each blob once.
fn distinct<'a>(layers: impl Iterator<Item = &'a Layer>) -> Vec<Layer> {
    let mut seen = HashSet::new();
    layers
        .filter(|layer| seen.insert(layer.digest.clone()))
        .cloned()
        .collect()
}
