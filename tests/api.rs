//! The service as its callers see it: a real listener on loopback, the real client, a scripted or a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "api/calls.rs"]
mod calls;
#[path = "api/conflicts.rs"]
mod conflicts;
#[path = "api/create.rs"]
mod create;
#[path = "api/disk.rs"]
mod disk;
#[path = "api/ensure.rs"]
mod ensure;
#[path = "api/files.rs"]
mod files;
#[path = "api/health.rs"]
mod health;
#[path = "api/held.rs"]
mod held;
#[path = "api/joining.rs"]
mod joining;
#[path = "api/leaving.rs"]
mod leaving;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/list.rs"]
mod list;
#[path = "support/missing.rs"]
mod missing;
#[path = "api/names.rs"]
mod names;
#[path = "api/operations.rs"]
mod operations;
#[path = "api/paths.rs"]
mod paths;
#[path = "api/progress.rs"]
mod progress;
#[path = "api/reflection.rs"]
mod reflection;
#[path = "api/scene.rs"]
mod scene;
#[path = "api/shutdown.rs"]
mod shutdown;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/soon.rs"]
mod soon;
#[path = "api/support.rs"]
mod support;
#[path = "api/turning.rs"]
mod turning;
