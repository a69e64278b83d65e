//! `list`: the models that the engines have.

use std::time::SystemTime;

use super::{
    Context,
    errors::Fault,
    exit::Stop,
    table::render,
    text::{age, enum_word, printable, short_digest, size},
};
use crate::grpc::proto::v1::{Level, ListRequest, ListResponse, Model, UnreachableBackend};

/// The most that a server gives at once.
const PAGE: i32 = 1000;

/// Pages that are followed: 100 000 models. A server that has more to say does not mean to end.
pub(super) const MAX_PAGES: usize = 100;

/// What `list` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `name`, `modify_time` or `size_bytes`; with ` desc` the other way round
    #[arg(long, value_name = "ORDER")]
    order_by: Option<String>,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let mut whole = ListResponse::default();
    let mut page_token = String::new();
    for _page in 0..MAX_PAGES {
        let request = cx.request(ListRequest {
            backend: cx.backend(),
            page_size: PAGE,
            page_token,
            order_by: args.order_by.clone().unwrap_or_default(),
        });
        let page = cx.answer(client.list(request)).await?;
        whole.models.extend(page.models);
        // Each page tells them again; the last one knows best.
        whole.unreachable = page.unreachable;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            cx.console
                .result("ichat.modelcontrol.v1.ListResponse", &whole, |whole| {
                    table(&whole.models, SystemTime::now())
                })?;
            note_unreachable(cx, &whole.unreachable);
            return Ok(());
        }
    }
    Err(Fault::protocol(format!("the list did not end within {MAX_PAGES} pages")).into())
}

pub(super) fn table(models: &[Model], now: SystemTime) -> String {
    let rows = models.iter().map(|model| {
        vec![
            model.name.clone(),
            model.backend.clone(),
            short_digest(&model.digest).into_owned(),
            size(model.size_bytes),
            model.parameter_size.clone(),
            model.quantization_level.clone(),
            level_word(model.level),
            age(model.modify_time.as_ref(), now),
        ]
    });
    render(
        &[
            "NAME",
            "BACKEND",
            "DIGEST",
            "SIZE",
            "PARAMETERS",
            "QUANTIZATION",
            "LEVEL",
            "MODIFIED",
        ],
        rows,
    )
}

/// A list without a backend's part is still a list; who reads it must know.
pub(super) fn note_unreachable(cx: &mut Context, unreachable: &[UnreachableBackend]) {
    for part in unreachable {
        let why = part
            .failure
            .as_ref()
            .map_or_else(String::new, |f| Fault::from_failure(f).brief());
        let backend = printable(&part.backend);
        cx.console
            .note(format_args!("warning: backend {backend} is missing here: {why}"));
    }
}

/// `on-disk`; empty when it is not told.
pub(super) fn level_word(level: i32) -> String {
    match Level::try_from(level) {
        Ok(Level::Unspecified) => String::new(),
        Ok(level) => enum_word(level.as_str_name(), "LEVEL_"),
        Err(_) => level.to_string(),
    }
}
