//! Every metric that there is: name, type, labels, meaning. `docs/metrics.md` tells the same, and a test compares.

use super::Kind::{self, Counter, Gauge, Histogram};

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is exposed. Base units.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, each of few values.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: &str = $name;
        )+
        /// Every metric.
        pub const ALL: &[Metric] = &[$(
            Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help },
        )+];
    };
}

metrics! {
    RPC_DURATION = "rpc_server_call_duration_seconds", Histogram, ["rpc_method", "rpc_response_status_code"],
        "Time from the first byte of a call to its status; of a stream, to its end.";
    RPCS = "model_control_rpcs_in_flight", Gauge, ["rpc_method"], "Calls that run now.";
    READY = "model_control_ready", Gauge, [], "1 while every configured backend answers and has its models at their level.";
    DRAINING = "model_control_draining", Gauge, [], "1 while the service shuts down.";
    ENGINE_UP = "model_control_engine_up", Gauge, ["backend"], "1 while the engine answers its probes.";
    ENGINE_ANSWER = "model_control_engine_last_answer_timestamp_seconds", Gauge, ["backend"],
        "When the engine answered last.";
    BACKEND_READY = "model_control_backend_ready", Gauge, ["backend"],
        "1 while the engine answers and the backend's models are at their level.";
    ENGINE_REQUESTS = "model_control_engine_request_duration_seconds", Histogram, ["backend", "method", "code"],
        "Time that the engine took for what it was asked; of long work, to its end.";
    MODELS = "model_control_models", Gauge, ["backend"], "Models that the engine lists.";
    MODEL_LEVEL = "model_control_model_level", Gauge, ["backend", "model"],
        "How ready a configured model is: 0 absent, 1 on disk, 2 loaded, 3 warm.";
    MODEL_DESIRED = "model_control_model_level_desired", Gauge, ["backend", "model"],
        "How ready a configured model is to be; 0 until somebody has asked for one that is made ready on demand.";
    LOADED = "model_control_loaded_models", Gauge, ["backend"], "Models in the engine's memory.";
    LOADED_BYTES = "model_control_loaded_model_memory_bytes", Gauge, ["backend", "model"],
        "Memory of models in the engine's memory.";
    FIRST_TOKEN = "model_control_model_time_to_first_token_seconds", Gauge, ["backend", "model"],
        "Time to the first token when a configured model was last asked for one.";
    OPERATIONS = "model_control_operations_running", Gauge, ["kind"], "Operations that work now.";
    QUEUED = "model_control_operations_queued", Gauge, ["kind"], "Operations that wait for their turn.";
    ENDED = "model_control_operations_ended_total", Counter, ["backend", "kind", "outcome", "reason"],
        "Operations that have ended. The reason is that of a failure.";
    OPERATION_DURATION = "model_control_operation_duration_seconds", Histogram, ["kind", "outcome"],
        "Time from the start of an operation to its end.";
    BYTES = "model_control_operation_bytes_total", Counter, ["backend", "phase"],
        "Bytes that operations worked on, as engines tell it.";
    RUNNER_STARTS = "model_control_runner_starts_total", Counter, [],
        "Processes of the embedded engine that came to answer.";
    RUNNER_DEATHS = "model_control_runner_deaths_total", Counter, [],
        "Processes of the embedded engine that ended by themselves.";
    RELOADS = "model_control_config_reloads_total", Counter, ["outcome"], "Reloads of the configuration.";
    RELOAD_OK = "model_control_config_last_reload_successful", Gauge, [],
        "0 after a reload was refused, until one is taken.";
    RELOAD_TIME = "model_control_config_last_reload_success_timestamp_seconds", Gauge, [],
        "When the configuration in force was taken.";
    CERTIFICATE = "model_control_certificate_expiry_timestamp_seconds", Gauge, ["certificate"],
        "When a certificate that is in use expires.";
    JOURNAL_FAILURES = "model_control_journal_failures_total", Counter, [],
        "Records of operations that could not be written.";
    BUILD = "model_control_build_info", Gauge, ["version", "revision"], "1; the labels tell what runs.";
    PROCESS_START = "process_start_time_seconds", Gauge, [], "When the service started.";
    PROCESS_MEMORY = "process_resident_memory_bytes", Gauge, [], "Memory of the process, without its engines.";
    PROCESS_FDS = "process_open_fds", Gauge, [], "Open file descriptors.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, [], "Open file descriptors that the process may have.";
}
