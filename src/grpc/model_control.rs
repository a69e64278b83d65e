//! `ichat.modelcontrol.v1.ModelControl`.

use std::sync::Arc;

use futures::StreamExt as _;
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
    manager::{Ensured, Manager, Outcome},
    model::{Failure, Reason},
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
        let mut audit = Audit::begin(
            "EnsureReady",
            &request,
            &request.get_ref().backend,
            &request.get_ref().model,
        );
        let backend = self.backend(&request.get_ref().backend);
        let ensured = match decode::ensure(request.into_inner()) {
            Ok(request) => self.manager.ensure(request).await,
            Err(failure) => Err(failure),
        };
        match ensured {
            Ok(Ensured::Planned(outcome)) => {
                audit.end(None);
                let result = v1::EnsureReadyResponse::result(&backend, &outcome);
                Ok(Response::new(futures::stream::iter([Ok(result)]).boxed()))
            }
            Ok(Ensured::Following(subscription)) => stream::follow(Ok(subscription), backend, audit),
            Err(failure) => stream::follow(Err(failure), backend, audit),
        }
    }

    async fn pull(&self, request: Request<v1::PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let audit = Audit::begin("Pull", &request, &request.get_ref().backend, &request.get_ref().model);
        let backend = self.backend(&request.get_ref().backend);
        let started = match decode::pull(request.into_inner()) {
            Ok(request) => self.manager.pull(request).await,
            Err(failure) => Err(failure),
        };
        stream::follow(started, backend, audit)
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
        let started = match decode::create(request.into_inner()) {
            Ok(request) => self.manager.create(request).await,
            Err(failure) => Err(failure),
        };
        stream::follow(started, backend, audit)
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

    async fn show(&self, _: Request<v1::ShowRequest>) -> Result<Response<v1::ShowResponse>, Status> {
        Err(not_yet("Show"))
    }

    async fn delete(&self, _: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        Err(not_yet("Delete"))
    }

    async fn copy(&self, _: Request<v1::CopyRequest>) -> Result<Response<v1::CopyResponse>, Status> {
        Err(not_yet("Copy"))
    }

    async fn push(&self, _: Request<v1::PushRequest>) -> Result<Response<Self::PushStream>, Status> {
        Err(not_yet("Push"))
    }

    async fn load(&self, _: Request<v1::LoadRequest>) -> Result<Response<Self::LoadStream>, Status> {
        Err(not_yet("Load"))
    }

    async fn unload(&self, _: Request<v1::UnloadRequest>) -> Result<Response<v1::UnloadResponse>, Status> {
        Err(not_yet("Unload"))
    }

    async fn list_running(
        &self,
        _: Request<v1::ListRunningRequest>,
    ) -> Result<Response<v1::ListRunningResponse>, Status> {
        Err(not_yet("ListRunning"))
    }
}

/// A method of the contract that this version does not serve.
fn not_yet(method: &str) -> Status {
    let message = format!("`{method}` is not served in version {}", env!("CARGO_PKG_VERSION"));
    status::of(&Failure::new(Reason::MethodUnknown, message).with("method", method))
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
