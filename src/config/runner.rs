//! How the embedded engine runs models.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
};

use clap::Args;

use super::{Folders, Problem, value::size};

/// Flags on the programs that run models.
#[derive(Debug, Clone, Args)]
pub struct RunnerArgs {
    /// The program that runs models of the embedded engine [default: llama-server on the PATH].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_LLAMA_SERVER")]
    pub llama_server: Option<PathBuf>,

    /// Address where it serves inference. Any but a loopback address needs --engine-key-file.
    #[arg(long, value_name = "IP", env = "MODEL_CONTROL_ENGINE_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub engine_listen: IpAddr,

    /// Host name or address that callers are given for inference [default: that of --engine-listen].
    #[arg(long, value_name = "HOST", env = "MODEL_CONTROL_ENGINE_ADVERTISE")]
    pub engine_advertise: Option<String>,

    /// Ports for inference, one a model, `8100-8107` [default: any that is free].
    #[arg(long, value_name = "FIRST-LAST", env = "MODEL_CONTROL_ENGINE_PORTS")]
    pub engine_ports: Option<Ports>,

    /// File of keys, one a line, one of which callers of inference must show [default: none, anybody who reaches the port].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_ENGINE_KEY_FILE")]
    pub engine_key_file: Option<PathBuf>,

    /// Models in memory at a time, 1 to 64 for each store [default: as many as fit].
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_MAX_LOADED", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_loaded: Option<u32>,

    /// Memory for all models of a store together, from 64MiB [default: what the machine and the container have].
    #[arg(long, value_name = "SIZE", env = "MODEL_CONTROL_MEMORY_LIMIT", value_parser = size(64 << 20, usize::MAX))]
    pub memory_limit: Option<usize>,
}

/// A range of ports, both ends of it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

/// A text that is no range of ports.
#[derive(Debug, thiserror::Error)]
#[error("ports are `first-last`, each from 1 to 65535, or one port")]
pub struct InvalidPorts;

/// How models are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// None: searched on the PATH at each load. Absolute.
    pub program: Option<PathBuf>,
    /// Where inference is served.
    pub listen: IpAddr,
    /// What callers are given in its place.
    pub advertise: Option<String>,
    /// None: any that is free.
    pub ports: Option<Ports>,
    /// Absolute.
    pub key_file: Option<PathBuf>,
    /// None: as many as fit.
    pub max_loaded: Option<NonZeroUsize>,
    /// Bytes.
    pub memory_limit: Option<u64>,
}

pub(super) fn resolve(args: &RunnerArgs, folders: &Folders, problems: &mut Vec<Problem>) -> Runner {
    if !args.engine_listen.to_canonical().is_loopback() && args.engine_key_file.is_none() {
        problems.push(Problem::of_flags(format!(
            "--engine-listen {}: whoever reaches this address could use the models. Give --engine-key-file",
            args.engine_listen
        )));
    }
    let plain = |host: &String| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        !host.is_empty() && host.chars().all(allowed)
    };
    if args.engine_advertise.as_ref().is_some_and(|host| !plain(host)) {
        problems.push(Problem::of_flags("--engine-advertise: is no host name or address"));
    }
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| folders.working.join(path));
    Runner {
        program: absolute(&args.llama_server),
        listen: args.engine_listen,
        advertise: args.engine_advertise.clone(),
        ports: args.engine_ports.clone(),
        key_file: absolute(&args.engine_key_file),
        max_loaded: args.max_loaded.and_then(|count| NonZeroUsize::new(count as usize)),
        memory_limit: args.memory_limit.map(|bytes| bytes as u64),
    }
}

// === impl Ports ===

impl FromStr for Ports {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, InvalidPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Self(first..=last)),
            _ => Err(InvalidPorts),
        }
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_has_two_ends_or_one() {
        for (text, shown) in [("8100-8107", "8100-8107"), ("80", "80-80")] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), shown);
        }
        for bad in ["", "-", "0-1", "2-1", "1-70000", "a-b", "1-2-3"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }
}
