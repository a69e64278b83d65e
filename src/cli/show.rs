//! `show`: all about one model.

use super::{
    Context,
    exit::Stop,
    list::level_word,
    table::{facts, render},
    text::{printable, short_digest, size},
};
use crate::grpc::proto::v1::{ShowRequest, ShowResponse};

/// Lines of a text that are shown; JSON has them all.
const MAX_LINES: usize = 12;

/// What `show` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model, like `llama3`
    model: String,

    /// Tensors and whole arrays too
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let request = cx.request(ShowRequest {
        backend: cx.backend(),
        model: args.model,
        verbose: args.verbose,
    });
    let answer = cx.answer(client.show(request)).await?;
    cx.console.result("ichat.modelcontrol.v1.ShowResponse", &answer, told)
}

fn told(shown: &ShowResponse) -> String {
    let model = shown.model.clone().unwrap_or_default();
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut parts = vec![facts([
        ("name", model.name.clone()),
        ("backend", model.backend.clone()),
        ("digest", short_digest(&model.digest).into_owned()),
        ("size", size(model.size_bytes)),
        ("level", level_word(model.level)),
        ("format", model.format.clone()),
        ("family", model.family.clone()),
        ("parameters", model.parameter_size.clone()),
        ("quantization", model.quantization_level.clone()),
        ("context length", number(model.context_length)),
        ("embedding length", number(model.embedding_length)),
    ])];
    for (title, text) in [("system", &shown.system), ("template", &shown.template)] {
        if !text.is_empty() {
            parts.push(format!("{title}:\n{}", excerpt(text)));
        }
    }
    if let Some(parameters) = &shown.parameters {
        let lines = parameters
            .fields
            .iter()
            .map(|(key, value)| format!("  {} {}", printable(key), plain(value)));
        parts.push(format!("engine parameters:\n{}", lines.collect::<Vec<_>>().join("\n")));
    }
    for license in &shown.license {
        parts.push(format!("licence:\n{}", excerpt(license)));
    }
    if !shown.tensors.is_empty() {
        let rows = shown.tensors.iter().map(|tensor| {
            let shape: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
            vec![tensor.name.clone(), tensor.r#type.clone(), shape.join(" x ")]
        });
        parts.push(render(&["TENSOR", "TYPE", "SHAPE"], rows));
    }
    if !shown.omitted.is_empty() {
        parts.push(format!(
            "left out for their size: {}",
            printable(&shown.omitted.join(", "))
        ));
    }
    parts.join("\n\n")
}

fn excerpt(text: &str) -> String {
    let mut lines: Vec<_> = text
        .lines()
        .take(MAX_LINES)
        .map(|line| format!("  {}", printable(line)))
        .collect();
    let more = text.lines().count().saturating_sub(MAX_LINES);
    if more > 0 {
        lines.push(format!("  … and {more} more lines"));
    }
    lines.join("\n")
}

fn plain(value: &prost_types::Value) -> String {
    use prost_types::value::Kind;
    match &value.kind {
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::StringValue(text)) => printable(text).into_owned(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::ListValue(list)) => list.values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(Kind::StructValue(_)) => "{…}".to_owned(),
        Some(Kind::NullValue(_)) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::v1::{Model, Tensor};

    #[test]
    fn a_model_is_told_in_parts() {
        let shown = ShowResponse {
            model: Some(Model {
                name: "m:latest".to_owned(),
                context_length: Some(512),
                ..Model::default()
            }),
            system: "Be brief.\u{1b}[2J".to_owned(),
            license: vec!["l\n".repeat(20)],
            tensors: vec![Tensor {
                name: "t".to_owned(),
                r#type: "F16".to_owned(),
                shape: vec![2, 3],
            }],
            omitted: vec!["tokenizer.ggml.tokens".to_owned()],
            ..ShowResponse::default()
        };
        let text = told(&shown);
        for part in [
            "context length:",
            "512",
            "Be brief.",
            "2 x 3",
            "and 8 more lines",
            "tokenizer.ggml.tokens",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
