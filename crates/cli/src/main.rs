//! The `metlog` binary: one command per file in `commands`, wired together here.

mod api;
mod api_client;
mod commands;
mod demo;
mod explain;
mod live;
mod logging;
mod logstash;
mod processes;
mod service_manager;

use std::process::ExitCode;

use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use metlog_router::config;

/// One call in an application, any destination behind it.
///
/// The router receives telemetry messages from applications, matches them, and delivers them to log files,
/// statsd and other endpoints. `metlog demo` shows the whole system at work with nothing else installed.
#[derive(Debug, Parser)]
#[command(name = "metlog", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// What a command is for is said by its arguments: a comment here would replace all of it.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Arguments),
    Run(commands::run::Arguments),
    Check(commands::check::Arguments),
    Config(commands::config::Arguments),
    Explain(commands::explain::Arguments),
    Test(commands::test::Arguments),
    Status(commands::status::Arguments),
    Tap(commands::tap::Arguments),
    Top(commands::top::Arguments),
    Reload(commands::reload::Arguments),
    Reopen(commands::reopen::Arguments),
    Send(commands::send::Arguments),
    Bench(commands::bench::Arguments),
    Completions(commands::completions::Arguments),
    Man(commands::man::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| suggesting(error).exit());
    let outcome = match arguments.command {
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Check(arguments) => commands::check::run(arguments),
        Command::Config(arguments) => commands::config::run(arguments),
        Command::Explain(arguments) => commands::explain::run(arguments),
        Command::Test(arguments) => commands::test::run(arguments),
        Command::Status(arguments) => commands::status::run(arguments),
        Command::Tap(arguments) => commands::tap::run(arguments),
        Command::Top(arguments) => commands::top::run(arguments),
        Command::Reload(arguments) => commands::reload::run(arguments),
        Command::Reopen(arguments) => commands::reopen::run(arguments),
        Command::Send(arguments) => commands::send::run(arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
        Command::Completions(arguments) => commands::completions::run(arguments, Arguments::command()),
        Command::Man(arguments) => commands::man::run(arguments, Arguments::command()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Names the command that was probably meant, as the configuration does with its keys. What the parser has for that does not see that
/// two letters changed places.
fn suggesting(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if error.kind() == ErrorKind::InvalidSubcommand && error.get(ContextKind::SuggestedSubcommand).is_none() {
        let commands = Arguments::command();
        let names = commands.get_subcommands().map(clap::Command::get_name);
        if let Some(meant) = config::nearest(written, names) {
            let meant = ContextValue::Strings(vec![meant.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, meant);
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_command_is_told_which_one_was_meant() {
        for (written, meant) in [("rnu", "run"), ("chekc", "check"), ("statsu", "status")] {
            let error = Arguments::try_parse_from(["metlog", written]).unwrap_err();
            let said = suggesting(error).to_string();
            assert!(said.contains(&format!("'{meant}'")), "{said}");
        }
        let error = Arguments::try_parse_from(["metlog", "frobnicate"]).unwrap_err();
        assert!(!suggesting(error).to_string().contains("similar"));
    }
}
