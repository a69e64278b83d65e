//! Model Control: makes models present, verified, loaded and provably ready on LLM engines.
//!
//! The map, from the values outwards. A room may use the rooms above it that its line names, and no others;
//! `tests/architecture.rs` fails on any other edge.
//!
//! | room | holds | may use |
//! |---|---|---|
//! | [`model`] | values: names, digests, levels, progress, failures | nothing |
//! | [`gguf`] | bounded reader of model files | nothing |
//! | [`ndjson`] | bounded lines out of a stream of bytes | nothing |
//! | [`safetensors`] | the same as `gguf` for safetensors | nothing |
//! | [`source`] | opens what callers name, and nothing beyond their roots | nothing |
//! | [`backend`] | the port to engines, and the engines | `model`, `gguf`, `ndjson`, `safetensors`, `source` |
//! | [`operation`] | single flight that outlives its callers; knows no model | nothing |
//! | [`config`] | file, flags and environment into one validated value | `model` |
//! | [`engines`] | configuration entry to engine, shared by store or address | `backend`, `config`, `model` |
//! | [`manager`] | the use cases, without transport | `backend`, `config`, `engines`, `model`, `operation`, `source` |
//! | [`readiness`] | probes engines; the only writer of health | `backend`, `config`, `engines`, `model` |
//! | [`grpc`] | the API, who may call it | `config::access`, `manager`, `model`, `operation`, `readiness` |
//! | [`cli`] | the client | the generated code in `grpc::proto` |
//! | [`telemetry`] | the log, metrics, traces | nothing; all may use it |
//! | [`app`] | wires them together; starts and stops | all |

pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod engines;
pub mod gguf;
pub mod grpc;
pub mod manager;
pub mod model;
pub mod ndjson;
pub mod operation;
pub mod readiness;
pub mod safetensors;
pub mod source;
pub mod telemetry;
