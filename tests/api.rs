//! The service as its callers see it: a real listener on loopback, the real client, a scripted or a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "api/calls.rs"]
mod calls;
#[path = "api/conflicts.rs"]
mod conflicts;
#[path = "api/create.rs"]
mod create;
#[path = "api/ensure.rs"]
mod ensure;
#[path = "api/health.rs"]
mod health;
#[path = "api/joining.rs"]
mod joining;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/list.rs"]
mod list;
#[path = "api/operations.rs"]
mod operations;
#[path = "api/progress.rs"]
mod progress;
#[path = "api/reflection.rs"]
mod reflection;
#[path = "api/shutdown.rs"]
mod shutdown;
#[path = "api/support.rs"]
mod support;
