//! What the journal costs: operations a second through the table with and without it, and a start with many entries.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/service.rs"]
mod service;
mod support;

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::{StreamExt as _, stream};
use model_control::{
    backend::scripted::Scripted,
    engines::{Engine, EngineId},
    manager::{Intent, Label, ModelOperations, OperationKind, Outcome, work::Content},
    model::{Digest, Event, KeepAlive, Level, LoadOptions, ModelInfo, ModelName, Phase, Plan, Snapshot, Step},
    operation::{End, Limits, OnDisconnect, Order},
};
use serde_json::json;

use self::{
    service::Home,
    support::{Samples, row, setting},
};

fn main() {
    support::run("journal: what outlives a restart", bench());
}

async fn bench() {
    let count = usize::try_from(setting("OPERATIONS", 20_000)).unwrap();
    let engine = Engine::new("bench", Scripted::new()).id;
    let (mut without, mut with, mut one) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..setting("ROUNDS", 5) {
        without.push(rate(&ModelOperations::new(limits()), &engine, count, 64).await);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (operations, opening) = ModelOperations::recorded(limits(), folder.path());
        operations.restore(opening).await;
        with.push(rate(&operations, &engine, count, 64).await);
        one.push(rate(&operations, &engine, count / 10, 1).await);
        operations.close_journal().await;
    }
    row(
        "operations a second without a journal, 64 at a time",
        without.of(""),
        "",
    );
    row(
        "operations a second with one, 64 at a time",
        with.of(""),
        "at least 5000",
    );
    row("operations a second with one, one after the other", one.of(""), "");

    let home = Home::new();
    let state = home.path("state");
    let (operations, opening) = ModelOperations::recorded(limits(), &state);
    operations.restore(opening).await;
    rate(&operations, &engine, 10_000, 64).await;
    operations.close_journal().await;
    let size = fs::metadata(state.join("operations.journal")).unwrap().len();
    row("the journal of 10 000 ended operations", support::mib(size), "");
    let mut read = Samples::default();
    for _ in 0..20 {
        let start = Instant::now();
        let (operations, opening) = ModelOperations::recorded(limits(), &state);
        operations.restore(opening).await;
        read.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(operations.list(None, 20_000, |_| true).len(), 10_000);
        operations.close_journal().await;
    }
    row("to open it and know them all", read.of("ms"), "at most 50 ms");

    let program = support::program();
    let (mut full, mut empty) = (Samples::default(), Samples::default());
    let fresh = Home::new();
    for _ in 0..setting("STARTS", 20) {
        for (samples, home) in [(&mut full, &home), (&mut empty, &fresh)] {
            let mut command = home.command(&program);
            command.arg("--keep-operations=10000");
            let start = Instant::now();
            let service = service::Service::start(command);
            samples.push(start.elapsed().as_secs_f64() * 1e3);
            service.kill();
        }
    }
    row("start to listening with them", full.of("ms"), "");
    row("start to listening with none", empty.of("ms"), "");
}

fn limits() -> Limits {
    Limits {
        running: 64,
        ended: 10_000,
        ended_for: Duration::from_hours(1),
    }
}

/// So many operations, each like a pull that finds its layers there, to their ends: how many a second.
async fn rate(operations: &ModelOperations, engine: &EngineId, count: usize, at_a_time: usize) -> f64 {
    let start = Instant::now();
    let work = stream::iter(0..count).map(|number| {
        let operations = operations.clone();
        let order = order(engine, number);
        tokio::spawn(async move {
            let job = |reporter: model_control::operation::Reporter<_>| async move {
                reporter.running();
                for event in events() {
                    reporter.report(|snapshot: Snapshot| snapshot.fold(event, Duration::from_millis(5)));
                }
                End::Done(outcome())
            };
            let mut following = operations.join_or_start(order, job).await.unwrap();
            let ended = following.status().wait_for(|status| status.ended.is_some()).await;
            assert!(ended.unwrap().ended.as_ref().unwrap().result.is_ok());
        })
    });
    work.buffer_unordered(at_a_time)
        .for_each(|done| async { done.unwrap() })
        .await;
    count as f64 / start.elapsed().as_secs_f64()
}

fn order(engine: &EngineId, number: usize) -> Order<model_control::manager::work::ModelWork> {
    let name: ModelName = format!("registry.example.org/team/model-{number}:q8_0")
        .parse()
        .unwrap();
    let intent = intent();
    let Intent::Bring { target, .. } = &intent else {
        panic!("a pull brings a model")
    };
    Order {
        key: (engine.clone(), name.clone()),
        held: Vec::new(),
        label: Label {
            kind: OperationKind::Pull,
            backend: "ollama-backend".to_owned(),
            name,
        },
        content: Content::Registry {
            digest: None,
            insecure: false,
            target: Arc::clone(target),
        },
        intent,
        on_disconnect: OnDisconnect::Keep,
        first: Snapshot::new(SystemTime::now()),
    }
}

/// As the journal has it of a pull: what is wanted of the model is nobody's to make but callers'.
fn intent() -> Intent {
    let target = json!({
        "level": Level::default(), "options": LoadOptions::default(), "keep_alive": KeepAlive::default(), "pin": false,
    });
    let pull = json!({
        "Bring": {"source": {"Registry": {"insecure": false}}, "digest": null, "target": target},
    });
    serde_json::from_value(pull).unwrap()
}

fn events() -> [Event; 6] {
    let plan = plan();
    [
        Event::Entered(Phase::Resolving),
        Event::Planned(plan),
        Event::Entered(Phase::Downloading(Vec::new())),
        Event::Entered(Phase::Verifying),
        Event::Entered(Phase::Writing),
        Event::Entered(Phase::Verifying),
    ]
}

fn plan() -> Plan {
    let pull = Step::Pull {
        source: "registry.example.org".to_owned(),
    };
    Plan {
        steps: vec![pull, Step::Verify { digest: None }],
        ..Plan::default()
    }
}

fn outcome() -> Outcome {
    let model = ModelInfo {
        name: "registry.example.org/team/model:q8_0".parse().unwrap(),
        digest: Digest::of(b"model"),
        size_bytes: 4_000_000_000,
        modify_time: SystemTime::now(),
        format: "gguf".to_owned(),
        family: "llama".to_owned(),
        families: vec!["llama".to_owned()],
        parameter_count: Some(8_000_000_000),
        parameter_size: "8.0B".to_owned(),
        quantization_level: "Q8_0".to_owned(),
        context_length: Some(131_072),
        embedding_length: Some(4096),
        capabilities: Vec::new(),
    };
    Outcome {
        model: Some(model),
        plan: plan(),
        changed: true,
        ..Outcome::default()
    }
}
