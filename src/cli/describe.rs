//! `describe`: what the server is, and how its backends are.

use std::time::SystemTime;

use super::{
    Context,
    errors::Fault,
    exit::Stop,
    list::level_word,
    table::render,
    text::{age, enum_word, printable, short_digest},
};
use crate::grpc::proto::v1::{
    Backend, BackendCapability, DescribeRequest, DescribeResponse, DesiredModel, Failure, backend,
};

/// What `describe` takes: nothing of its own.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) async fn run(_args: Args, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let request = cx.request(DescribeRequest { backend: cx.backend() });
    let described = cx.answer(client.describe(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.DescribeResponse", &described, |described| {
            told(described, SystemTime::now())
        })
}

fn told(described: &DescribeResponse, now: SystemTime) -> String {
    let mut parts = vec![format!(
        "model-control {} (build {}), started {}",
        printable(&described.version),
        printable(&described.build),
        age(described.start_time.as_ref(), now)
    )];
    if let Some(configuration) = &described.configuration {
        let mut text = format!(
            "configuration sha256:{}, loaded {}",
            short_digest(&configuration.digest),
            age(configuration.load_time.as_ref(), now)
        );
        if let Some(failure) = &configuration.last_failure {
            let when = age(configuration.last_failure_time.as_ref(), now);
            text = format!("{text}\n  a reload was refused {when}: {}", brief(failure));
        }
        parts.push(text);
    }
    parts.push(String::new());
    parts.push(render(
        &["BACKEND", "FRAMEWORK", "STATE", "ENDPOINT", "VERSION", "SEEN", "CAN"],
        described.backends.iter().map(|backend| row(backend, now)),
    ));
    if described.backends.iter().any(|backend| !backend.desired.is_empty()) {
        parts.push(String::new());
        parts.push(render(
            &[
                "MODEL",
                "BACKEND",
                "WANTED",
                "REACHED",
                "DIGEST",
                "OPERATION",
                "NEXT TRY",
            ],
            described
                .backends
                .iter()
                .flat_map(|b| b.desired.iter().map(|d| desired_row(b, d, now))),
        ));
    }
    let problems: Vec<String> = described.backends.iter().flat_map(problems).collect();
    if !problems.is_empty() {
        parts.push(String::new());
        parts.extend(problems);
    }
    parts.join("\n")
}

fn row(backend: &Backend, now: SystemTime) -> Vec<String> {
    let state = backend::State::try_from(backend.state).map_or_else(
        |_| backend.state.to_string(),
        |state| enum_word(state.as_str_name(), "STATE_"),
    );
    let can = backend.capabilities.iter().map(|capability| {
        BackendCapability::try_from(*capability).map_or_else(
            |_| capability.to_string(),
            |known| enum_word(known.as_str_name(), "BACKEND_CAPABILITY_"),
        )
    });
    vec![
        backend.name.clone(),
        backend.framework.clone(),
        state,
        backend.endpoint.clone(),
        backend.version.clone(),
        age(backend.last_seen_time.as_ref(), now),
        can.collect::<Vec<_>>().join(","),
    ]
}

fn desired_row(backend: &Backend, desired: &DesiredModel, now: SystemTime) -> Vec<String> {
    let reached = level_word(desired.reached_level);
    vec![
        desired.name.clone(),
        backend.name.clone(),
        level_word(desired.level),
        if reached.is_empty() { "-".to_owned() } else { reached },
        short_digest(&desired.current_digest).into_owned(),
        desired.operation_id.clone(),
        age(desired.next_attempt_time.as_ref(), now),
    ]
}

fn problems(backend: &Backend) -> Vec<String> {
    let own = backend
        .failure
        .iter()
        .map(|failure| format!("backend {}: {}", printable(&backend.name), brief(failure)));
    let models = backend.desired.iter().filter_map(|desired| {
        let failure = desired.failure.as_ref()?;
        let (backend, model) = (printable(&backend.name), printable(&desired.name));
        Some(format!("model {model} on {backend}: {}", brief(failure)))
    });
    own.chain(models).collect()
}

fn brief(failure: &Failure) -> String {
    Fault::from_failure(failure).brief()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_their_models_and_their_troubles_are_told() {
        let failure = Failure {
            code: 14,
            reason: "BACKEND_UNREACHABLE".to_owned(),
            message: "http://127.0.0.1:11434 does not answer".to_owned(),
            ..Failure::default()
        };
        let described = DescribeResponse {
            version: "0.1.0".to_owned(),
            build: "unknown".to_owned(),
            backends: vec![Backend {
                name: "ollama-backend".to_owned(),
                framework: "ollama".to_owned(),
                state: backend::State::Unreachable.into(),
                capabilities: vec![
                    BackendCapability::Pull.into(),
                    BackendCapability::ListRunning.into(),
                    99,
                ],
                failure: Some(failure),
                desired: vec![DesiredModel {
                    name: "llama3:latest".to_owned(),
                    level: 1,
                    ..DesiredModel::default()
                }],
                ..Backend::default()
            }],
            ..DescribeResponse::default()
        };
        let text = told(&described, SystemTime::now());
        for part in [
            "model-control 0.1.0 (build unknown)",
            "ollama-backend  ollama     unreachable",
            "pull,list-running,99",
            "llama3:latest  ollama-backend  on-disk  -",
            "backend ollama-backend: http://127.0.0.1:11434 does not answer (BACKEND_UNREACHABLE)",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
