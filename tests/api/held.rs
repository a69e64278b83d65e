//! A real engine whose create stands still in the middle for as long as a test wants.
//!
//! The engine waits when nobody takes its events, of which it keeps 64 and has one a file. So a model of more parts than
//! that stands still when its bytes lie in a temporary file, before it is looked whether the sources changed and before
//! anything is published. It is still the engine's own work, and it can be cancelled there.

use std::collections::BTreeSet;

use model_control::{
    backend::{Backend, Call, Cancelled, CreateSpec, Error, Next, PullSpec},
    model::{Capability, ModelInfo, ModelName},
};
use tokio::sync::watch;

use super::{
    scene::{Places, Scene, split, until},
    support::*,
};

/// More than the engine keeps events.
pub(crate) const PARTS: u16 = 80;
/// Of the weights in all parts, without headers.
const WEIGHTS: u64 = 80 * 128;

/// The engine.
#[derive(Debug)]
pub(crate) struct Held {
    engine: Embedded,
    held: watch::Receiver<bool>,
}

/// Lets go when it is told, or dropped.
pub(crate) struct Hold(watch::Sender<bool>);

struct HeldCall {
    call: Box<dyn Call>,
    held: watch::Receiver<bool>,
    /// Bytes are on their way.
    uploading: bool,
}

/// A scene whose creates stand still, and the create that does.
pub(crate) async fn scene() -> (Scene, Hold, v1::CreateFromPathRequest) {
    let places = Places::new();
    let path = split(&places.roots[0], PARTS);
    let (scene, hold) = at(places).await;
    (scene, hold, create("m", &path))
}

pub(crate) async fn at(places: Places) -> (Scene, Hold) {
    let (held_tx, held) = watch::channel(true);
    let engine = Embedded::open(places.store.clone()).unwrap();
    let scene = Scene::with(places, Arc::new(Held { engine, held })).await;
    (scene, Hold(held_tx))
}

/// Starts the create and waits until it stands still: its stream.
pub(crate) async fn standing(
    scene: &mut Scene,
    request: impl tonic::IntoRequest<v1::CreateFromPathRequest>,
) -> tonic::Streaming<v1::CreateFromPathResponse> {
    let stream = soon(scene.client.create_from_path(request)).await.unwrap().into_inner();
    until(|| scene.unfinished().iter().any(|size| *size > WEIGHTS)).await;
    stream
}

// === impl Hold ===

impl Hold {
    pub(crate) fn release(&self) {
        self.0.send_replace(false);
    }
}

// === impl Held ===

#[tonic::async_trait]
impl Backend for Held {
    fn endpoint(&self) -> String {
        self.engine.endpoint()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        self.engine.capabilities()
    }

    async fn probe(&self) -> Result<String, Error> {
        self.engine.probe().await
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        self.engine.list().await
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        self.engine.inspect(name).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        self.engine.pull(spec).await
    }

    async fn create(&self, spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        Ok(Box::new(HeldCall {
            call: self.engine.create(spec).await?,
            held: self.held.clone(),
            uploading: false,
        }))
    }
}

// === impl HeldCall ===

#[tonic::async_trait]
impl Call for HeldCall {
    async fn next(&mut self) -> Next {
        if self.uploading {
            let _dropped = self.held.wait_for(|held| !held).await.is_err();
        }
        let next = self.call.next().await;
        self.uploading |= matches!(next, Next::Event(Event::Entered(Phase::Uploading(_))));
        next
    }

    async fn cancel(self: Box<Self>) -> Cancelled {
        self.call.cancel().await
    }
}
