//! What Ollama can do wrong, by the scripted double: what the caller gets, and that the next call is good.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the tests of the API use the rest")]
#[path = "api/calls.rs"]
mod calls;
#[path = "conformance/case.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "the suite of all engines uses the rest"
)]
mod case;
#[path = "ollama_faults/create.rs"]
mod create;
#[path = "ollama_faults/headers.rs"]
mod headers;
#[path = "ollama_faults/manage.rs"]
mod manage;
#[path = "support/missing.rs"]
mod missing;
#[path = "ollama_faults/names.rs"]
mod names;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "support/ollama_double.rs"]
#[allow(unused_imports, reason = "other tests use the rest")]
mod ollama_double;
#[path = "ollama_faults/port.rs"]
mod port;
#[path = "support/processes.rs"]
mod processes;
#[path = "ollama_faults/pull.rs"]
mod pull;
#[path = "support/registry.rs"]
mod registry;
#[path = "conformance/road.rs"]
mod road;
#[path = "support/service.rs"]
mod service;
#[path = "support/soon.rs"]
mod soon;
#[path = "ollama_faults/stream.rs"]
mod stream;
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
#[path = "api/support.rs"]
mod support;
#[path = "conformance/world.rs"]
mod world;

use std::sync::Arc;

use model_control::model::Digest;
use tokio::runtime::Handle;
use tonic::Status;

use self::{
    ollama_double::{Layer, Remote},
    soon::until,
    world::{Ground, Kind, Shared, World},
};

/// A service in front of a double whose registry has the model `m`.
async fn world() -> World {
    let (ground, name) = ground().await;
    publish(&ground, &name);
    ground.start().await
}

/// The registry has this model.
fn publish(ground: &Ground, name: &str) {
    let layers = vec![Layer::file("model", Digest::of(b"m"), 1000), Layer::text("system", "s")];
    let remote = Remote { layers, half_way: None };
    ground.double().state().publish(&name.parse().unwrap(), remote);
}

/// A double without a service, and the name that its models begin with.
async fn ground() -> (Ground, String) {
    let shared = Shared {
        registry: None,
        split: false,
        server: None,
        python: None,
        hub: true,
        handle: Handle::current(),
    };
    let ground = Ground::new(Kind::Double, Arc::new(shared)).await;
    let name = ground.name("m");
    (ground, name)
}

/// Nothing of Ollama's machine is told, and clients can read it.
fn assert_clean(status: &Status) {
    let told = format!("{status:?}");
    for path in [
        "models-dir",
        "ollama-bin-dir",
        "ollama-lib-dir",
        "working-dir",
        "home-dir",
    ] {
        assert!(!told.contains(path), "{told}");
    }
    assert!(status.message().len() <= 1024 && status.details().len() <= 4096);
}
