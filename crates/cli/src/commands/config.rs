//! `metlog config`: what there is to do with a configuration besides checking it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use metlog_router::{
    config::{Source, json_schema},
    endpoints, inputs,
};

use super::print;
use crate::{
    logging,
    logstash::{self, Choices},
};

/// Print the JSON Schema of the configuration, or turn another system's configuration into ours
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the JSON Schema of a configuration, for editors that complete and check
    ///
    /// Save it beside your configuration, and name it in the configuration's first line:
    ///
    ///   metlog config schema > metlog.schema.json
    ///
    ///   #:schema ./metlog.schema.json
    #[command(verbatim_doc_comment)]
    Schema,
    /// Turn a logstash-metlog configuration into one for this router
    ///
    /// The configuration goes to standard output, with comments that say where each part came from. What could not be
    /// turned, and what is not quite the same, is said on standard error with its file, line and column.
    ///
    /// Known are the inputs udp, tcp, stdin, zeromq and zeromq_hs, the filters tagger and catchall, and the outputs
    /// metlog_file, metlog_statsd, metlog_cef, metlog_sentry_dsn, metlog_sentry and stdout.
    ///
    /// Exit status 0 when everything was turned, 1 when something was left out or the file cannot be read.
    ///
    ///   metlog config from-logstash logstash.conf > metlog.toml
    ///
    ///   metlog check --config metlog.toml
    #[command(verbatim_doc_comment)]
    FromLogstash {
        /// The configuration of logstash
        file: PathBuf,
        /// A host that a message's own Sentry DSN may name (for metlog_sentry_dsn, which allowed any); may be given several times
        #[arg(long = "allow-host", value_name = "HOST")]
        allow_hosts: Vec<String>,
    },
}

/// Does what was asked for.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::Schema => {
            let schema = json_schema::document(inputs::registry::KINDS, endpoints::registry::KINDS);
            let mut text = serde_json::to_string_pretty(&schema)?;
            text.push('\n');
            print(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Action::FromLogstash { file, allow_hosts } => from_logstash(file, Choices { allow_hosts }),
    }
}

fn from_logstash(file: PathBuf, choices: Choices) -> anyhow::Result<ExitCode> {
    let source = match Source::read(&file) {
        Ok(source) => source,
        Err(error) => bail!("cannot read {}: {error}", file.display()),
    };
    let (configuration, diagnostics) = logstash::turn(&source, &choices);
    eprint!("{}", diagnostics.render(logging::takes_color()));
    if let Some(configuration) = configuration {
        print(configuration.as_bytes())?;
    }
    Ok(if diagnostics.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
