//! The generated code, and the descriptors of all of it.

/// The API's messages, clients and servers.
#[allow(
    clippy::pedantic,
    clippy::large_enum_variant,
    missing_debug_implementations,
    unreachable_pub,
    rust_2018_idioms
)]
pub mod v1 {
    tonic::include_proto!("ichat.modelcontrol.v1");
}

/// The standard health protocol.
#[allow(clippy::pedantic, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Every file descriptor, without comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
