//! The generated code, and the descriptors of all of it.

/// `ichat.modelcontrol.v1`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    missing_debug_implementations,
    rust_2018_idioms,
    unreachable_pub,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("ichat.modelcontrol.v1");
}

/// `grpc.health.v1`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    missing_debug_implementations,
    rust_2018_idioms,
    unreachable_pub,
    reason = "generated"
)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// An encoded `FileDescriptorSet` of every file above and what they import, without comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
