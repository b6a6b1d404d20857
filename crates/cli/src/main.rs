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

use clap::{CommandFactory, Parser, Subcommand};

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
    let outcome = match Arguments::parse().command {
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
