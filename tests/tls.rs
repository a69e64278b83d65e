//! Who may call, as callers and operators see it: certificates of an authority of the test's own, tokens, and their change
//! under a running service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "tls/authority.rs"]
mod authority;
#[path = "tls/client.rs"]
mod client;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/mutual.rs"]
mod mutual;
#[path = "tls/program.rs"]
mod program;
#[path = "tls/reload.rs"]
mod reload;
#[path = "tls/scene.rs"]
mod scene;
#[path = "support/soon.rs"]
mod soon;
#[path = "tls/tokens.rs"]
mod tokens;
