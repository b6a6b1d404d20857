//! `metlog man`: the manual pages, made from the same descriptions as `--help`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Command;

use super::print;

/// Print the manual page, or write one for each command
///
/// Examples:
///
///   metlog man | man -l -
///
///   metlog man --dir /usr/local/share/man/man1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Write metlog.1, metlog-run.1 and so on into this folder, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes them.
pub fn run(arguments: Arguments, command: Command) -> anyhow::Result<ExitCode> {
    match arguments.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).context("make the page")?;
            print(&page)?;
        }
        Some(folder) => {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            clap_mangen::generate_to(command, &folder)
                .with_context(|| format!("cannot write into {}", folder.display()))?;
            println!("manual pages written into {}", folder.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
