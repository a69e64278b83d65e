//! One suite for every engine: a list of black-box cases that speak gRPC to the real program, and files.
//!
//! Each case runs on each engine that can do what it needs: the embedded one, the scripted double of Ollama, a real Ollama.
//! It is named `engine::area::case`; the last line counts what ran, by engine. Without a real Ollama, or without a registry,
//! one line says what is left out and how to have it; where `CI` is set that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, clippy::wildcard_imports, reason = "the tests of the API use the rest")]
#[path = "api/calls.rs"]
mod calls;
#[path = "conformance/case.rs"]
mod case;
#[path = "conformance/create.rs"]
mod create;
#[path = "conformance/ensure.rs"]
mod ensure;
#[path = "conformance/faults.rs"]
mod faults;
#[path = "conformance/inference.rs"]
mod inference;
#[path = "conformance/kept.rs"]
mod kept;
#[path = "conformance/killed.rs"]
mod killed;
#[path = "conformance/leave.rs"]
mod leave;
#[path = "conformance/life.rs"]
mod life;
#[path = "conformance/list.rs"]
mod list;
#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[allow(dead_code, reason = "the tests of the adapter use the rest")]
#[path = "ollama_life/models.rs"]
mod models;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "support/ollama_double.rs"]
#[allow(
    unused_imports,
    reason = "the tests of the double and of the adapter's faults use the rest"
)]
mod ollama_double;
#[path = "support/openai.rs"]
mod openai;
#[path = "conformance/outage.rs"]
mod outage;
#[path = "support/processes.rs"]
mod processes;
#[path = "conformance/pull.rs"]
mod pull;
#[path = "conformance/push.rs"]
mod push;
#[path = "support/registry.rs"]
mod registry;
#[path = "conformance/road.rs"]
mod road;
#[path = "support/service.rs"]
mod service;
#[path = "support/soon.rs"]
mod soon;
#[path = "conformance/state.rs"]
mod state;
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
#[path = "api/support.rs"]
mod support;
#[path = "conformance/world.rs"]
mod world;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use libtest_mimic::{Arguments, Trial};

use self::{
    case::{Case, Need},
    registry::Registry,
    world::{Kind, Shared},
};

/// Cases that ran, by the engine's place in [`Kind::ALL`].
static RAN: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let shared = Arc::new(Shared {
        registry: runtime.block_on(async { Registry::start() }),
        split: llama::program("llama-gguf-split").is_some(),
        server: llama::program("llama-server"),
        python: openai::python(),
        hub: false,
        handle: runtime.handle().clone(),
    });
    let real = ollama::program().is_some();
    let cases: Vec<_> = [
        list::CASES,
        pull::CASES,
        leave::CASES,
        ensure::CASES,
        create::CASES,
        life::CASES,
        kept::CASES,
        push::CASES,
        inference::CASES,
        faults::CASES,
        killed::CASES,
        state::CASES,
        outage::CASES,
    ]
    .concat();
    let kinds = Kind::ALL.into_iter().filter(|kind| real || *kind != Kind::Ollama);
    let trials = kinds
        .flat_map(|kind| cases.iter().map(move |case| (kind, *case)))
        .filter(|(kind, case)| case.needs.iter().all(|need| kind.has(*need)))
        .map(|(kind, case)| trial(kind, case, &shared))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ran = |kind: Kind| RAN[kind as usize].load(Ordering::Relaxed);
    let told: Vec<_> = Kind::ALL
        .iter()
        .map(|&kind| format!("{} {}", kind.name(), ran(kind)))
        .collect();
    if !arguments.list {
        writeln!(io::stdout(), "conformance: cases run on {}", told.join(", ")).ok();
    }
    conclusion.exit_code()
}

fn trial(kind: Kind, case: Case, shared: &Arc<Shared>) -> Trial {
    let missing = case.needs.iter().any(|need| match need {
        Need::Registry => shared.registry.is_none(),
        Need::Split => !shared.split,
        Need::Load => kind == Kind::Embedded && shared.server.is_none(),
        Need::OpenAi => shared.python.is_none(),
        Need::Child | Need::Create | Need::Manage | Need::Push | Need::Outage | Need::Count => false,
    });
    let shared = Arc::clone(shared);
    let run = move || {
        RAN[kind as usize].fetch_add(1, Ordering::Relaxed);
        case.run_on(kind, shared);
        Ok(())
    };
    Trial::test(format!("{}::{}", kind.name(), case.name), run).with_ignored_flag(missing)
}
