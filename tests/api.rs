//! The service as its callers see it: a real listener on loopback, the real client, a scripted or a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "api/create.rs"]
mod create;
#[path = "api/health.rs"]
mod health;
#[path = "api/joining.rs"]
mod joining;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/shutdown.rs"]
mod shutdown;
#[path = "api/support.rs"]
mod support;
