//! What the operator decides about the programs that run models.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

/// How models are run. The default finds `llama-server` on the PATH and listens on loopback alone.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// `llama-server`; none: it is searched on the PATH at each load, so that one installed later is found.
    pub program: Option<PathBuf>,
    /// This project's program, through which engines are started so that they end with us; none: the running one. Tests that
    /// run inside another program name it.
    pub helper: Option<PathBuf>,
    /// Where engines listen: 127.0.0.1. Any address that is not loopback needs a key file.
    pub listen: IpAddr,
    /// What callers put before the port, a host name or an address: the listening address.
    pub advertise: Option<String>,
    /// Ports for engines, tried in order; none: any that is free.
    pub ports: Option<RangeInclusive<u16>>,
    /// Keys that callers must show, one a line; handed to the engine by its name, never in an argument.
    pub key_file: Option<PathBuf>,
    /// Models in memory at a time; none: as many as fit.
    pub max_loaded: Option<NonZeroUsize>,
    /// Bytes for all models together, as estimated; none: what machine and cgroup have.
    pub memory_limit: Option<u64>,
    /// Threads of each engine; none: as many as the cgroup and the affinity allow.
    pub threads: Option<NonZeroUsize>,
    /// Layers on accelerators; none: the engine decides.
    pub gpu_layers: Option<u32>,
    /// Tokens of context where neither request nor model says it: 4096, or what the model was trained for if that is less.
    pub context_length: u32,
    /// How long an unused model stays, where the request does not say it: 5 minutes.
    pub keep_alive: Duration,
    /// Further arguments for `llama-server`, after ours.
    pub extra_args: Vec<String>,
    /// Bounds of time.
    pub limits: RunnerLimits,
}

/// How long the runner waits, and for what.
#[derive(Debug, Clone, Copy)]
pub struct RunnerLimits {
    /// Without a line of the log, a tick of the processor or a page of memory while a model is loaded, or without an answer and
    /// any of these later: 2 minutes.
    pub stall: Duration,
    /// For running requests before a model leaves: 10 s.
    pub drain: Duration,
    /// From SIGTERM to SIGKILL: 3 s.
    pub terminate: Duration,
    /// From SIGKILL until it is called stuck: 10 s.
    pub reap: Duration,
    /// For memory to come back after a model has left: 2 s.
    pub memory: Duration,
}

/// Settings that may not be.
#[derive(Debug, thiserror::Error)]
pub enum RunnerSettingsError {
    /// Callers of other hosts, and nothing that they must show.
    #[error("engines that listen on {0}, which is not loopback, need a key file")]
    KeyFileMissing(IpAddr),
    /// The range is upside down, or begins at 0.
    #[error("the ports {0}-{1} are no range")]
    Ports(u16, u16),
}

// === impl RunnerSettings ===

impl RunnerSettings {
    pub(super) fn check(&self) -> Result<(), RunnerSettingsError> {
        if !self.listen.is_loopback() && self.key_file.is_none() {
            return Err(RunnerSettingsError::KeyFileMissing(self.listen));
        }
        match &self.ports {
            Some(ports) if ports.is_empty() || *ports.start() == 0 => {
                Err(RunnerSettingsError::Ports(*ports.start(), *ports.end()))
            }
            _ => Ok(()),
        }
    }
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            program: None,
            helper: None,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise: None,
            ports: None,
            key_file: None,
            max_loaded: None,
            memory_limit: None,
            threads: None,
            gpu_layers: None,
            context_length: 4096,
            keep_alive: Duration::from_mins(5),
            extra_args: Vec::new(),
            limits: RunnerLimits::default(),
        }
    }
}

impl Default for RunnerLimits {
    fn default() -> Self {
        Self {
            stall: Duration::from_mins(2),
            drain: Duration::from_secs(10),
            terminate: Duration::from_secs(3),
            reap: Duration::from_secs(10),
            memory: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_hosts_need_a_key() {
        let mut settings = RunnerSettings::default();
        settings.check().unwrap();
        settings.listen = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert!(matches!(settings.check(), Err(RunnerSettingsError::KeyFileMissing(_))));
        settings.key_file = Some("keys".into());
        settings.check().unwrap();
        settings.ports = Some(0..=10);
        assert!(matches!(settings.check(), Err(RunnerSettingsError::Ports(0, 10))));
    }
}
