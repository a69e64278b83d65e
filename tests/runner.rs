//! The embedded engine's runner on a real `llama-server`: what is loaded answers, what ends is told, nothing is left behind.
//!
//! Without the program each test says so and passes; where `CI` is set it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "runner/bad.rs"]
mod bad;
#[path = "runner/death.rs"]
mod death;
#[path = "runner/fit.rs"]
mod fit;
#[path = "runner/life.rs"]
mod life;
#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/processes.rs"]
mod processes;
#[path = "runner/room.rs"]
mod room;
#[path = "runner/scene.rs"]
mod scene;
#[path = "runner/shape.rs"]
mod shape;
