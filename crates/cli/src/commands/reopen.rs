//! `metlog reopen`: what logrotate's `postrotate` calls.

use std::process::ExitCode;

use crate::{
    api::reopen::Reopened,
    api_client::{ApiArguments, ApiClient},
};

/// Have a running router open its log files anew, after they were renamed
///
/// Returns when every endpoint has opened its files anew and what it wrote before is in the old ones: from then on the old
/// files can be compressed or removed. Exit status 1, with the endpoints' names, if some have not within five seconds.
///
/// In a file for logrotate:
///
///   postrotate
///       metlog reopen --config /etc/metlog/metlog.toml
///   endscript
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    api: ApiArguments,
}

/// Exit status 0 when all files are open anew.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = ApiClient::new(&arguments.api)?;
    let answer = client.post("/api/v1/reopen")?;
    let outcome: Reopened = answer.json()?;
    for problem in &outcome.not_reopened {
        eprintln!("endpoint `{}`: {}", problem.endpoint, problem.error);
    }
    if !outcome.reopened {
        return Ok(ExitCode::FAILURE);
    }
    println!("files opened anew");
    Ok(ExitCode::SUCCESS)
}
