//! How a model runs and how long it stays in memory: flags that `ensure` and `load` share.

use std::time::Duration;

use super::text::parse_duration;
use crate::grpc::proto::v1::LoadOptions;

/// How it runs, and how long.
#[derive(Debug, clap::Args)]
pub(super) struct StayArgs {
    /// How long it stays loaded after its last use (`5m`) [default: as the engine has it]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "pin")]
    keep_alive: Option<Duration>,

    /// Keep it loaded until `unload`
    #[arg(long)]
    pub(super) pin: bool,

    /// The context in tokens [default: the engine's]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    context_length: Option<u32>,
}

// === impl StayArgs ===

impl StayArgs {
    pub(super) fn keep_alive(&self) -> Option<prost_types::Duration> {
        self.keep_alive.map(|time| prost_types::Duration {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanos: time.subsec_nanos().cast_signed(),
        })
    }

    pub(super) fn load_options(&self) -> Option<LoadOptions> {
        self.context_length.map(|tokens| LoadOptions {
            context_length: Some(tokens.into()),
            engine_options: None,
        })
    }
}
