//! `metlog completions`: what a shell needs to complete commands and options.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use super::print;

/// Print the completions for a shell
///
/// Where they go, for a user:
///
///   metlog completions bash > ~/.local/share/bash-completion/completions/metlog
///
///   metlog completions zsh > ~/.zfunc/_metlog            # with ~/.zfunc in $fpath
///
///   metlog completions fish > ~/.config/fish/completions/metlog.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints them.
pub fn run(arguments: Arguments, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "metlog", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}
