//! Show and ListRunning: what engines say now, nothing kept.

use std::sync::Arc;

use futures::future;

use super::{
    Manager, error,
    follow::{At, QUESTION},
    request,
};
use crate::{
    backend::{self, Kind},
    engines::{Engine, Entry},
    model::{Canary, Capability, Details, Failure, Level, ModelInfo, Running},
};

/// All about a model.
#[derive(Debug)]
pub struct Shown {
    /// The entry's name.
    pub backend: String,
    /// As the engine lists it.
    pub info: Arc<ModelInfo>,
    /// How ready it is.
    pub level: Level,
    /// How ready it should be.
    pub desired_level: Level,
    /// In memory, when it is there.
    pub running: Option<RunningModel>,
    /// The rest.
    pub details: Details,
}

/// A model in memory, and what this service knows of it.
#[derive(Debug, Clone)]
pub struct RunningModel {
    /// The entry's name.
    pub backend: String,
    /// As the engine tells it.
    pub running: Running,
    /// This service keeps it.
    pub pinned: bool,
    /// What it answered since it was loaded.
    pub canary: Option<Canary>,
    /// The base URL for inference, as callers reach it.
    pub endpoint: String,
}

/// The models in memory.
#[derive(Debug)]
pub struct RunningModels {
    /// In the order of the configuration.
    pub running: Vec<RunningModel>,
    /// Backends that did not answer for their part.
    pub unreachable: Vec<(String, Failure)>,
}

// === impl Manager ===

impl Manager {
    /// All about one model.
    pub async fn show(&self, request: request::Show) -> Result<Shown, Failure> {
        let (entry, engine) = self.entry(&request.backend)?;
        let (backend, at) = (
            &engine.backend,
            At {
                entry: &entry.name,
                name: &request.model,
            },
        );
        if !engine.can(Capability::Show) {
            return Err(error::cannot(&entry.name, Capability::Show));
        }
        let not_found = || error::model_not_found(&entry.name, &request.model);
        let info = at
            .within(QUESTION, backend.inspect(&request.model))
            .await?
            .ok_or_else(not_found)?;
        let details = at
            .within(QUESTION, backend.show(&request.model, request.verbose))
            .await?;
        let running = running(&engine).await.unwrap_or_default();
        let level = engine.level(&info, &running);
        let own = running.into_iter().find(|running| running.is(&info.name));
        Ok(Shown {
            backend: entry.name.clone(),
            level,
            desired_level: entry.keeps_at(&info.name),
            running: own.map(|running| RunningModel::new(&entry, &engine, running.told_as(&info.name))),
            info,
            details: details.ok_or_else(not_found)?,
        })
    }

    /// The models in memory of the named backend, or of all that can tell.
    pub async fn list_running(&self, backend: &str) -> Result<RunningModels, Failure> {
        let entries = self.entries(backend)?;
        if let [entry] = &entries[..]
            && !backend.is_empty()
        {
            let engine = entry.engine.as_ref().ok_or_else(|| error::not_supported(entry))?;
            if !engine.can(Capability::ListRunning) {
                return Err(error::cannot(&entry.name, Capability::ListRunning));
            }
        }
        let able = |engine: &&Engine| engine.can(Capability::ListRunning);
        let asked = entries.iter().filter_map(|entry| {
            let engine = entry.engine.as_ref().filter(able)?;
            Some(async move { (entry, engine, running(engine).await) })
        });
        let answers = future::join_all(asked).await;
        let (mut all, mut unreachable) = (Vec::new(), Vec::new());
        let count = answers.len();
        for (entry, engine, answer) in answers {
            match answer {
                Ok(models) => all.extend(
                    models
                        .into_iter()
                        .map(|running| RunningModel::new(entry, engine, running)),
                ),
                Err(error) => unreachable.push((entry.name.clone(), error::engine(&error, &entry.name))),
            }
        }
        if !unreachable.is_empty() {
            self.shared.changed.notify_waiters();
        }
        if count > 0 && unreachable.len() == count {
            // Nobody answered: an empty list would be a lie.
            return Err(unreachable.swap_remove(0).1);
        }
        Ok(RunningModels {
            running: all,
            unreachable,
        })
    }
}

/// The models in an engine's memory; none where it cannot tell.
pub(super) async fn running(engine: &Engine) -> Result<Vec<Running>, backend::Error> {
    if !engine.can(Capability::ListRunning) {
        return Ok(Vec::new());
    }
    let late = || {
        let message = format!(
            "it did not list its running models within {} seconds",
            QUESTION.as_secs()
        );
        backend::Error::new(Kind::Unreachable, message)
    };
    let answer = tokio::time::timeout(QUESTION, engine.backend.running()).await;
    answer.unwrap_or_else(|_| Err(late()))
}

// === impl RunningModel ===

impl RunningModel {
    /// As callers of this entry are told of it.
    pub fn new(entry: &Entry, engine: &Engine, running: Running) -> Self {
        let own = || entry.advertise.clone().unwrap_or_else(|| engine.backend.endpoint());
        // One pin holds all that share its memory, and one answer shows it.
        let pinned = running.names().any(|name| engine.memory.pinned(name));
        let digest = running.digest.as_ref();
        let canary = running.names().find_map(|name| engine.memory.canary(name, digest));
        Self {
            backend: entry.name.clone(),
            pinned,
            canary,
            endpoint: running.endpoint.clone().unwrap_or_else(own),
            running,
        }
    }
}
