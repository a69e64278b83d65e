//! `ichat.modelcontrol.v1.Operations`.

use futures::StreamExt as _;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    audit::Audit,
    decode, encode,
    proto::v1::{self, operations_server::Operations, operations_watch_response::Event},
    status,
    stream::{self, Pace, Responses, Told},
};
use crate::{
    manager::{Manager, ModelView},
    operation::Watcher,
};

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    manager: Manager,
}

/// One watcher. It is told of among those who follow, and neither keeps the work nor would cancel it.
struct Watching {
    /// As it was when the watch began; its status is brought up to date for the end.
    view: ModelView,
    pace: Pace,
    _watcher: Watcher,
    ended: bool,
}

// === impl Service ===

impl Service {
    pub(super) fn new(manager: Manager) -> Self {
        Self { manager }
    }
}

#[tonic::async_trait]
impl Operations for Service {
    type WatchStream = Responses<v1::OperationsWatchResponse>;

    async fn get(
        &self,
        request: Request<v1::OperationsGetRequest>,
    ) -> Result<Response<v1::OperationsGetResponse>, Status> {
        let id = decode::operation_id(&request.get_ref().operation_id).map_err(|failure| status::of(&failure))?;
        let operation = self.manager.operations().get(id).ok_or_else(|| not_found(id))?;
        Ok(Response::new(v1::OperationsGetResponse {
            operation: Some(encode::operation(&operation)),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::OperationsListRequest>,
    ) -> Result<Response<v1::OperationsListResponse>, Status> {
        let asked = decode::list_operations(request.into_inner()).map_err(|failure| status::of(&failure))?;
        self.manager
            .check_backend(&asked.backend)
            .map_err(|failure| status::of(&failure))?;
        let wanted = |view: &ModelView| {
            (asked.backend.is_empty() || asked.backend == view.label.backend)
                && asked.model.as_ref().is_none_or(|model| *model == view.label.name)
                && (asked.state == v1::operation::State::Unspecified || asked.state == encode::state(&view.status))
        };
        // One more than the page tells whether there is another.
        let mut views = self
            .manager
            .operations()
            .list(asked.before, asked.page_size + 1, wanted);
        let more = views.len() > asked.page_size;
        views.truncate(asked.page_size);
        let next_page_token = views
            .last()
            .filter(|_| more)
            .map(|view| view.id.to_string())
            .unwrap_or_default();
        let operations = views.iter().map(encode::operation).collect();
        Ok(Response::new(v1::OperationsListResponse {
            operations,
            next_page_token,
        }))
    }

    async fn watch(&self, request: Request<v1::OperationsWatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let id = decode::operation_id(&request.operation_id).map_err(|failure| status::of(&failure))?;
        let (view, status, watcher) = self.manager.operations().watch(id).ok_or_else(|| not_found(id))?;
        let after = u64::try_from(request.after_sequence).ok().filter(|after| *after > 0);
        let watching = Watching {
            view,
            pace: Pace::new(status, after),
            _watcher: watcher,
            ended: false,
        };
        Ok(Response::new(futures::stream::unfold(watching, next).boxed()))
    }

    async fn cancel(
        &self,
        request: Request<v1::OperationsCancelRequest>,
    ) -> Result<Response<v1::OperationsCancelResponse>, Status> {
        let mut audit = Audit::begin("Operations.Cancel", &request, "", "");
        let id = decode::operation_id(&request.get_ref().operation_id).map_err(|failure| {
            audit.end(Some(&failure));
            status::of(&failure)
        })?;
        audit.operation(id);
        let cancelled = self.manager.operations().cancel(id).await.ok_or_else(|| {
            let failure = Manager::operation_not_found(id);
            audit.end(Some(&failure));
            status::of(&failure)
        })?;
        audit.end(None);
        Ok(Response::new(v1::OperationsCancelResponse {
            operation: Some(encode::operation(&cancelled)),
        }))
    }
}

async fn next(mut watching: Watching) -> Option<(Result<v1::OperationsWatchResponse, Status>, Watching)> {
    if watching.ended {
        return None;
    }
    let event = match watching.pace.next().await {
        Told::Progress(snapshot) => Ok(Event::Progress(encode::progress(watching.view.id, &snapshot, true))),
        Told::Ended(ended) if ended.suspended => {
            watching.ended = true;
            Err(status::shutting_down())
        }
        Told::Ended(_) => {
            watching.ended = true;
            watching.view.status = watching.pace.status();
            watching.view.followers = 0;
            Ok(Event::Operation(encode::operation(&watching.view)))
        }
        Told::Gone => {
            watching.ended = true;
            Err(status::of(&stream::gone(watching.view.id)))
        }
    };
    Some((
        event.map(|event| v1::OperationsWatchResponse { event: Some(event) }),
        watching,
    ))
}

fn not_found(id: Uuid) -> Status {
    status::of(&Manager::operation_not_found(id))
}
