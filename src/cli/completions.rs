//! `completions`: a script that completes the program's words in a shell.

use clap_complete::Shell;

use super::{Context, exit::Stop};

/// What `completions` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args, cx: &mut Context, mut whole: clap::Command) -> Result<(), Stop> {
    let name = whole.get_name().to_owned();
    // Into memory first: a closed pipe must not be a panic of the generator.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut whole, name, &mut script);
    cx.console.line(String::from_utf8_lossy(&script).trim_end())
}
