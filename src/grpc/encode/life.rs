//! Answers of the life cycle.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value};

use super::{duration, level, model, provenance, result_model, signed, timestamp};
use crate::{
    grpc::{proto::v1, status},
    manager::{Changed, Outcome, RunningModel, RunningModels, Shown},
    model::{Canary, LoadOptions, ModelName, Protocol, RunState},
};

/// Bytes of an answer to Show: clients take 4 MiB, and the frame and the model take some.
const MAX_SHOW: usize = 3 << 20;
/// Integers beyond this lose digits in JSON's numbers.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

pub(in crate::grpc) fn loaded(backend: &str, outcome: &Outcome) -> v1::LoadResult {
    v1::LoadResult {
        running: outcome.running.as_ref().map(|running| {
            self::running(&RunningModel {
                backend: backend.to_owned(),
                running: running.clone(),
                pinned: outcome.pinned,
                canary: outcome.canary.clone(),
                endpoint: running.endpoint.clone().unwrap_or_else(|| outcome.endpoint.clone()),
            })
        }),
        changed: outcome.changed,
    }
}

pub(in crate::grpc) fn pushed(outcome: &Outcome) -> v1::PushResult {
    v1::PushResult {
        digest: outcome.pushed.as_ref().map(ToString::to_string).unwrap_or_default(),
        changed: outcome.changed,
    }
}

pub(in crate::grpc) fn delete_result(outcome: &Outcome) -> v1::DeleteResult {
    v1::DeleteResult {
        freed_bytes: signed(outcome.freed_bytes),
    }
}

pub(in crate::grpc) fn copy_result(backend: &str, outcome: &Outcome) -> v1::CopyResult {
    v1::CopyResult {
        model: result_model(backend, outcome),
    }
}

pub(in crate::grpc) fn unload_result(outcome: &Outcome) -> v1::UnloadResult {
    v1::UnloadResult {
        freed_bytes: signed(outcome.freed_bytes),
        shared_with: names(&outcome.shared_with),
    }
}

pub(in crate::grpc) fn deleted(changed: &Changed) -> v1::DeleteResponse {
    v1::DeleteResponse {
        operation_id: changed.id.to_string(),
        result: Some(delete_result(&changed.outcome)),
    }
}

pub(in crate::grpc) fn copied(backend: &str, changed: &Changed) -> v1::CopyResponse {
    v1::CopyResponse {
        operation_id: changed.id.to_string(),
        result: Some(copy_result(backend, &changed.outcome)),
    }
}

pub(in crate::grpc) fn unloaded(changed: &Changed) -> v1::UnloadResponse {
    v1::UnloadResponse {
        operation_id: changed.id.to_string(),
        result: Some(unload_result(&changed.outcome)),
    }
}

pub(in crate::grpc) fn running_models(all: &RunningModels) -> v1::ListRunningResponse {
    let unreachable = all.unreachable.iter().map(|(backend, failure)| v1::UnreachableBackend {
        backend: backend.clone(),
        failure: Some(status::value(failure)),
    });
    v1::ListRunningResponse {
        running: all.running.iter().map(running).collect(),
        unreachable: unreachable.collect(),
    }
}

pub(in crate::grpc) fn running(model: &RunningModel) -> v1::RunningModel {
    let running = &model.running;
    let state = match running.state {
        RunState::Starting => v1::running_model::State::Starting,
        RunState::Loading => v1::running_model::State::Loading,
        RunState::Ready => v1::running_model::State::Ready,
        RunState::Draining => v1::running_model::State::Draining,
        RunState::Stuck => v1::running_model::State::Stuck,
    };
    v1::RunningModel {
        backend: model.backend.clone(),
        name: running.name.to_string(),
        canonical_name: running.name.canonical(),
        digest: running.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        size_bytes: signed(running.size_bytes),
        size_vram_bytes: signed(running.size_vram_bytes),
        context_length: running.context_length.map(signed).unwrap_or_default(),
        expire_time: running.expire_time.map(timestamp),
        pinned: model.pinned,
        endpoint: model.endpoint.clone(),
        protocols: protocols(&running.protocols),
        canary: model.canary.as_ref().map(canary),
        state: state.into(),
        load_options: running.options.as_ref().map(load_options),
        shared_with: names(&running.shared_with),
    }
}

pub(super) fn protocols(all: &[Protocol]) -> Vec<i32> {
    let one = |protocol: &Protocol| match protocol {
        Protocol::Ollama => v1::InferenceProtocol::Ollama.into(),
        Protocol::OpenAi => v1::InferenceProtocol::Openai.into(),
    };
    all.iter().map(one).collect()
}

/// The answer to Show, without what does not fit, which it names.
pub(in crate::grpc) fn shown(shown: Shown) -> v1::ShowResponse {
    let details = shown.details;
    let mut info = model(&shown.backend, &shown.info);
    info.level = level(shown.level).into();
    info.desired_level = level(shown.desired_level).into();
    info.running = shown.running.as_ref().map(running);
    let mut room = MAX_SHOW;
    let mut omitted = details.omitted;
    let mut fits = |what: &str, bytes: usize, omitted: &mut Vec<String>| {
        let fits = bytes <= room;
        if fits {
            room -= bytes;
        } else {
            omitted.push(what.to_owned());
        }
        fits
    };
    let text = |what: &str,
                text: String,
                omitted: &mut Vec<String>,
                fits: &mut dyn FnMut(&str, usize, &mut Vec<String>) -> bool| {
        if fits(what, text.len(), omitted) {
            text
        } else {
            String::new()
        }
    };
    let system = text("system", details.system, &mut omitted, &mut fits);
    let template = text("template", details.template, &mut omitted, &mut fits);
    let parameters = structure(details.parameters);
    let parameters = parameters.filter(|value| fits("parameters", prost::Message::encoded_len(value), &mut omitted));
    let mut license = details.license;
    if !fits("license", license.iter().map(String::len).sum(), &mut omitted) {
        license.clear();
    }
    let message = |message: crate::model::ChatMessage| v1::ChatMessage {
        role: message.role,
        content: message.content,
    };
    let mut messages: Vec<_> = details.messages.into_iter().map(message).collect();
    if !fits(
        "messages",
        messages.iter().map(prost::Message::encoded_len).sum(),
        &mut omitted,
    ) {
        messages.clear();
    }
    let mut metadata = BTreeMap::new();
    for (key, value) in details.metadata {
        let value = self::value(value);
        if fits(&key, key.len() + prost::Message::encoded_len(&value) + 8, &mut omitted) {
            metadata.insert(key, value);
        }
    }
    let tensor = |tensor: crate::model::TensorInfo| v1::Tensor {
        name: tensor.name,
        r#type: tensor.kind,
        shape: tensor.shape.into_iter().map(signed).collect(),
    };
    let mut tensors: Vec<_> = details.tensors.into_iter().map(tensor).collect();
    if !fits("tensors", tensors.iter().map(tensor_len).sum(), &mut omitted) {
        tensors.clear();
    }
    v1::ShowResponse {
        model: Some(info),
        license,
        system,
        template,
        parameters,
        messages,
        metadata: (!metadata.is_empty()).then_some(Struct { fields: metadata }),
        tensors,
        provenance: details.provenance.as_ref().map(provenance),
        omitted,
    }
}

fn tensor_len(tensor: &v1::Tensor) -> usize {
    prost::Message::encoded_len(tensor) + 4
}

fn canary(canary: &Canary) -> v1::Canary {
    v1::Canary {
        check_time: Some(timestamp(canary.check_time)),
        time_to_first_token: Some(duration(canary.time_to_first_token)),
        text: canary.text.clone(),
        timeout: Some(duration(canary.timeout)),
    }
}

fn load_options(options: &LoadOptions) -> v1::LoadOptions {
    v1::LoadOptions {
        context_length: options.context_length.map(i64::from),
        engine_options: structure(options.engine_options.clone()),
    }
}

fn names(names: &[ModelName]) -> Vec<String> {
    names.iter().map(ModelName::canonical).collect()
}

fn structure(map: Map<String, Value>) -> Option<Struct> {
    let fields: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, self::value(value))).collect();
    (!fields.is_empty()).then_some(Struct { fields })
}

fn value(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.abs() <= MAX_SAFE || !(number.is_i64() || number.is_u64()) => Kind::NumberValue(float),
            _ => Kind::StringValue(number.to_string()),
        },
        Value::String(text) => Kind::StringValue(text),
        Value::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(self::value).collect(),
        }),
        Value::Object(map) => Kind::StructValue(Struct {
            fields: map.into_iter().map(|(key, value)| (key, self::value(value))).collect(),
        }),
    };
    ProtoValue { kind: Some(kind) }
}
