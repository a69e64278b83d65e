//! All about one model.
//!
//! | of Ollama's answer | is |
//! |---|---|
//! | `template` | told: the one that is used. A model with a template in its file uses that, whatever it was given besides |
//! | `parameters` | read back from its text |
//! | `model_info` | told; without `verbose` Ollama leaves arrays out, and only that they are there is told |
//! | `tensors` | told with `verbose` |
//! | `modelfile` | left out: it has paths of Ollama's machine, and the rest says all else |

use serde_json::{Map, Value, json};

use super::{
    Shared,
    error::Doing,
    list,
    wire::life::{ShowRequest, Shown},
};
use crate::{
    backend::{Error, Kind},
    model::{ChatMessage, Details, ModelInfo, ModelName, Provenance, TensorInfo},
};

mod parameters;

/// Elements of an array that are told without `verbose`.
const MAX_ARRAY: usize = 64;
/// Larger integers lose digits where JSON's numbers are doubles.
const MAX_INTEGER: u64 = 1 << 53;

/// What Ollama tells.
pub(super) async fn run(shared: &Shared, name: &ModelName, verbose: bool) -> Result<Option<Details>, Error> {
    let client = &shared.client;
    let Some(model) = list::find(shared, name).await? else {
        return Ok(None);
    };
    // It would tell of the model with the tag `latest`.
    super::not_reserved(name, "show")?;
    let text = model.name.to_string();
    let ask = ShowRequest { model: &text, verbose };
    let mut answer = client.post(Doing::Managing, "/api/show", &ask).await;
    if matches!(&answer, Err(error) if error.kind == Kind::FileInvalid) {
        // A copy onto the name writes its manifest where the old one lies: for a moment it is broken, and listed nowhere.
        if list::find(shared, name).await?.is_none() {
            return Ok(None);
        }
        answer = client.post(Doing::Managing, "/api/show", &ask).await;
    }
    let shown: Shown = match answer {
        Ok(shown) => shown,
        Err(error) if error.kind == Kind::NotFound => {
            if list::find(shared, name).await?.is_none() {
                return Ok(None);
            }
            let message =
                format!("Ollama lists `{text}` and cannot show it: a file of it is missing, pull or make it again");
            return Err(Error::new(Kind::FileInvalid, message).because(error));
        }
        Err(error) => return Err(error),
    };
    Ok(Some(Details {
        provenance: provenance(shared, &model),
        ..details(shown, verbose)
    }))
}

fn details(shown: Shown, verbose: bool) -> Details {
    let tensor = |tensor: super::wire::life::Tensor| TensorInfo {
        name: tensor.name,
        kind: tensor.kind,
        shape: tensor.shape,
    };
    let message = |said: super::wire::life::Said| ChatMessage {
        role: said.role,
        content: said.content,
    };
    let tensors = if verbose { shown.tensors } else { Vec::new() };
    Details {
        license: Some(shown.license)
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect(),
        system: shown.system,
        template: shown.template,
        parameters: parameters::read(&shown.parameters),
        messages: shown.messages.into_iter().map(message).collect(),
        metadata: metadata(shown.model_info, verbose),
        tensors: tensors.into_iter().map(tensor).collect(),
        provenance: None,
        omitted: Vec::new(),
    }
}

fn metadata(info: Map<String, Value>, verbose: bool) -> Map<String, Value> {
    let told = |value| match value {
        Value::Null => json!({"type": "array"}),
        Value::Array(all) if !verbose && all.len() > MAX_ARRAY => {
            json!({"type": kind(all.first()), "length": all.len()})
        }
        value => exact(value),
    };
    info.into_iter().map(|(key, value)| (key, told(value))).collect()
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        Some(Value::String(_)) => "string",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(number)) if number.is_f64() => "float",
        Some(Value::Number(_)) => "integer",
        Some(Value::Array(_)) => "array",
        _ => "unknown",
    }
}

/// Integers that JSON would round are text.
fn exact(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let large = number.as_u64().is_some_and(|n| n > MAX_INTEGER)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() > MAX_INTEGER);
            if large {
                Value::String(number.to_string())
            } else {
                Value::Number(number)
            }
        }
        Value::Array(all) => Value::Array(all.into_iter().map(exact).collect()),
        value => value,
    }
}

/// What is remembered of the model's making, if it is what was made.
fn provenance(shared: &Shared, model: &ModelInfo) -> Option<Provenance> {
    let made = shared.memory.made(shared.client.url(), &model.name)?;
    made.provenance.filter(|_| made.manifest == model.digest)
}

#[cfg(test)]
mod tests;
