//! The program: a server and its client in one binary.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use model_control::{app, cli};

/// Makes models present, verified, loaded and provably ready on LLM engines.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Program {
    #[command(flatten)]
    global: cli::Global,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "made once a process")]
enum Word {
    /// Run the service.
    Serve(Box<model_control::config::ServeArgs>),
    /// Check or print the configuration without starting.
    #[command(subcommand)]
    Config(app::ConfigWord),
    #[command(flatten)]
    Client(cli::Word),
}

fn main() -> ExitCode {
    if let Some(code) = app::engine_child(std::env::args_os()) {
        return code;
    }
    let program: Program = match cli::parse(std::env::args_os()) {
        Ok(program) => program,
        Err(code) => return code,
    };
    match program.word {
        Word::Serve(args) => app::serve(&args),
        Word::Config(word) => app::config(&word),
        Word::Client(word) => cli::run(word, program.global, Program::command),
    }
}
