//! `ensure`: brings a model to a level by whatever is missing.

use std::path::PathBuf;

use tonic::Request;

use super::{
    Context,
    exit::Stop,
    follow::{OnLeave, tell},
    import,
    list::level_word,
    stay::StayArgs,
    text,
};
use crate::grpc::proto::v1::{self, EnsureReadyRequest, EnsureReadyResult, Model, OnDisconnect, plan};

/// What `ensure` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model, like `llama3`; without it: the backend's configured one
    model: Option<String>,

    /// Create it from this file or folder of the server's machine when it is absent, and never pull. A relative path is
    /// one of this machine's working folder: right only when the server runs here
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,

    /// How ready; without it: the configured level, else on disk
    #[arg(long, value_enum, value_name = "LEVEL")]
    level: Option<Level>,

    #[command(flatten)]
    stay: StayArgs,

    /// The digest of the manifest that it must have, `sha256:…`
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,

    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,

    /// Plain http to the registry, where the server allows it
    #[arg(long)]
    insecure: bool,

    /// Let the server cancel the work when this command is left, unless somebody else waits for it
    #[arg(long)]
    cancel_on_disconnect: bool,

    #[command(flatten)]
    import: import::ImportArgs,
}

/// How ready a model is to be; each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Level {
    /// The engine lists it with a digest.
    OnDisk,
    /// It is in memory.
    Loaded,
    /// It has produced a token.
    Warm,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    let (dry_run, cancel) = (args.dry_run, args.cancel_on_disconnect);
    let request = EnsureReadyRequest {
        backend: cx.backend(),
        model: args.model.unwrap_or_default(),
        path: args
            .path
            .as_deref()
            .map(import::server_path)
            .transpose()?
            .unwrap_or_default(),
        import_options: args.import.options()?,
        level: match args.level {
            None => v1::Level::Unspecified,
            Some(Level::OnDisk) => v1::Level::OnDisk,
            Some(Level::Loaded) => v1::Level::Loaded,
            Some(Level::Warm) => v1::Level::Warm,
        }
        .into(),
        load_options: args.stay.load_options(),
        keep_alive: args.stay.keep_alive(),
        pin: args.stay.pin,
        digest: args.digest.unwrap_or_default(),
        insecure: args.insecure,
        dry_run,
        on_disconnect: on_disconnect(cancel),
    };
    let mut client = cx.model_control().await?;
    let on_leave = if dry_run { OnLeave::Nothing } else { on_leave(cancel) };
    let told = if dry_run { told_plan } else { told_ready };
    tell(cx, client.ensure_ready(Request::new(request)), on_leave, told).await
}

pub(super) fn on_disconnect(cancel: bool) -> i32 {
    let what = if cancel {
        OnDisconnect::Cancel
    } else {
        OnDisconnect::Keep
    };
    what.into()
}

pub(super) fn on_leave(cancel: bool) -> OnLeave {
    if cancel {
        OnLeave::CancelledIfLast
    } else {
        OnLeave::GoesOn
    }
}

/// `tiny:latest on embedded (on-disk, 1.2 GB, sha256:0123456789ab)`.
pub(super) fn told_model(model: Option<&Model>) -> String {
    let Some(model) = model else {
        return "the model".to_owned();
    };
    format!(
        "{} on {} ({}, {}, sha256:{})",
        text::printable(&model.name),
        text::printable(&model.backend),
        level_word(model.level),
        text::size(model.size_bytes),
        text::short_digest(&model.digest)
    )
}

pub(super) fn told_ready(result: &EnsureReadyResult) -> String {
    let how = if result.changed {
        "is ready now"
    } else {
        "was ready already"
    };
    format!("{} {how}", told_model(result.model.as_ref()))
}

fn told_plan(result: &EnsureReadyResult) -> String {
    let plan = result.plan.clone().unwrap_or_default();
    if plan.steps.is_empty() {
        return format!("{} is ready, nothing is to be done", told_model(result.model.as_ref()));
    }
    let mut lines = vec!["this would be done:".to_owned()];
    for (number, step) in (1..).zip(&plan.steps) {
        lines.push(format!("  {number}. {}", told_step(step)));
    }
    if let Some(bytes) = plan.download_bytes {
        lines.push(format!("to download: {}", text::size(bytes)));
    }
    if let Some(bytes) = plan.disk_bytes {
        lines.push(format!("on disk: {}", text::size(bytes)));
    }
    lines.join("\n")
}

fn told_step(step: &plan::Step) -> String {
    use plan::step::Step;
    match &step.step {
        Some(Step::Pull(pull)) => format!("pull {}", text::printable(&pull.source)),
        Some(Step::Create(create)) => format!("create it from {}", text::printable(&create.file_name)),
        Some(Step::Verify(verify)) if verify.digest.is_empty() => "see that the backend lists it".to_owned(),
        Some(Step::Verify(verify)) => format!("see that the backend lists it with {}", text::printable(&verify.digest)),
        Some(Step::Load(load)) => format!("load it ({})", level_word(load.level)),
        None => "a step that this version does not know".to_owned(),
    }
}
