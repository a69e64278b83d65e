//! The flags of `serve`. Each has a twin in the environment that the flag beats.
//!
//! No flag may be called `port`, and none `service-host` or the like: Kubernetes sets `MODEL_CONTROL_PORT` and its kin in
//! every container beside a service called `model-control`, and means something else.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum, builder::BoolishValueParser, parser::ValueSource};

use super::{
    access::AccessArgs,
    registries::RegistryArgs,
    runner::RunnerArgs,
    value::{duration, size},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// Server settings as they were given. What they mean is for [`load`](super::load()) to say.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    // First: the fields after it take their values out of what it looks at.
    /// Where each value came from.
    #[command(flatten)]
    pub origins: Origins,

    /// The file of backends [default: ./configs.yaml if it is there, else one embedded backend].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_CONFIG")]
    pub config: Option<PathBuf>,

    /// Address and port of the API. Any but a loopback address needs --token-file, --tls-client-ca-file
    /// or --allow-unauthenticated.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "MODEL_CONTROL_LISTEN",
        default_value = "127.0.0.1:50051"
    )]
    pub listen: SocketAddr,

    /// Address and port where health alone is served in plain text [default: only on --listen].
    #[arg(long, value_name = "ADDRESS", env = "MODEL_CONTROL_HEALTH_LISTEN")]
    pub health_listen: Option<SocketAddr>,

    /// Address and port of `/metrics`, `/livez` and `/readyz` in plain text, open to whoever reaches it [default: nowhere].
    #[arg(long, value_name = "ADDRESS", env = "MODEL_CONTROL_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// URL of an OpenTelemetry collector that takes traces by OTLP over gRPC [default: what OTEL_EXPORTER_OTLP_ENDPOINT says,
    /// else none].
    #[arg(long, value_name = "URL", env = "MODEL_CONTROL_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Folder of what must outlive the service [default: model-control in the user's state folder].
    #[arg(long, value_name = "FOLDER", env = "MODEL_CONTROL_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Folder beneath which callers may name files. May be repeated; in the environment, separated by `:` [default: none,
    /// callers may name no files].
    #[arg(long = "model-root", value_name = "FOLDER", env = "MODEL_CONTROL_MODEL_ROOT")]
    pub model_roots: Vec<PathBuf>,

    /// Accept that anybody who reaches the API may call it.
    #[arg(long, env = "MODEL_CONTROL_ALLOW_UNAUTHENTICATED", value_parser = BoolishValueParser::new())]
    pub allow_unauthenticated: bool,

    /// Certificates and tokens.
    #[command(flatten)]
    pub access: AccessArgs,

    /// Connections at a time on each listener, 1 to 65536.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_MAX_CONNECTIONS", default_value = "1024",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_connections: u32,

    /// Calls at a time on one connection, 1 to 10000.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_MAX_STREAMS", default_value = "200",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_streams: u32,

    /// Size of a request, 4KiB to 64MiB.
    #[arg(long, value_name = "SIZE", env = "MODEL_CONTROL_MAX_MESSAGE_SIZE", default_value = "4MiB",
          value_parser = size(4 << 10, 64 << 20))]
    pub max_message_size: usize,

    /// Sockets at a time on each listener that have not said what they speak, 1 to 65536.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_MAX_HANDSHAKES", default_value = "256",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_handshakes: u32,

    /// Time from a connection to its first HTTP/2 frames, 100ms to 5m.
    #[arg(long, value_name = "DURATION", env = "MODEL_CONTROL_HANDSHAKE_TIMEOUT", default_value = "10s",
          value_parser = duration(SECOND / 10, SECOND * 300))]
    pub handshake_timeout: Duration,

    /// Operations that run at a time, 1 to 10000.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_MAX_OPERATIONS", default_value = "64",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_operations: u32,

    /// Ended operations that are remembered, 0 to 100000.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_KEEP_OPERATIONS", default_value = "256",
          value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub keep_operations: u32,

    /// How long ended operations are remembered, 0s to 720h.
    #[arg(long, value_name = "DURATION", env = "MODEL_CONTROL_KEEP_OPERATIONS_FOR", default_value = "1h",
          value_parser = duration(Duration::ZERO, DAY * 30))]
    pub keep_operations_for: Duration,

    /// Time between two probes of an engine, 100ms to 1h.
    #[arg(long, value_name = "DURATION", env = "MODEL_CONTROL_PROBE_INTERVAL", default_value = "5s",
          value_parser = duration(SECOND / 10, SECOND * 3_600))]
    pub probe_interval: Duration,

    /// How long NOT_SERVING is told at shutdown before calls are drained, 0s to 5m.
    #[arg(long, value_name = "DURATION", env = "MODEL_CONTROL_DRAIN_DELAY", default_value = "2s",
          value_parser = duration(Duration::ZERO, SECOND * 300))]
    pub drain_delay: Duration,

    /// How long calls and operations may take to end at shutdown, 0s to 1h.
    #[arg(long, value_name = "DURATION", env = "MODEL_CONTROL_DRAIN_TIMEOUT", default_value = "20s",
          value_parser = duration(Duration::ZERO, SECOND * 3_600))]
    pub drain_timeout: Duration,

    /// Registries and pulls.
    #[command(flatten)]
    pub registries: RegistryArgs,

    /// The programs that run models.
    #[command(flatten)]
    pub runner: RunnerArgs,

    /// Form of the log.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "MODEL_CONTROL_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or such a word for each target
    /// (`info,model_control::grpc=debug`).
    #[arg(long, value_name = "FILTER", env = "MODEL_CONTROL_LOG", default_value = "info")]
    pub log: String,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Flag,
    /// A `MODEL_CONTROL_*` variable.
    Environment,
    /// Nowhere.
    Default,
}

/// Where each setting came from, by its field's name. What is not in it is a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Origin>);

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Default => "default",
        })
    }
}

// === impl Origins ===

impl Origins {
    /// Where the setting came from.
    pub fn of(&self, field: &str) -> Origin {
        self.0.get(field).copied().unwrap_or(Origin::Default)
    }
}

/// Takes no argument: it looks at all the others' matches.
impl FromArgMatches for Origins {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let origin = |id: &clap::Id| match matches.value_source(id.as_str()) {
            Some(ValueSource::CommandLine) => Some((id.to_string(), Origin::Flag)),
            Some(ValueSource::EnvVariable) => Some((id.to_string(), Origin::Environment)),
            _ => None,
        };
        Ok(Self(matches.ids().filter_map(origin).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Origins {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
