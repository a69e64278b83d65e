//! From readiness to the status of a health name. Pure: the table of names is this file.
//!
//! | name | serving when |
//! |---|---|
//! | `liveness` | the process runs and is not draining |
//! | `ichat.modelcontrol.v1.ModelControl`, `….Operations` | at least one backend answers |
//! | empty | every supported backend answers and has its configured models at their level |
//! | `backends/<name>` | that one does |
//! | `backends/<name>/models/<model>` | that model is at the level that is configured, or pinned higher |

use super::{BackendState, Readiness};
use crate::model::ModelName;

/// Names that `List` may tell; more is an error, as in other implementations.
const MAX_LISTED: usize = 100;

const LIVENESS: &str = "liveness";
const SERVICES: [&str; 2] = ["ichat.modelcontrol.v1.ModelControl", "ichat.modelcontrol.v1.Operations"];

/// Whether a name can be used.
pub type Serving = bool;

// === impl Readiness ===

impl Readiness {
    /// The status of a name; none when nobody knows it.
    pub fn status(&self, name: &str) -> Option<Serving> {
        self.known(name).map(|serving| serving && !self.draining)
    }

    /// Process, services, backends and configured models; none when they are more than may be told.
    pub fn statuses(&self) -> Option<Vec<(String, Serving)>> {
        let mut names = vec![String::new(), LIVENESS.to_owned()];
        names.extend(SERVICES.map(str::to_owned));
        for state in self.supported() {
            names.push(format!("backends/{}", state.entry.name));
            let models = state.entry.desired.iter().map(|desired| desired.spec.name.canonical());
            names.extend(models.map(|model| format!("backends/{}/models/{model}", state.entry.name)));
        }
        if names.len() > MAX_LISTED {
            return None;
        }
        let status = |name: String| self.status(&name).map(|serving| (name, serving));
        Some(names.into_iter().filter_map(status).collect())
    }

    fn known(&self, name: &str) -> Option<Serving> {
        match name {
            LIVENESS => Some(true),
            "" => Some(self.supported().next().is_some() && self.supported().all(ready)),
            service if SERVICES.contains(&service) => Some(self.supported().any(|state| state.seen.answers)),
            other => self.part(other),
        }
    }

    fn part(&self, name: &str) -> Option<Serving> {
        let rest = name.strip_prefix("backends/")?;
        // A backend's name has no slash.
        let (backend, model) = match rest.split_once('/') {
            Some((backend, rest)) => (backend, Some(rest.strip_prefix("models/")?)),
            None => (rest, None),
        };
        let state = self.supported().find(|state| state.entry.name == backend)?;
        let Some(model) = model else { return Some(ready(state)) };
        let model: ModelName = model.parse().ok()?;
        match state.entry.desired.iter().find(|desired| desired.spec.name == model) {
            Some(desired) => Some(state.seen.answers && state.has(desired) && state.keeps(&model) == Some(true)),
            None => state.keeps(&model).map(|kept| kept && state.seen.answers),
        }
    }

    /// Entries of an unknown framework count in no name.
    fn supported(&self) -> impl Iterator<Item = &BackendState> {
        self.backends.iter().filter(|state| state.entry.engine.is_some())
    }
}

fn ready(state: &BackendState) -> Serving {
    state.seen.answers && state.satisfied()
}
