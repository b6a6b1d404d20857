//! The `metlog` binary: one command per file in `commands`, wired together here.

mod api;
mod api_client;
mod commands;
mod demo;
mod live;
mod logging;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole system at work, with nothing else installed
    Demo(commands::demo::Arguments),
    /// Run the router
    Run(commands::run::Arguments),
    /// Validate a configuration and show every problem in it
    Check(commands::check::Arguments),
    /// Show the health and the ledger of a running router, once
    Status(commands::status::Arguments),
    /// Show live messages of a running router
    Tap(commands::tap::Arguments),
    /// Show rates, buffers and losses of a running router, live
    Top(commands::top::Arguments),
    /// Have a running router open its log files anew, after they were renamed
    Reopen(commands::reopen::Arguments),
    /// Send a message, or many from standard input
    Send(commands::send::Arguments),
    /// Put load on a router and report what became of it
    Bench(commands::bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Check(arguments) => commands::check::run(arguments),
        Command::Status(arguments) => commands::status::run(arguments),
        Command::Tap(arguments) => commands::tap::run(arguments),
        Command::Top(arguments) => commands::top::run(arguments),
        Command::Reopen(arguments) => commands::reopen::run(arguments),
        Command::Send(arguments) => commands::send::run(arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
