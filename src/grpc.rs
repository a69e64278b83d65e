//! The API: gRPC in, use cases out. Handlers decode, call the manager, encode; nothing else.
//!
//! ```text
//! accept ─> call (who may, deadline, drain, form of statuses) ─> service ─> decode ─> manager
//!   │         └ auth                                                 └─ stream <─ encode <──┘
//!   └ handshake ─ tls
//! ```
//!
//! `credentials` reads what `tls` and `auth` go by, and reads it again when it changes.
//!
//! Rejected: tonic's transport server. Its deadline answers CANCELLED and does not bound streams, and its shutdown waits
//! for ever for an open stream or an idle socket. The accept loop here owns connections and handshakes, so that each of
//! them is bounded and ends.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{codec::CompressionEncoding, service::Routes};

use self::proto::{
    health::health_server::HealthServer,
    v1::{model_control_server::ModelControlServer, operations_server::OperationsServer},
};
use crate::{manager::Manager, readiness::Readiness};

pub mod accept;
mod audit;
mod auth;
mod call;
mod credentials;
mod decode;
mod encode;
mod handshake;
mod health;
mod model_control;
mod observe;
mod operations;
pub mod proto;
mod status;
mod stream;
mod tls;

pub use self::{
    accept::{Limits, Server},
    credentials::{Credentials, UnusableFile, UnusableFiles},
};

/// The descriptors of the API cannot be read: a fault of the build.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors of the API cannot be read")]
pub struct InvalidDescriptors(#[from] tonic_reflection::server::Error);

/// All services of the API's listener.
pub fn api(
    manager: Manager,
    readiness: watch::Receiver<Arc<Readiness>>,
    max_message_bytes: usize,
) -> Result<Routes, InvalidDescriptors> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
    };
    let model_control = model_control::Service::new(manager.clone(), readiness.clone());
    let mut routes = Routes::builder();
    routes
        .add_service(
            ModelControlServer::new(model_control)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            OperationsServer::new(operations::Service::new(manager))
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(max_message_bytes),
        )
        .add_service(health_service(readiness))
        .add_service(reflection().build_v1()?.accept_compressed(CompressionEncoding::Gzip))
        .add_service(
            reflection()
                .build_v1alpha()?
                .accept_compressed(CompressionEncoding::Gzip),
        );
    Ok(routes.routes().prepare())
}

/// The services of the health listener.
pub fn health(readiness: watch::Receiver<Arc<Readiness>>) -> Routes {
    Routes::new(health_service(readiness)).prepare()
}

/// A health question is a name: nobody needs a large one.
const MAX_HEALTH_MESSAGE: usize = 16 * 1024;

fn health_service(readiness: watch::Receiver<Arc<Readiness>>) -> HealthServer<health::Service> {
    HealthServer::new(health::Service::new(readiness))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_HEALTH_MESSAGE)
}
