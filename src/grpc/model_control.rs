//! `ichat.modelcontrol.v1.ModelControl`.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    audit::Audit,
    decode, encode,
    proto::v1::{self, model_control_server::ModelControl},
    status,
    stream::{self, Follow, Responses},
};
use crate::{
    manager::{Changed, Ensured, Manager, Outcome},
    model::Failure,
    readiness::Readiness,
};

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    manager: Manager,
    readiness: watch::Receiver<Arc<Readiness>>,
}

// === impl Service ===

impl Service {
    pub(super) fn new(manager: Manager, readiness: watch::Receiver<Arc<Readiness>>) -> Self {
        Self { manager, readiness }
    }

    /// The entry that a request means, for what its answers carry.
    fn backend(&self, asked: &str) -> String {
        if !asked.is_empty() {
            return asked.to_owned();
        }
        self.manager
            .setup()
            .supported()
            .next()
            .map(|(entry, _)| entry.name.clone())
            .unwrap_or_default()
    }
}

#[tonic::async_trait]
impl ModelControl for Service {
    type EnsureReadyStream = Responses<v1::EnsureReadyResponse>;
    type PullStream = Responses<v1::PullResponse>;
    type CreateFromPathStream = Responses<v1::CreateFromPathResponse>;
    type PushStream = Responses<v1::PushResponse>;
    type LoadStream = Responses<v1::LoadResponse>;

    async fn ensure_ready(
        &self,
        request: Request<v1::EnsureReadyRequest>,
    ) -> Result<Response<Self::EnsureReadyStream>, Status> {
        let audit = Audit::begin(
            "EnsureReady",
            &request,
            &request.get_ref().backend,
            &request.get_ref().model,
        );
        let backend = self.backend(&request.get_ref().backend);
        let manager = self.manager.clone();
        let start = async move { manager.ensure(decode::ensure(request.into_inner())?).await };
        stream::follow(start, backend, audit).await
    }

    async fn pull(&self, request: Request<v1::PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let audit = Audit::begin("Pull", &request, &request.get_ref().backend, &request.get_ref().model);
        let backend = self.backend(&request.get_ref().backend);
        let manager = self.manager.clone();
        let start = async move {
            manager
                .pull(decode::pull(request.into_inner())?)
                .await
                .map(Ensured::Following)
        };
        stream::follow(start, backend, audit).await
    }

    async fn create_from_path(
        &self,
        request: Request<v1::CreateFromPathRequest>,
    ) -> Result<Response<Self::CreateFromPathStream>, Status> {
        let audit = Audit::begin(
            "CreateFromPath",
            &request,
            &request.get_ref().backend,
            &request.get_ref().model,
        );
        let backend = self.backend(&request.get_ref().backend);
        let manager = self.manager.clone();
        let start = async move {
            manager
                .create(decode::create(request.into_inner())?)
                .await
                .map(Ensured::Following)
        };
        stream::follow(start, backend, audit).await
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let request = decode::list(request.into_inner()).map_err(|failure| status::of(&failure))?;
        let listed = self
            .manager
            .list(request)
            .await
            .map_err(|failure| status::of(&failure))?;
        Ok(Response::new(encode::listed(listed)))
    }

    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let backend = decode::describe(request.into_inner()).map_err(|failure| status::of(&failure))?;
        self.manager
            .check_backend(&backend)
            .map_err(|failure| status::of(&failure))?;
        let readiness = Arc::clone(&self.readiness.borrow());
        Ok(Response::new(encode::describe(&self.manager, &readiness, &backend)))
    }

    async fn show(&self, request: Request<v1::ShowRequest>) -> Result<Response<v1::ShowResponse>, Status> {
        let shown = async { self.manager.show(decode::show(request.into_inner())?).await };
        let shown = shown.await.map_err(|failure| status::of(&failure))?;
        Ok(Response::new(encode::shown(shown)))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let audit = Audit::begin("Delete", &request, &request.get_ref().backend, &request.get_ref().model);
        let manager = self.manager.clone();
        let changed = settled(
            async move { manager.delete(decode::delete(request.into_inner())?).await },
            audit,
        )
        .await?;
        Ok(Response::new(encode::deleted(&changed)))
    }

    async fn copy(&self, request: Request<v1::CopyRequest>) -> Result<Response<v1::CopyResponse>, Status> {
        let audit = Audit::begin(
            "Copy",
            &request,
            &request.get_ref().backend,
            &request.get_ref().destination,
        );
        let backend = self.backend(&request.get_ref().backend);
        let manager = self.manager.clone();
        let changed = settled(
            async move { manager.copy(decode::copy(request.into_inner())?).await },
            audit,
        )
        .await?;
        Ok(Response::new(encode::copied(&backend, &changed)))
    }

    async fn push(&self, request: Request<v1::PushRequest>) -> Result<Response<Self::PushStream>, Status> {
        let audit = Audit::begin("Push", &request, &request.get_ref().backend, &request.get_ref().model);
        let backend = self.backend(&request.get_ref().backend);
        let manager = self.manager.clone();
        let start = async move {
            manager
                .push(decode::push(request.into_inner())?)
                .await
                .map(Ensured::Following)
        };
        stream::follow(start, backend, audit).await
    }

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<Self::LoadStream>, Status> {
        let audit = Audit::begin("Load", &request, &request.get_ref().backend, &request.get_ref().model);
        let backend = self.backend(&request.get_ref().backend);
        let manager = self.manager.clone();
        let start = async move {
            manager
                .load(decode::load(request.into_inner())?)
                .await
                .map(Ensured::Following)
        };
        stream::follow(start, backend, audit).await
    }

    async fn unload(&self, request: Request<v1::UnloadRequest>) -> Result<Response<v1::UnloadResponse>, Status> {
        let audit = Audit::begin("Unload", &request, &request.get_ref().backend, &request.get_ref().model);
        let manager = self.manager.clone();
        let changed = settled(
            async move { manager.unload(decode::unload(request.into_inner())?).await },
            audit,
        )
        .await?;
        Ok(Response::new(encode::unloaded(&changed)))
    }

    async fn list_running(
        &self,
        request: Request<v1::ListRunningRequest>,
    ) -> Result<Response<v1::ListRunningResponse>, Status> {
        let listed = async {
            let backend = decode::list_running(request.into_inner())?;
            self.manager.list_running(&backend).await
        };
        let listed = listed.await.map_err(|failure| status::of(&failure))?;
        Ok(Response::new(encode::running_models(&listed)))
    }
}

/// A change, to its end. Who leaves meanwhile leaves it to the operation.
async fn settled(change: impl Future<Output = Result<Changed, Failure>>, mut audit: Audit) -> Result<Changed, Status> {
    let changed = change.await;
    match &changed {
        Ok(changed) => {
            audit.operation(changed.id);
            audit.end(None);
        }
        Err(failure) => audit.end(Some(failure)),
    }
    changed.map_err(|failure| status::of(&failure))
}

// === impl Follow ===

impl Follow for v1::EnsureReadyResponse {
    fn progress(progress: v1::Progress) -> Self {
        Self {
            event: Some(v1::ensure_ready_response::Event::Progress(progress)),
        }
    }

    fn result(backend: &str, outcome: &Outcome) -> Self {
        Self {
            event: Some(v1::ensure_ready_response::Event::Result(encode::ensured(
                backend, outcome,
            ))),
        }
    }
}

impl Follow for v1::PullResponse {
    fn progress(progress: v1::Progress) -> Self {
        Self {
            event: Some(v1::pull_response::Event::Progress(progress)),
        }
    }

    fn result(backend: &str, outcome: &Outcome) -> Self {
        Self {
            event: Some(v1::pull_response::Event::Result(encode::pulled(backend, outcome))),
        }
    }
}

impl Follow for v1::CreateFromPathResponse {
    fn progress(progress: v1::Progress) -> Self {
        Self {
            event: Some(v1::create_from_path_response::Event::Progress(progress)),
        }
    }

    fn result(backend: &str, outcome: &Outcome) -> Self {
        Self {
            event: Some(v1::create_from_path_response::Event::Result(encode::created(
                backend, outcome,
            ))),
        }
    }
}

impl Follow for v1::PushResponse {
    fn progress(progress: v1::Progress) -> Self {
        Self {
            event: Some(v1::push_response::Event::Progress(progress)),
        }
    }

    fn result(_backend: &str, outcome: &Outcome) -> Self {
        Self {
            event: Some(v1::push_response::Event::Result(encode::pushed(outcome))),
        }
    }
}

impl Follow for v1::LoadResponse {
    fn progress(progress: v1::Progress) -> Self {
        Self {
            event: Some(v1::load_response::Event::Progress(progress)),
        }
    }

    fn result(backend: &str, outcome: &Outcome) -> Self {
        Self {
            event: Some(v1::load_response::Event::Result(encode::loaded(backend, outcome))),
        }
    }
}
