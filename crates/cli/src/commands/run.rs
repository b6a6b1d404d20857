//! `metlog run`: the router, until a signal or the end of its inputs.

use std::{
    collections::BTreeMap,
    panic,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context;
use metlog_router::{
    config::diagnostics::Severity,
    topology::{self, Configuration, End},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    flag,
    iterator::Signals,
};

use super::{check, running::Running};
use crate::{
    api::{Order, Orders, pipeline::Pipeline},
    live::numbers::counted,
    logging::{self, LogFormat, REPORT},
    service_manager::{
        ServiceManager,
        heartbeat::{self, Question},
    },
};

/// Run the router
///
/// It runs until SIGTERM or SIGINT (it then takes what has arrived, delivers what it holds within `shutdown_timeout`, and says what
/// became of it), or until all its inputs have ended, as standard input does. Its own log goes to standard error. Under systemd
/// (`Type=notify`) it says when it is ready, reloading and stopping, and keeps the watchdog quiet while it works.
///
/// Exit status 0 after a stop, 1 when the configuration cannot be used or it was told twice to stop.
///
///   metlog run --config /etc/metlog/metlog.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// How the router's own log on standard error is written
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// What the router waits for while its threads do the work.
enum Event {
    Signal(i32),
    Ended(End),
    Order(Order),
    /// Somebody asks whether the router still works.
    FeelPulse(Question),
}

/// Exit status 0 after a signal, the end of all inputs or that of a reader of standard output, 1 when it could not start or was told twice to stop.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let _log = logging::start(arguments.log_format);
    end_at_a_panic();
    match arguments.log_format {
        LogFormat::Text => {
            let Some(configuration) = check::load(&arguments.config)? else { return Ok(ExitCode::FAILURE) };
            serve(&arguments.config, configuration)
        }
        // Whoever collects JSON gets nothing else: also what is said before the router runs, and why it does not.
        LogFormat::Json => {
            let Some(configuration) = load_and_log(&arguments.config) else { return Ok(ExitCode::FAILURE) };
            Ok(serve(&arguments.config, configuration).unwrap_or_else(|error| {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }))
        }
    }
}

/// Reads a configuration and logs each of its problems. `None` if it cannot be run.
fn load_and_log(path: &Path) -> Option<Configuration> {
    let (configuration, diagnostics) = topology::load_file(path);
    for problem in diagnostics.iter() {
        let at = diagnostics.place_of(problem);
        let (label, help) = (problem.label.as_deref(), problem.help.as_deref());
        match problem.severity {
            Severity::Error => tracing::error!(at, label, help, "{}", problem.message),
            Severity::Warning => tracing::warn!(at, label, help, "{}", problem.message),
        }
    }
    if configuration.is_none() {
        let errors = counted(diagnostics.errors() as u64, "error", "errors");
        tracing::error!("{} cannot be used: {errors}", path.display());
    }
    configuration
}

/// A thread that panics would leave a router that looks alive and delivers nothing. Whoever supervises it can start it anew;
/// nothing in the path of a message is meant to panic, so this is a bug and says so.
fn end_at_a_panic() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        tracing::error!(thread = thread.name(), "this is a bug in the router, which ends now: {panic}");
        process::exit(101);
    }));
}

fn serve(file: &Path, configuration: Configuration) -> anyhow::Result<ExitCode> {
    // Watched before anything is started: a signal that comes early must not end the process in the middle.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot watch signals")?;
    // A file that may not grow any more (RLIMIT_FSIZE) is an error of its endpoint; unwatched, the signal ends the process.
    flag::register(SIGXFSZ, Arc::default()).context("cannot watch signals")?;
    let (send, events) = mpsc::channel();
    let (ended, orders, questions) = (send.clone(), send.clone(), send.clone());
    let orders = Orders::new(move |order| orders.send(Event::Order(order)).is_ok());
    let mut running = Running::start(file, configuration, orders, move |end| {
        let _ = ended.send(Event::Ended(end));
    })?;
    let manager = Arc::new(ServiceManager::from_environment());
    manager.ready();
    let ask = move |question| questions.send(Event::FeelPulse(question)).is_ok();
    heartbeat::start(manager.clone(), running.observed().clone(), ask).context("cannot start a thread")?;
    thread::spawn(move || {
        let mut asked_to_stop = false;
        for signal in signals.forever() {
            if signal != SIGHUP && std::mem::replace(&mut asked_to_stop, true) {
                tracing::error!(
                    "told to stop for the second time: exiting at once, without what is buffered"
                );
                process::exit(1);
            }
            if send.send(Event::Signal(signal)).is_err() {
                break;
            }
        }
    });
    loop {
        match events.recv() {
            Ok(Event::Signal(SIGHUP)) => {
                // Log files were renamed, or the configuration was changed; a bad one must not keep the old files open.
                manager.reloading();
                running.reload();
                running.reopen();
                manager.ready();
            }
            Ok(Event::Order(Order::Reopen(reply))) => reply.send(running.reopen()),
            Ok(Event::Order(Order::Reload(reply))) => {
                manager.reloading();
                let outcome = running.reload();
                manager.ready();
                reply.send(outcome);
            }
            Ok(Event::FeelPulse(question)) => question.answer(running.feel_pulse()),
            Ok(Event::Signal(_)) => {
                tracing::info!("stopping: delivering what is buffered");
                waiting_for(&running.pipeline(), running.drain_timeout());
                break;
            }
            // While a reload was under way that brought another input; when that ends, there will be another event.
            Ok(Event::Ended(End::Inputs)) if running.has_inputs() => {}
            Ok(Event::Ended(End::Inputs)) => {
                tracing::info!("every input has ended");
                break;
            }
            Ok(Event::Ended(End::Endpoint)) => {
                tracing::info!("stopping: an endpoint is gone");
                break;
            }
            Err(_) => break,
        }
    }
    manager.stopping(running.shutdown_timeout());
    report(&running.stop());
    Ok(ExitCode::SUCCESS)
}

/// Says which endpoints will probably hold up the end, because what they hold does not go out.
fn waiting_for(pipeline: &Pipeline, longest: Duration) {
    for endpoint in pipeline.endpoints.iter().filter(|endpoint| endpoint.queued > 0) {
        let Some(failure) = &endpoint.failure else { continue };
        tracing::warn!(
            "waiting up to {longest:?} for `{}` ({}): {}; a second signal stops at once",
            endpoint.name,
            counted(endpoint.queued, "message", "messages"),
            failure.error
        );
    }
}

/// What the operator wants to know last: did everything arrive? Every number of both equations is there, for every component.
/// Those that a reload has removed are left out: what they lost was told when they lost it.
fn report(last: &Pipeline) {
    for input in last.inputs.iter().filter(|input| !input.removed) {
        tracing::info!(
            target: REPORT,
            input = input.name,
            received = input.received,
            routed = input.routed,
            unrouted = input.unrouted,
            blank = input.blank,
            rejected = by_reason(&input.rejected),
            timestamp_unreadable = (input.timestamp_unreadable > 0).then_some(input.timestamp_unreadable),
            "closed"
        );
    }
    for endpoint in last.endpoints.iter().filter(|endpoint| !endpoint.removed) {
        let (enqueued, delivered) = (endpoint.enqueued, endpoint.delivered);
        let refused = by_reason(&endpoint.refused);
        match by_reason(&endpoint.dropped) {
            None => tracing::info!(
                target: REPORT,
                endpoint = endpoint.name,
                enqueued,
                delivered,
                refused,
                "stopped"
            ),
            Some(dropped) => tracing::warn!(
                target: REPORT,
                endpoint = endpoint.name,
                enqueued,
                delivered,
                refused,
                dropped,
                "messages were dropped"
            ),
        }
    }
}

/// `shutdown=12, buffer-full=3`; `None` where nothing was counted.
fn by_reason(counts: &BTreeMap<String, u64>) -> Option<String> {
    let words: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
