//! The evidence that a model answers: its first token, or an embedding.

use std::time::{Duration, Instant, SystemTime};

use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::http::{self, Remote};
use crate::{
    backend::{Error, Kind},
    model::Canary,
};

const QUESTION: &str = "Hello";
/// Bytes of the first event of a stream, and of the text that is kept.
const MAX_EVENT: usize = 64 << 10;
const MAX_TEXT: usize = 64;

/// Asks the way that works for the model.
pub(super) async fn ask(engine: &Remote, completes: bool, bound: Duration) -> Result<Canary, Error> {
    let (check_time, start) = (SystemTime::now(), Instant::now());
    let work = async {
        if completes {
            token(engine).await
        } else {
            embedding(engine).await.map(|()| String::new())
        }
    };
    let text = timeout(bound, work).await.unwrap_or_else(|_| {
        let what = if completes { "token" } else { "embedding" };
        let text = format!("the engine produced no {what} within {} s", bound.as_secs_f32());
        Err(Error::new(Kind::Stalled, text))
    })?;
    Ok(Canary {
        check_time,
        time_to_first_token: start.elapsed(),
        text,
        timeout: bound,
    })
}

async fn token(engine: &Remote) -> Result<String, Error> {
    let body = json!({
        "prompt": QUESTION, "max_tokens": 1, "temperature": 0, "stream": true, "cache_prompt": false,
    });
    let mut answer = engine.post("/v1/completions", &body).await?;
    let event = first(&mut answer).await?;
    let Some(choice) = event["choices"].get(0) else {
        return Err(Error::new(Kind::Protocol, "the engine's first event holds no token"));
    };
    let text = choice["text"].as_str().unwrap_or_default();
    Ok(text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect())
}

/// The first event of a stream.
async fn first(answer: &mut Response) -> Result<Value, Error> {
    let mut seen = Vec::new();
    while seen.len() < MAX_EVENT {
        let Some(chunk) = answer.chunk().await.map_err(http::silent)? else {
            break;
        };
        seen.extend_from_slice(&chunk);
        let complete = seen.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        let data = seen[..complete]
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(b"data:"));
        if let Some(data) = data {
            return http::json(data);
        }
    }
    Err(Error::new(
        Kind::Protocol,
        "the engine's stream ended before its first event",
    ))
}

async fn embedding(engine: &Remote) -> Result<(), Error> {
    let answer = engine.post("/v1/embeddings", &json!({ "input": QUESTION })).await?;
    let answer = http::json(&http::whole(answer).await?)?;
    let numbers = answer["data"][0]["embedding"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if numbers.is_empty() || !numbers.iter().all(Value::is_number) {
        return Err(Error::new(Kind::Protocol, "the engine's answer holds no embedding"));
    }
    Ok(())
}
