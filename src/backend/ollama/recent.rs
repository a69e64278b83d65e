//! One answer for many who ask at the same time whether a model is there.
//!
//! A thousand callers who want a model that is there begin operations that end within a millisecond, one after the other as
//! they arrive; each would ask Ollama. So an answer serves those who ask within [`WINDOW`] after it was asked for. It is
//! never used for lists, never for a look after work of ours (which ends it), and not by that work itself. Another client
//! that removes a model within the window is noticed as late as if its request had come so much later.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{Shared, list};
use crate::{
    backend::Error,
    model::{ModelInfo, ModelName},
};

/// How old an answer may be, from when it was asked for.
const WINDOW: Duration = Duration::from_millis(50);

/// The same where nothing depends on it: a little more than a probe's interval, so that the probe's own list serves.
const ABOUT: Duration = Duration::from_secs(10);
/// For another's question to be answered.
const QUEUE: Duration = Duration::from_millis(500);

/// The last answer.
#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: Mutex<Kept>,
    /// Who holds it asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    answer: Option<(Instant, Arc<[Arc<ModelInfo>]>)>,
    /// Rises when work of ours may have changed what is there.
    generation: u64,
}

// === impl Recent ===

impl Recent {
    /// The model of this name, as Ollama lists it now or did a moment ago.
    pub(super) async fn find(shared: &Shared, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        let recent = &shared.recent;
        if let Some(models) = recent.answer(WINDOW) {
            return Ok(list::named(name, models.iter().cloned()));
        }
        // Behind one that hangs nobody hangs in turn: who has waited asks by himself, and hears of the outage in time.
        let _one_asks = timeout(QUEUE, recent.asking.lock()).await.ok();
        // Who waited may have the answer of the one before.
        if let Some(models) = recent.answer(WINDOW) {
            return Ok(list::named(name, models.iter().cloned()));
        }
        let models = Self::all(shared).await?;
        Ok(list::named(name, models.iter().cloned()))
    }

    /// All models, as Ollama lists them now; who asks for one in the next moment has this answer.
    pub(super) async fn all(shared: &Shared) -> Result<Arc<[Arc<ModelInfo>]>, Error> {
        let recent = &shared.recent;
        let (asked, generation) = (Instant::now(), recent.lock().generation);
        let models: Arc<[_]> = list::all(shared).await?.into();
        let mut kept = recent.lock();
        if kept.generation == generation {
            kept.answer = Some((asked, Arc::clone(&models)));
        }
        Ok(models)
    }

    /// All models as they were some seconds ago at the latest: for the names of what is told beside them, not for what is
    /// there.
    pub(super) async fn about(shared: &Shared) -> Result<Arc<[Arc<ModelInfo>]>, Error> {
        match shared.recent.answer(ABOUT) {
            Some(models) => Ok(models),
            None => Self::all(shared).await,
        }
    }

    /// What was answered is not true any more, nor what is being answered now.
    pub(super) fn forget(&self) {
        let mut kept = self.lock();
        kept.generation += 1;
        kept.answer = None;
    }

    fn answer(&self, window: Duration) -> Option<Arc<[Arc<ModelInfo>]>> {
        let kept = self.lock();
        let (asked, models) = kept.answer.as_ref()?;
        (asked.elapsed() < window).then(|| Arc::clone(models))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what was answered before, when the work that holds it ends, however it does.
#[derive(Debug)]
pub(super) struct Changes<'a>(pub(super) &'a Recent);

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}
