//! EnsureReady, Pull and CreateFromPath: each is one operation that callers share.

use std::time::Duration;

use super::{
    Label, Manager, ModelStatus, ModelSubscription, Outcome, error, execute, request,
    task::Task,
    work::{OperationKind, first},
};
use crate::{model::Failure, operation::OnDisconnect};

/// For the look whether a model is ready already. An engine that is slower is looked at by an operation.
const GLANCE: Duration = Duration::from_secs(1);

/// What EnsureReady comes to.
#[derive(Debug)]
pub enum Ensured {
    /// Nothing was done: in a dry run, what would be; else it is ready already.
    Told(Box<Outcome>),
    /// An operation to follow.
    Following(ModelSubscription),
}

// === impl Manager ===

impl Manager {
    /// Brings a model to a level, or says what would.
    pub async fn ensure(&self, request: request::Ensure) -> Result<Ensured, Failure> {
        let (dry_run, on_disconnect) = (request.dry_run, request.on_disconnect);
        let task = Task::ensure(self, request)?;
        if dry_run {
            return Ok(Ensured::Told(Box::new(execute::dry_run(self, &task).await?)));
        }
        // What is ready makes no operation: a control plane asks before each use, and what was done would be pushed out of
        // the table by what was not. Anything else, a failure too, is for an operation to tell. One that only loads changes
        // nothing of what is on disk.
        let changes = |label: &Label| label.kind != OperationKind::Load;
        if !self.operations().is_draining()
            && !self.operations().runs(&task.key(), changes)
            && let Ok(Some(outcome)) = tokio::time::timeout(GLANCE, execute::ready(&task)).await
        {
            return Ok(Ensured::Told(Box::new(outcome)));
        }
        Ok(Ensured::Following(self.start_ensure(&task, on_disconnect).await?))
    }

    /// As [`start`](Self::start), for a model that may have to be brought. A Load that it joins may find no model to load;
    /// then it is begun anew.
    async fn start_ensure(&self, task: &Task, on_disconnect: OnDisconnect) -> Result<ModelSubscription, Failure> {
        loop {
            let mut following = self.start(task.clone(), on_disconnect).await?;
            let view = self.operations().get(following.id());
            if !following.joined() || view.is_none_or(|view| view.label.kind != OperationKind::Load) {
                return Ok(following);
            }
            let planned = |status: &ModelStatus| status.ended.is_some() || status.progress.plan.is_some();
            let found = match following.status().wait_for(planned).await {
                Ok(status) => status.progress.plan.is_some(),
                Err(_) => true,
            };
            if found {
                return Ok(following);
            }
        }
    }

    /// Fetches a model.
    pub async fn pull(&self, request: request::Pull) -> Result<ModelSubscription, Failure> {
        let on_disconnect = request.on_disconnect;
        self.start_step(&Task::pull(self, request)?, on_disconnect).await
    }

    /// Makes a model from files.
    pub async fn create(&self, request: request::Create) -> Result<ModelSubscription, Failure> {
        let on_disconnect = request.on_disconnect;
        let task = Task::create(self, request)?;
        // What cannot be opened makes no operation: bad paths would push ended ones out of the table.
        if !self.operations().runs(&task.key(), |_| true) {
            task.try_open(self).await?;
        }
        self.start_step(&task, on_disconnect).await
    }

    /// As [`start`](Self::start), for work that is wanted whatever is there. An EnsureReady that it joins may find nothing
    /// to do; then it is begun anew. Which of both it is shows as soon as the present model was looked at.
    async fn start_step(&self, task: &Task, on_disconnect: OnDisconnect) -> Result<ModelSubscription, Failure> {
        loop {
            let mut following = self.start(task.clone(), on_disconnect).await?;
            if !following.joined() {
                return Ok(following);
            }
            let planned = |status: &ModelStatus| status.ended.is_some() || status.progress.plan.is_some();
            let idle = match following.status().wait_for(planned).await {
                Ok(status) => status.progress.plan.as_ref().is_some_and(|plan| !plan.brings()),
                Err(_) => false,
            };
            let ended = |status: &ModelStatus| status.ended.is_some();
            if !idle || following.status().wait_for(ended).await.is_err() {
                return Ok(following);
            }
        }
    }

    /// Brings a model that is on disk into memory.
    pub async fn load(&self, request: request::Load) -> Result<ModelSubscription, Failure> {
        let on_disconnect = request.on_disconnect;
        self.start(Task::load(self, request)?, on_disconnect).await
    }

    async fn start(&self, task: Task, on_disconnect: OnDisconnect) -> Result<ModelSubscription, Failure> {
        let order = task.order(on_disconnect, first());
        let manager = self.clone();
        let job = |reporter| execute::run(manager, task, reporter);
        let started = self.operations().join_or_start(order, job).await;
        started.map_err(error::refused)
    }
}

// === impl OperationKind ===

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::EnsureReady,
        Self::Pull,
        Self::CreateFromPath,
        Self::Push,
        Self::Load,
        Self::Delete,
        Self::Copy,
        Self::Unload,
    ];

    /// As logs and tables spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnsureReady => "ensure",
            Self::Pull => "pull",
            Self::CreateFromPath => "create",
            Self::Push => "push",
            Self::Load => "load",
            Self::Delete => "delete",
            Self::Copy => "copy",
            Self::Unload => "unload",
        }
    }
}
