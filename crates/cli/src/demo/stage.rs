//! Puts everything up, and takes it down in the right order.

use std::{
    env,
    ffi::OsString,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail};
use metlog_router::{
    clock::SystemClock,
    config::{self, Source},
    endpoints, inputs,
    topology::{Configuration, Topology},
};

use super::{
    folder::{self, Folder},
    sentry_server::SentryServer,
    service::Service,
    shop::Shop,
    snapshot::Snapshot,
    statsd_server::StatsdServer,
    syslog_server::SyslogServer,
};
use crate::api;

/// How long what was sent may take to be received and delivered once the shop is closed. Usually milliseconds.
const SETTLE: Duration = Duration::from_secs(5);

/// A demo that runs.
#[derive(Debug)]
pub struct Stage {
    topology: Topology,
    observed: Arc<api::Observed>,
    statsd: StatsdServer,
    syslog: SyslogServer,
    sentry: SentryServer,
    shop: Shop,
    service: Option<Service>,
    /// Where the router's API answers.
    pub api: SocketAddr,
    /// Where the router takes datagrams.
    pub udp: SocketAddr,
    begin: Instant,
}

impl Stage {
    /// Starts everything in `folder`, which becomes the working directory: the configuration's paths are relative. A
    /// `command` that is not empty is run as a service beside the shop.
    pub fn set_up(folder: &Folder, command: &[OsString]) -> anyhow::Result<Stage> {
        env::set_current_dir(folder.path()).context("cannot work in the demo's folder")?;
        let statsd = StatsdServer::start()?;
        let syslog = SyslogServer::start("syslog")?;
        let sentry = SentryServer::start("sentry")?;
        let configuration = configuration(statsd.address(), syslog.address(), sentry.address())?;
        let settings = configuration.api.as_ref().context("the demo's configuration has no API")?;
        let bound = api::Bound::bind(settings, None)?;
        let api = bound.address();
        let plan = api::Plan::of(&configuration);
        let topology = Topology::start(configuration, Arc::new(SystemClock::new()), |_| {})?;
        let observed = Arc::new(api::Observed::new(&topology, plan));
        bound.on(&topology)?.serve(observed.clone(), api::Orders::to_nobody());
        let udp = address(&topology, "udp")?;
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let tcp = address(&topology, "tcp")?;
        let service = match command.is_empty() {
            true => None,
            false => Some(Service::start(command, &format!("tcp://{tcp}"), &folder.service_log())?),
        };
        let shop = Shop::open(udp, tcp, seed.as_nanos() as u64)?;
        let begin = Instant::now();
        Ok(Stage { topology, observed, statsd, syslog, sentry, shop, service, api, udp, begin })
    }

    /// What flowed so far.
    pub fn look(&self, folder: &Folder) -> Snapshot {
        let sent = self.shop.sent();
        let service = self.service.as_ref().map(Service::said);
        let (statsd, syslog, sentry) = (self.statsd.received(), self.syslog.heard(), self.sentry.heard());
        let pipeline = self.observed.pipeline();
        let samples = pipeline
            .endpoints
            .iter()
            .map(|endpoint| match endpoint.kind.as_str() {
                "statsd" => statsd.last_line.clone(),
                "syslog" => syslog.last_text.clone(),
                "sentry" => sentry.last_event.clone(),
                _ => folder.files(files_of(&endpoint.name)).last().and_then(|file| folder::last_line(file)),
            })
            .collect();
        let seconds = self.begin.elapsed().as_secs_f64();
        Snapshot { sent, service, service_problem: None, pipeline, statsd, syslog, sentry, samples, seconds }
    }

    /// Closes the shop and the service beside it, waits until what it sent has arrived, and stops the router and its servers.
    pub fn take_down(self, folder: &Folder) -> Snapshot {
        let mut last = self.look(folder);
        last.sent = self.shop.close();
        if let Some(service) = self.service {
            let (said, problem) = service.stop();
            (last.service, last.service_problem) = (Some(said), problem);
        }
        let deadline = Instant::now() + SETTLE;
        while Instant::now() < deadline {
            last.pipeline = self.observed.pipeline();
            let delivered =
                last.pipeline.endpoints.iter().all(|endpoint| endpoint.balances && endpoint.queued == 0);
            if delivered && last.total_received() >= last.total_sent() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.observed.stopping();
        self.topology.stop();
        last.pipeline = self.observed.pipeline();
        last.statsd = self.statsd.stop();
        last.syslog = self.syslog.stop();
        last.sentry = self.sentry.stop();
        last
    }
}

/// The demo's configuration, on ports that the operating system chooses.
fn configuration(
    statsd: SocketAddr,
    syslog: SocketAddr,
    sentry: SocketAddr,
) -> anyhow::Result<Configuration> {
    let source = Source::new("metlog.toml", folder::CONFIGURATION);
    let variable = |name: &str| match name {
        "METLOG_LISTEN" | "METLOG_API" => Some("127.0.0.1:0".to_owned()),
        "METLOG_STATSD" => Some(statsd.to_string()),
        "METLOG_SYSLOG" => Some(syslog.to_string()),
        "SENTRY_DSN" => Some(format!("http://demo@{sentry}/1")),
        _ => None,
    };
    let (configuration, diagnostics) = config::load_with_environment(
        &source,
        inputs::registry::KINDS,
        endpoints::registry::KINDS,
        &variable,
    );
    match configuration {
        Some(configuration) => Ok(configuration),
        None => bail!("the demo's own configuration is wrong:\n{}", diagnostics.render(false)),
    }
}

fn address(topology: &Topology, input: &str) -> anyhow::Result<SocketAddr> {
    let listening = topology.listening().iter().find(|listening| listening.input == input);
    let listening = listening.with_context(|| format!("the demo's configuration has no input {input}"))?;
    listening.address.parse().with_context(|| format!("input {input}"))
}

/// Where an endpoint of the demo's configuration writes, seen from the folder.
pub fn files_of(endpoint: &str) -> &'static str {
    match endpoint {
        "app-log" => "logs",
        _ => "archive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_valid_as_it_is_in_the_folder() {
        let source = Source::new("metlog.toml", folder::CONFIGURATION);
        let (configuration, diagnostics) = config::load_with_environment(
            &source,
            inputs::registry::KINDS,
            endpoints::registry::KINDS,
            &|_| None,
        );
        let shown = diagnostics.render(false);
        assert!(shown.is_empty(), "{shown}");
        assert_eq!(configuration.unwrap().endpoints.len(), 5);
    }
}
