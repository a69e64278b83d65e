//! From domain values to messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::{Duration as ProtoDuration, Timestamp};

use super::{proto::v1, status};
use crate::{
    manager::{
        ModelStatus, ModelView, OperationKind, Outcome,
        list::{Listed, ListedModel},
    },
    model::{Level, ModelCapability, ModelInfo, Plan, Provenance, Step},
};

mod backend;
mod life;
mod progress;

pub(super) use self::{
    backend::describe,
    life::{copied, deleted, loaded, pushed, running_models, shown, unloaded},
    progress::{progress, waiting},
};

pub(super) fn listed(listed: Listed) -> v1::ListResponse {
    v1::ListResponse {
        models: listed.models.iter().map(listed_model).collect(),
        next_page_token: listed.next_page_token,
        unreachable: listed
            .unreachable
            .into_iter()
            .map(|(backend, failure)| v1::UnreachableBackend {
                backend,
                failure: Some(status::value(&failure)),
            })
            .collect(),
    }
}

fn listed_model(listed: &ListedModel) -> v1::Model {
    let mut model = model(&listed.backend, &listed.info);
    model.level = level(listed.level).into();
    model.desired_level = level(listed.desired_level).into();
    model.running = listed.running.as_ref().map(life::running);
    if let Some((failure, next)) = &listed.trouble {
        model.failure = Some(status::value(failure));
        model.next_attempt_time = next.map(timestamp);
    }
    model
}

/// A model as an engine lists it, which is a model on disk.
pub(super) fn model(backend: &str, info: &ModelInfo) -> v1::Model {
    let (mut capabilities, mut other_capabilities) = (Vec::new(), Vec::new());
    for capability in &info.capabilities {
        match model_capability(capability) {
            Ok(known) => capabilities.push(known.into()),
            Err(other) => other_capabilities.push(other),
        }
    }
    v1::Model {
        backend: backend.to_owned(),
        name: info.name.to_string(),
        canonical_name: info.name.canonical(),
        digest: info.digest.to_string(),
        size_bytes: signed(info.size_bytes),
        modify_time: Some(timestamp(info.modify_time)),
        format: info.format.clone(),
        family: info.family.clone(),
        families: info.families.clone(),
        parameter_count: info.parameter_count.map(signed),
        parameter_size: info.parameter_size.clone(),
        quantization_level: info.quantization_level.clone(),
        context_length: info.context_length.map(signed),
        embedding_length: info.embedding_length.map(signed),
        capabilities,
        other_capabilities,
        level: v1::Level::OnDisk.into(),
        desired_level: v1::Level::OnDisk.into(),
        running: None,
        failure: None,
        next_attempt_time: None,
    }
}

fn model_capability(capability: &ModelCapability) -> Result<v1::ModelCapability, String> {
    Ok(match capability {
        ModelCapability::Completion => v1::ModelCapability::Completion,
        ModelCapability::Tools => v1::ModelCapability::Tools,
        ModelCapability::Insert => v1::ModelCapability::Insert,
        ModelCapability::Vision => v1::ModelCapability::Vision,
        ModelCapability::Embedding => v1::ModelCapability::Embedding,
        ModelCapability::Thinking => v1::ModelCapability::Thinking,
        ModelCapability::Image => v1::ModelCapability::Image,
        ModelCapability::Audio => v1::ModelCapability::Audio,
        ModelCapability::Other(word) => return Err(word.clone()),
    })
}

/// The model of a result, as it was left.
fn result_model(backend: &str, outcome: &Outcome) -> Option<v1::Model> {
    let mut model = model(backend, outcome.model.as_ref()?);
    let in_memory = if outcome.canary.is_some() {
        Level::Warm
    } else {
        Level::Loaded
    };
    if outcome.running.is_some() {
        model.level = level(in_memory).into();
        model.running = loaded(backend, outcome).running;
    }
    model.desired_level = level(outcome.desired_level).into();
    Some(model)
}

pub(super) fn ensured(backend: &str, outcome: &Outcome) -> v1::EnsureReadyResult {
    v1::EnsureReadyResult {
        model: result_model(backend, outcome),
        plan: Some(plan(&outcome.plan)),
        changed: outcome.changed,
    }
}

pub(super) fn pulled(backend: &str, outcome: &Outcome) -> v1::PullResult {
    v1::PullResult {
        model: result_model(backend, outcome),
        changed: outcome.changed,
    }
}

pub(super) fn created(backend: &str, outcome: &Outcome) -> v1::CreateFromPathResult {
    v1::CreateFromPathResult {
        model: result_model(backend, outcome),
        provenance: outcome.provenance.as_ref().map(provenance),
        changed: outcome.changed,
    }
}

pub(super) fn operation(view: &ModelView) -> v1::Operation {
    let status = &view.status;
    let label = &view.label;
    let kind = match label.kind {
        OperationKind::EnsureReady => v1::operation::Kind::EnsureReady,
        OperationKind::Pull => v1::operation::Kind::Pull,
        OperationKind::CreateFromPath => v1::operation::Kind::CreateFromPath,
        OperationKind::Push => v1::operation::Kind::Push,
        OperationKind::Load => v1::operation::Kind::Load,
        OperationKind::Delete => v1::operation::Kind::Delete,
        OperationKind::Copy => v1::operation::Kind::Copy,
        OperationKind::Unload => v1::operation::Kind::Unload,
    };
    let ended = status.ended.as_deref();
    let outcome = ended.map(|ended| match &ended.result {
        Err(failure) => v1::operation::Outcome::Failure(status::value(failure)),
        Ok(outcome) => match label.kind {
            OperationKind::EnsureReady => v1::operation::Outcome::EnsureReady(ensured(&label.backend, outcome)),
            OperationKind::Pull => v1::operation::Outcome::Pull(pulled(&label.backend, outcome)),
            OperationKind::CreateFromPath => v1::operation::Outcome::CreateFromPath(created(&label.backend, outcome)),
            OperationKind::Push => v1::operation::Outcome::Push(pushed(outcome)),
            OperationKind::Load => v1::operation::Outcome::Load(loaded(&label.backend, outcome)),
            OperationKind::Delete => v1::operation::Outcome::DeleteModel(life::delete_result(outcome)),
            OperationKind::Copy => v1::operation::Outcome::Copy(life::copy_result(&label.backend, outcome)),
            OperationKind::Unload => v1::operation::Outcome::Unload(life::unload_result(outcome)),
        },
    });
    v1::Operation {
        operation_id: view.id.to_string(),
        kind: kind.into(),
        backend: label.backend.clone(),
        name: label.name.to_string(),
        canonical_name: label.name.canonical(),
        state: state(status).into(),
        progress: Some(progress(view.id, &status.progress, false)),
        subscriber_count: i32::try_from(view.followers).unwrap_or(i32::MAX),
        create_time: Some(timestamp(view.create_time)),
        end_time: ended.map(|ended| timestamp(ended.time)),
        continues: ended.and_then(|ended| ended.continues.clone()).unwrap_or_default(),
        outcome,
    }
}

/// Where an operation is.
pub(super) fn state(status: &ModelStatus) -> v1::operation::State {
    match status.ended.as_deref() {
        None if status.running => v1::operation::State::Running,
        None => v1::operation::State::Queued,
        Some(ended) if ended.result.is_ok() => v1::operation::State::Succeeded,
        Some(ended) if ended.cancelled => v1::operation::State::Cancelled,
        Some(_) => v1::operation::State::Failed,
    }
}

fn plan(plan: &Plan) -> v1::Plan {
    use v1::plan::step::Step as Kind;
    let step = |step: &Step| {
        let kind = match step {
            Step::Pull { source } => Kind::Pull(v1::plan::PullStep { source: source.clone() }),
            Step::Create { file_name } => Kind::Create(v1::plan::CreateStep {
                file_name: file_name.clone(),
            }),
            Step::Verify { digest } => Kind::Verify(v1::plan::VerifyStep {
                digest: digest.as_ref().map(ToString::to_string).unwrap_or_default(),
            }),
            Step::Load { level } => Kind::Load(v1::plan::LoadStep {
                level: self::level(*level).into(),
            }),
        };
        v1::plan::Step { step: Some(kind) }
    };
    v1::Plan {
        steps: plan.steps.iter().map(step).collect(),
        download_bytes: plan.download_bytes.map(signed),
        disk_bytes: plan.disk_bytes.map(signed),
    }
}

fn provenance(provenance: &Provenance) -> v1::Provenance {
    let source = |source: &crate::model::SourceFile| v1::provenance::SourceFile {
        file_name: source.file_name.clone(),
        digest: source.digest.to_string(),
        size_bytes: signed(source.size_bytes),
    };
    v1::Provenance {
        sources: provenance.sources.iter().map(source).collect(),
        stored_digest: provenance.stored_digest.to_string(),
        create_time: Some(timestamp(provenance.create_time)),
        converted: provenance.converted,
        quantized: provenance.quantized,
    }
}

pub(super) fn level(level: Level) -> v1::Level {
    match level {
        Level::OnDisk => v1::Level::OnDisk,
        Level::Loaded => v1::Level::Loaded,
        Level::Warm => v1::Level::Warm,
    }
}

/// Times before 1970 and after the year 9999 do not occur; they would be cut, not wrapped.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: signed(since.as_secs()),
        nanos: since.subsec_nanos().cast_signed(),
    }
}

pub(super) fn duration(duration: Duration) -> ProtoDuration {
    ProtoDuration {
        seconds: signed(duration.as_secs()),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// The API counts in signed numbers; what does not fit is told as the most that does.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
