//! `create`: makes a model from files of the server's machine.

use std::path::PathBuf;

use tonic::Request;

use super::{
    Context,
    ensure::{on_disconnect, on_leave, told_model},
    exit::Stop,
    follow::tell,
    import, text,
};
use crate::grpc::proto::v1::{CreateFromPathRequest, CreateFromPathResult};

/// What `create` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new model's name, like `tiny` or `me/tiny:v1`
    model: String,

    /// A GGUF file, the first part of a split one, or a folder, on the server's machine and below one of its model roots.
    /// A relative path is one of this machine's working folder: right only when the server runs here
    path: PathBuf,

    /// Replace a model of that name with other content
    #[arg(long)]
    replace: bool,

    /// Let the server cancel the work when this command is left, unless somebody else waits for it
    #[arg(long)]
    cancel_on_disconnect: bool,

    #[command(flatten)]
    import: import::ImportArgs,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    let request = CreateFromPathRequest {
        backend: cx.backend(),
        model: args.model,
        path: import::server_path(&args.path)?,
        import_options: args.import.options()?,
        replace: args.replace,
        on_disconnect: on_disconnect(args.cancel_on_disconnect),
    };
    let mut client = cx.model_control().await?;
    let on_leave = on_leave(args.cancel_on_disconnect);
    tell(cx, client.create_from_path(Request::new(request)), on_leave, told).await
}

pub(super) fn told(result: &CreateFromPathResult) -> String {
    let how = if result.changed {
        "is created"
    } else {
        "was there already with this content"
    };
    let mut lines = vec![format!("{} {how}", told_model(result.model.as_ref()))];
    let provenance = result.provenance.clone().unwrap_or_default();
    for source in &provenance.sources {
        lines.push(format!(
            "  from {} ({}, sha256:{})",
            text::printable(&source.file_name),
            text::size(source.size_bytes),
            text::short_digest(&source.digest)
        ));
    }
    if provenance.converted {
        lines.push("  converted".to_owned());
    }
    if provenance.quantized {
        lines.push("  quantized".to_owned());
    }
    lines.join("\n")
}
