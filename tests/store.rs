//! The embedded engine through the port: what it stores, lists and survives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "store/change.rs"]
mod change;
#[path = "store/create.rs"]
mod create;
#[path = "store/list.rs"]
mod list;
#[path = "store/open.rs"]
mod open;
#[path = "store/refuse.rs"]
mod refuse;
#[path = "store/support.rs"]
mod support;
