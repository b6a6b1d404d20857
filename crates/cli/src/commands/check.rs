//! `metlog check`: validate a configuration, show every problem in it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use metlog_router::topology::{self, Configuration};

use crate::logging;

/// Validate a configuration and show every problem in it
///
/// Every problem is shown with its file, line and column, and what would be right; files that it includes are read too.
/// Nothing is opened and nothing is changed.
///
/// Exit status 0 when the configuration can be run (warnings included), 1 when it cannot.
///
///   metlog check --config metlog.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

/// Exit status 0 when the configuration can be run (warnings included), 1 when it cannot.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match load(&arguments.config)? {
        Some(configuration) => {
            println!(
                "{} is valid (inputs: {}, routes: {}, endpoints: {})",
                arguments.config.display(),
                configuration.inputs.len(),
                configuration.routes.len(),
                configuration.endpoints.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::FAILURE),
    }
}

/// Reads a configuration and shows all its problems on standard error. `None` if it cannot be run.
pub fn load(path: &Path) -> anyhow::Result<Option<Configuration>> {
    let (configuration, diagnostics) = topology::load_file(path);
    eprint!("{}", diagnostics.render(logging::takes_color()));
    if configuration.is_none() {
        let errors = diagnostics.errors();
        eprintln!(
            "{} cannot be used: {errors} {}",
            path.display(),
            if errors == 1 { "error" } else { "errors" }
        );
    }
    Ok(configuration)
}
