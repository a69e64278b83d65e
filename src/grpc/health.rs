//! `grpc.health.v1.Health`, read from readiness; no question reaches an engine.

use std::sync::Arc;

use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    proto::health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus, health_server::Health,
    },
    status,
};
use crate::readiness::Readiness;

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    readiness: watch::Receiver<Arc<Readiness>>,
}

/// One watcher, and what it was told last.
struct Watching {
    readiness: watch::Receiver<Arc<Readiness>>,
    name: String,
    told: Option<ServingStatus>,
}

// === impl Service ===

impl Service {
    pub(super) fn new(readiness: watch::Receiver<Arc<Readiness>>) -> Self {
        Self { readiness }
    }
}

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        match self.readiness.borrow().status(&name) {
            Some(serving) => Ok(Response::new(response(serving_status(serving)))),
            None => Err(status::health_unknown(&name)),
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let statuses = self.readiness.borrow().statuses().ok_or_else(status::health_too_many)?;
        let statuses = statuses
            .into_iter()
            .map(|(name, serving)| (name, response(serving_status(serving))))
            .collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let watching = Watching {
            readiness: self.readiness.clone(),
            name,
            told: None,
        };
        Ok(Response::new(futures::stream::unfold(watching, next).boxed()))
    }
}

/// The present status at once, then each change; an unknown name may become known.
async fn next(mut watching: Watching) -> Option<(Result<HealthCheckResponse, Status>, Watching)> {
    let Watching { readiness, name, told } = &mut watching;
    let status = |readiness: &Readiness| {
        readiness
            .status(name)
            .map_or(ServingStatus::ServiceUnknown, serving_status)
    };
    let changed = readiness.wait_for(|readiness| Some(status(readiness)) != *told).await;
    // The publisher lives as long as the service: without it the stream ends.
    let now = status(&*changed.ok()?);
    *told = Some(now);
    Some((Ok(response(now)), watching))
}

fn serving_status(serving: bool) -> ServingStatus {
    if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
