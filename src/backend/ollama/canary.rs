//! Asks a loaded model for a first token.
//!
//! With the options and the keep-alive that it was loaded with: others would load it anew. Without its template, so that a
//! template that says nothing to one word cannot hide that the model answers. A first token may have no text, and counts.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::{
    Shared,
    client::Client,
    error::{self, Doing},
    load::{self, Way},
    wire::life::{Ask, Embedded},
};
use crate::{
    backend::{Error, Kind, LoadSpec},
    model::Canary,
};

const WORD: &str = "Hello";
/// Characters of the answer that are kept.
const MAX_TEXT: usize = 64;

/// One question, answered within `limit`.
pub(super) async fn warm(shared: &Shared, spec: &LoadSpec, limit: Duration) -> Result<Canary, Error> {
    match timeout(limit, ask(shared, spec, limit)).await {
        Ok(answered) => answered,
        Err(_late) => {
            let message = format!("`{}` gave no answer within {} s", spec.name, limit.as_secs_f64());
            Err(Error::new(Kind::Stalled, message))
        }
    }
}

async fn ask(shared: &Shared, spec: &LoadSpec, limit: Duration) -> Result<Canary, Error> {
    let client = &shared.client;
    let model = load::listed(shared, spec).await?;
    let name = model.name.to_string();
    let check_time = SystemTime::now();
    let start = Instant::now();
    let canary = |text: String, took| Canary {
        check_time,
        time_to_first_token: took,
        text: text.chars().take(MAX_TEXT).collect(),
        timeout: limit,
    };
    if load::way(&model) == Way::Generate {
        match token(client, spec, &name, start).await {
            Ok((text, took)) => return Ok(canary(text, took)),
            Err(error) if error::is_embedding_only(&error) => {}
            Err(error) => return Err(error),
        }
    }
    embedding(client, spec, &name).await?;
    Ok(canary(String::new(), start.elapsed()))
}

/// The first token, and when it came.
async fn token(client: &Client, spec: &LoadSpec, name: &str, start: Instant) -> Result<(String, Duration), Error> {
    let mut ask = Ask {
        prompt: Some(WORD),
        raw: true,
        ..load::request(spec, name)
    };
    ask.options.insert("num_predict".to_owned(), 1.into());
    let mut stream = client.stream(Doing::Loading, "/api/generate", &ask).await?;
    let mut text = String::new();
    let mut first = None;
    while let Some(line) = stream.next().await? {
        if text.len() < MAX_TEXT {
            text.push_str(&line.response);
            text.push_str(&line.thinking);
        }
        if !text.is_empty() || line.eval_count > 0 {
            first.get_or_insert_with(|| start.elapsed());
        }
    }
    match first {
        Some(took) => Ok((text, took)),
        None => Err(Error::new(
            Kind::NotLoadable,
            format!("`{name}` is loaded and answers with no token"),
        )),
    }
}

async fn embedding(client: &Client, spec: &LoadSpec, name: &str) -> Result<(), Error> {
    let ask = Ask {
        input: Some(WORD),
        ..load::request(spec, name)
    };
    let embedded: Embedded = client.patient(Doing::Loading, "/api/embed", &ask).await?;
    if embedded.embeddings.iter().any(|embedding| !embedding.is_empty()) {
        return Ok(());
    }
    Err(Error::new(
        Kind::NotLoadable,
        format!("`{name}` is loaded and answers with no embedding"),
    ))
}
