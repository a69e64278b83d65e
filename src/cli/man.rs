//! `man`: the manual pages, for packagers. Hidden: nobody at a terminal wants them from here.

use std::{fs, path::PathBuf};

use super::{Context, exit::Stop};

/// What `man` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the pages of the program and of each of its words; it is made when it is missing. Without it: the
    /// program's page to standard output
    #[arg(long, value_name = "FOLDER")]
    out_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context, whole: clap::Command) -> Result<(), Stop> {
    let Some(folder) = &args.out_dir else {
        // Into memory first: a closed pipe must not be an error of the generator.
        let mut page = Vec::new();
        clap_mangen::Man::new(whole).render(&mut page).map_err(Stop::Output)?;
        return cx.console.line(String::from_utf8_lossy(&page).trim_end());
    };
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(whole, folder))
        .map_err(Stop::Output)
}
