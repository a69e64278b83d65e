//! The manual pages, into a folder: `cargo run --example man -- FOLDER`.
//!
//! Apart from the program, which would be larger by what nobody asks it at a terminal.

#![expect(clippy::print_stderr, reason = "a tool of the release")]

use std::{env, fs, process::ExitCode};

use clap::CommandFactory as _;

#[path = "../../src/main.rs"]
#[allow(dead_code)]
mod program;

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("give a folder");
        return ExitCode::FAILURE;
    };
    let made =
        fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(program::Program::command(), &folder));
    if let Err(error) = made {
        eprintln!("the pages cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
