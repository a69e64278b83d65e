//! `pull`: fetches a model from its registry.

use tonic::Request;

use super::{
    Context,
    ensure::{on_disconnect, on_leave, told_model},
    exit::Stop,
    follow::tell,
};
use crate::grpc::proto::v1::{PullRequest, PullResult};

/// What `pull` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model, like `llama3` or `hf.co/someone/some-model:Q4_K_M`
    model: String,

    /// The digest of the manifest that must come, `sha256:…`
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,

    /// Plain http to the registry, where the server allows it
    #[arg(long)]
    insecure: bool,

    /// Let the server cancel the work when this command is left, unless somebody else waits for it
    #[arg(long)]
    cancel_on_disconnect: bool,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    let request = PullRequest {
        backend: cx.backend(),
        model: args.model,
        digest: args.digest.unwrap_or_default(),
        insecure: args.insecure,
        on_disconnect: on_disconnect(args.cancel_on_disconnect),
    };
    let mut client = cx.model_control().await?;
    let on_leave = on_leave(args.cancel_on_disconnect);
    tell(cx, client.pull(Request::new(request)), on_leave, told).await
}

pub(super) fn told(result: &PullResult) -> String {
    let how = if result.changed {
        "is there now"
    } else {
        "was there already, and is the registry's newest"
    };
    format!("{} {how}", told_model(result.model.as_ref()))
}
