//! How operations look.

use std::time::SystemTime;

use crate::{
    cli::{
        errors::Fault,
        progress,
        table::{facts, render},
        text::{age, enum_word, printable},
    },
    grpc::proto::v1::{
        Operation,
        operation::{Kind, Outcome, State},
    },
};

pub(super) fn table(operations: &[Operation], now: SystemTime) -> String {
    render(
        &["ID", "KIND", "MODEL", "BACKEND", "STATE", "PROGRESS", "STARTED"],
        operations.iter().map(|operation| {
            vec![
                operation.operation_id.clone(),
                kind(operation),
                operation.name.clone(),
                operation.backend.clone(),
                state(operation),
                at(operation),
                age(operation.create_time.as_ref(), now),
            ]
        }),
    )
}

pub(super) fn one(operation: &Operation, now: SystemTime) -> String {
    let phases = operation
        .progress
        .iter()
        .flat_map(|p| &p.phases)
        .map(|record| record.phase.as_str());
    let failure = match &operation.outcome {
        Some(Outcome::Failure(failure)) => Fault::from_failure(failure).brief(),
        _ => String::new(),
    };
    facts([
        ("id", operation.operation_id.clone()),
        ("kind", kind(operation)),
        ("model", operation.name.clone()),
        ("backend", operation.backend.clone()),
        ("state", state(operation)),
        ("progress", at(operation)),
        ("phases", phases.collect::<Vec<_>>().join(", ")),
        ("followers", operation.subscriber_count.to_string()),
        ("started", age(operation.create_time.as_ref(), now)),
        ("ended", age(operation.end_time.as_ref(), now)),
        ("failure", failure),
        ("goes on", operation.continues.clone()),
    ])
}

/// What a cancel came to.
pub(super) fn cancelled(operation: &Operation) -> String {
    let id = printable(&operation.operation_id);
    match State::try_from(operation.state) {
        Ok(State::Cancelled) => format!("operation {id} is cancelled"),
        Ok(State::Queued | State::Running) => format!("operation {id} is being cancelled"),
        _ => format!("operation {id} had ended already: {}", state(operation)),
    }
}

/// Where a running operation is; nothing of an ended one.
fn at(operation: &Operation) -> String {
    match (&operation.progress, &operation.outcome) {
        (Some(progress), None) => {
            let parts = [progress::phase_name(progress).to_owned(), progress::bytes(progress)];
            parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        }
        _ => String::new(),
    }
}

fn kind(operation: &Operation) -> String {
    Kind::try_from(operation.kind).map_or_else(
        |_| operation.kind.to_string(),
        |kind| enum_word(kind.as_str_name(), "KIND_"),
    )
}

fn state(operation: &Operation) -> String {
    State::try_from(operation.state).map_or_else(
        |_| operation.state.to_string(),
        |state| enum_word(state.as_str_name(), "STATE_"),
    )
}
