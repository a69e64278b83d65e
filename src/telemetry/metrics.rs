//! Metrics in Prometheus' text format.
//!
//! Two sorts. What *happens* is counted where it happens, by the functions below, in the one recorder of the process; until
//! [`install`] was called they do nothing, for next to nothing. What *is* (levels, engines, what runs) is told by whoever
//! knows it when somebody asks, into a recorder that lives for that one answer: a series of what is gone is gone, and nothing
//! can disagree with health.
//!
//! Labels have few values: names of the configuration, of the API's methods, codes and reasons. What callers write becomes
//! [`OTHER`].

use std::{sync::OnceLock, time::Duration};

use ::metrics::{
    Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

mod process;
pub mod table;

pub use self::process::Process;

/// The value of a label for all that is not configured.
pub const OTHER: &str = "_other";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rises only.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Seconds of a call: from a list out of memory to a pull of hours.
const SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0,
];

/// The metrics of the process. Cheap to clone: a handle.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

/// Where the state at one moment is written.
#[derive(Debug)]
pub struct State(());

static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// The recorder cannot be set up: a fault of the build.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be set up")]
pub struct InstallError(#[from] BuildError);

/// Counts from now on. A second call gets the same.
pub fn install() -> Result<Exposition, InstallError> {
    if let Some(handle) = INSTALLED.get() {
        return Ok(Exposition(handle.clone()));
    }
    let handle = builder()?.install_recorder()?;
    describe();
    // What has not happened is told as 0: a rate needs a first value.
    counter!(table::RUNNER_STARTS).absolute(0);
    counter!(table::RUNNER_DEATHS).absolute(0);
    counter!(table::JOURNAL_FAILURES).absolute(0);
    Ok(Exposition(INSTALLED.get_or_init(|| handle).clone()))
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let histograms = table::ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    histograms
        .map(|metric| metric.name)
        .try_fold(PrometheusBuilder::new(), |builder, name| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), SECONDS)
        })
}

fn describe() {
    for metric in table::ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// A call begins. Methods are those of the API, or `_OTHER` as the conventions have it.
pub fn rpc_began(method: &'static str) {
    gauge!(table::RPCS, "rpc_method" => method).increment(1);
}

/// A call ends.
pub fn rpc_ended(method: &'static str, code: &'static str, took: Duration) {
    gauge!(table::RPCS, "rpc_method" => method).decrement(1);
    histogram!(table::RPC_DURATION, "rpc_method" => method, "rpc_response_status_code" => code).record(took);
}

/// An engine has done what it was asked, or not.
pub fn engine_asked(backend: &str, method: &'static str, code: &'static str, took: Duration) {
    histogram!(table::ENGINE_REQUESTS, "backend" => backend.to_owned(), "method" => method, "code" => code)
        .record(took);
}

/// An operation ends. `reason` is empty unless it failed.
pub fn operation_ended(backend: &str, kind: &'static str, outcome: &'static str, reason: String, took: Duration) {
    counter!(
        table::ENDED, "backend" => backend.to_owned(), "kind" => kind, "outcome" => outcome, "reason" => reason
    )
    .increment(1);
    histogram!(table::OPERATION_DURATION, "kind" => kind, "outcome" => outcome).record(took);
}

/// An operation has come further by so many bytes.
pub fn operation_bytes(backend: &str, phase: &'static str, bytes: u64) {
    counter!(table::BYTES, "backend" => backend.to_owned(), "phase" => phase).increment(bytes);
}

/// A process of the embedded engine answers.
pub fn runner_started() {
    counter!(table::RUNNER_STARTS).increment(1);
}

/// A process of the embedded engine ended, and nobody had asked for it.
pub fn runner_died() {
    counter!(table::RUNNER_DEATHS).increment(1);
}

/// A certificate is in use, until then. `certificate` tells which: `server`, `client-ca`.
#[expect(clippy::cast_precision_loss, reason = "seconds of a time that people live in")]
pub fn certificate_expires(certificate: &'static str, unix_seconds: i64) {
    gauge!(table::CERTIFICATE, "certificate" => certificate).set(unix_seconds as f64);
}

/// An operation's record could not be written.
pub fn journal_failed() {
    counter!(table::JOURNAL_FAILURES).increment(1);
}

// === impl Exposition ===

impl Exposition {
    /// All metrics as text: what happened, and what `state` tells that is.
    pub fn render(&self, state: impl FnOnce(&State)) -> Result<String, InstallError> {
        let recorder = builder()?.build_recorder();
        with_local_recorder(&recorder, || {
            describe();
            state(&State(()));
        });
        Ok(self.0.render() + &recorder.handle().render())
    }

    /// Brings samples into their buckets. To be called every few seconds: until then each is kept by itself.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Exposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exposition")
    }
}

// === impl State ===

// It takes `self` so that nobody writes state where it would stay.
#[expect(clippy::unused_self, reason = "the proof that a recorder for one answer is in place")]
impl State {
    /// A gauge.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        gauge!(name, self.labels(labels)).set(value);
    }

    /// The same for what is so or not.
    pub fn flag(&self, name: &'static str, labels: &[(&'static str, &str)], value: bool) {
        self.gauge(name, labels, f64::from(u8::from(value)));
    }

    /// Adds to a gauge of this answer.
    pub fn add(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        gauge!(name, self.labels(labels)).increment(value);
    }

    /// A counter that somebody else keeps.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        counter!(name, self.labels(labels)).absolute(value);
    }

    fn labels(&self, labels: &[(&'static str, &str)]) -> Vec<Label> {
        labels
            .iter()
            .map(|&(key, value)| Label::new(key, value.to_owned()))
            .collect()
    }
}
