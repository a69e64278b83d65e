//! Lists of models over all engines, in pages that stay right while models come and go.

use std::{
    cmp::Ordering,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future;

use self::page::{Key, Order, Token};
use super::{Manager, error, look, look::RunningModel, request};
use crate::{
    backend,
    engines::{Engine, Entry},
    model::{Failure, Level, ModelInfo, Reason, Running},
};

mod page;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// An engine that has not listed its models by then counts as one that does not answer.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// One page.
#[derive(Debug)]
pub struct Listed {
    /// In order.
    pub models: Vec<ListedModel>,
    /// Empty on the last page.
    pub next_page_token: String,
    /// Backends that could not answer for their part.
    pub unreachable: Vec<(String, Failure)>,
}

/// A model and whose it is.
#[derive(Debug)]
pub struct ListedModel {
    /// The entry's name.
    pub backend: String,
    /// As the engine lists it.
    pub info: Arc<ModelInfo>,
    /// How ready it is.
    pub level: Level,
    /// In memory, when it is there.
    pub running: Option<RunningModel>,
    /// How ready it should be.
    pub desired_level: Level,
    /// Why it is not, and when that is tried again.
    pub trouble: Option<(Failure, Option<SystemTime>)>,
}

// === impl Manager ===

impl Manager {
    /// One page of the models that the engines have.
    pub async fn list(&self, request: request::List) -> Result<Listed, Failure> {
        let order: Order = request.order_by.parse().map_err(|error: page::InvalidOrder| {
            Failure::new(Reason::RequestInvalid, "the order is not known").violation("order_by", error)
        })?;
        let after = Token::decode(&request.page_token, order).map_err(|error| {
            Failure::new(Reason::RequestInvalid, "the page token is not one of this list's")
                .violation("page_token", error)
        })?;
        let size = match request.page_size as usize {
            0 => DEFAULT_PAGE,
            size => size.min(MAX_PAGE),
        };

        let entries = self.entries(&request.backend)?;
        let (mut found, unreachable) = self.gather(&request.backend, &entries).await?;
        // What is wanted of the page is its smallest part: the rest need not be sorted.
        if let Some(after) = &after {
            found.retain(|(key, _)| order.compare(key, after) == Ordering::Greater);
        }
        let more = found.len() > size;
        if more {
            found.select_nth_unstable_by(size, |(a, _), (b, _)| order.compare(a, b));
            found.truncate(size);
        }
        found.sort_unstable_by(|(a, _), (b, _)| order.compare(a, b));
        let last = found.last().filter(|_| more).map(|(key, _)| Token::encode(order, key));
        Ok(Listed {
            models: found.into_iter().map(|(_, model)| model).collect(),
            next_page_token: last.unwrap_or_default(),
            unreachable,
        })
    }

    async fn gather(
        &self,
        asked: &str,
        entries: &[Arc<Entry>],
    ) -> Result<(Vec<(Key, ListedModel)>, Vec<(String, Failure)>), Failure> {
        if let [entry] = entries
            && entry.engine.is_none()
            && !asked.is_empty()
        {
            return Err(error::not_supported(entry));
        }
        let answers = future::join_all(
            entries
                .iter()
                .filter_map(|entry| Some(list_one(entry, entry.engine.as_ref()?))),
        )
        .await;
        let (mut found, mut unreachable) = (Vec::new(), Vec::new());
        let count = answers.len();
        for (entry, engine, answer) in answers {
            match answer {
                Ok((models, running)) => found.extend(models.into_iter().map(|info| {
                    let desired = entry.desired.iter().find(|desired| desired.spec.name == info.name);
                    let desired_level = entry.keeps_at(&info.name);
                    let level = engine.level(&info, &running);
                    let trouble = desired.filter(|_| level < desired_level).and_then(|desired| {
                        let now = self.desired().get(&entry.name, &desired.spec.name);
                        Some((now.failure?, now.next_attempt))
                    });
                    let backend = entry.name.clone();
                    let model = ListedModel {
                        backend,
                        level,
                        running: running
                            .iter()
                            .find(|running| running.is(&info.name))
                            .map(|running| RunningModel::new(entry, engine, running.clone().told_as(&info.name))),
                        info,
                        desired_level,
                        trouble,
                    };
                    (Key::of(&model), model)
                })),
                Err(failure) => unreachable.push((entry.name.clone(), failure)),
            }
        }
        if !unreachable.is_empty() {
            // Health need not wait for the next probe to learn it.
            self.shared.changed.notify_waiters();
        }
        if count > 0 && unreachable.len() == count {
            // Nobody answered: an empty list would be a lie.
            return Err(unreachable.swap_remove(0).1);
        }
        Ok((found, unreachable))
    }
}

type Answer = Result<(Vec<Arc<ModelInfo>>, Vec<Running>), Failure>;

/// What an engine has on disk and in memory, asked at the same time. One that does not tell what runs still lists.
async fn list_one<'a>(entry: &'a Entry, engine: &'a Engine) -> (&'a Entry, &'a Engine, Answer) {
    let late = || {
        let message = format!("it did not list its models within {} seconds", LIST_TIMEOUT.as_secs());
        backend::Error::new(backend::Kind::Unreachable, message)
    };
    let both = future::join(engine.backend.list(), look::running(engine));
    let (listed, running) = match tokio::time::timeout(LIST_TIMEOUT, both).await {
        Ok((listed, running)) => (listed, running.unwrap_or_default()),
        Err(_) => (Err(late()), Vec::new()),
    };
    let listed = listed.map(|models| (models, running));
    (
        entry,
        engine,
        listed.map_err(|error| error::engine(&error, &entry.name)),
    )
}
