//! `health`: whether the server, a backend or a model can be used. Its exit codes are those of the common probes.

use super::{Context, Output, exit::Stop, text::printable};
use crate::grpc::proto::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 serving, 1 usage, 2 no connection, 3 the call failed (also: unknown name), 4 not serving.
`--backend` is not looked at: a backend's name is `backends/NAME`.";

const NAME: &str = "grpc.health.v1.HealthCheckResponse";

/// What `health` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `liveness`, `backends/NAME`, `backends/NAME/models/MODEL`, a service; without it: all that is configured
    #[arg(default_value = "", hide_default_value = true)]
    name: String,

    /// Print each change until it is left or the server ends
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.health().await?;
    let message = HealthCheckRequest { service: args.name };
    if !args.watch {
        let request = cx.request(message);
        let answer = cx.answer(client.check(request)).await?;
        return told(cx, answer);
    }
    let mut last = Err(Stop::NotServing);
    let mut changes = cx.answer(client.watch(message)).await?;
    while let Some(change) = changes.message().await? {
        match told(cx, change) {
            told @ (Ok(()) | Err(Stop::NotServing)) => last = told,
            Err(stop) => return Err(stop),
        }
    }
    last
}

/// Prints the status; other than serving is an error of the word.
fn told(cx: &mut Context, answer: HealthCheckResponse) -> Result<(), Stop> {
    let status = ServingStatus::try_from(answer.status).unwrap_or(ServingStatus::Unknown);
    cx.console
        .result(NAME, &answer, |_| printable(status.as_str_name()).into_owned())?;
    if cx.global.output == Output::Table {
        cx.console.flush()?;
    }
    match status {
        ServingStatus::Serving => Ok(()),
        _ => Err(Stop::NotServing),
    }
}
