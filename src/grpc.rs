//! The API: the generated code, and (with the server) what serves it.

pub mod proto;
