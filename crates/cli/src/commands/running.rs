//! A running router with its API, and how both go on with another configuration.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use metlog_router::{
    clock::SystemClock,
    config,
    latch::Latch,
    open_files,
    topology::{self, Configuration, End, NotReopened, Topology},
};

use super::reload::in_words;
use crate::api::{Bound, Observed, Orders, Plan, Ready, Server, pipeline::Pipeline, reload::Reloaded};

/// How long files may take to be opened anew.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What `metlog run` runs.
pub struct Running {
    /// What a reload reads: fixed at the start.
    file: PathBuf,
    topology: Topology,
    observed: Arc<Observed>,
    orders: Orders,
    /// The address that was asked for, and who serves there.
    api: Option<(SocketAddr, Server)>,
}

impl Running {
    /// Starts the router and its API. Requests to the API may give `orders`.
    pub fn start(
        file: &Path,
        mut configuration: Configuration,
        orders: Orders,
        ended: impl Fn(End) + Send + Sync + 'static,
    ) -> anyhow::Result<Running> {
        open_files::fit_limits(&mut configuration);
        let bound = configuration.api.as_ref().map(|api| Bound::bind(api, None)).transpose()?;
        let listen = configuration.api.as_ref().map(|api| api.listen);
        let plan = Plan::of(&configuration);
        let topology = Topology::start(configuration, Arc::new(SystemClock::new()), ended)?;
        for listening in topology.listening() {
            tracing::info!(input = %listening.input, kind = %listening.kind, address = %listening.address, "listening");
        }
        let observed = Arc::new(Observed::new(&topology, plan));
        let mut running = Running { file: file.to_owned(), topology, observed, orders, api: None };
        if let (Some(listen), Some(bound)) = (listen, bound) {
            let ready = bound.on(&running.topology)?;
            running.serve(listen, ready);
        }
        Ok(running)
    }

    /// Goes on with what the file says now, and says in the log what came of it. What cannot be used changes nothing.
    pub fn reload(&mut self) -> Reloaded {
        let outcome = self.try_reload();
        match &outcome.error {
            Some(error) => {
                tracing::error!(
                    "the configuration cannot be used, and nothing has changed:\n{}",
                    error.trim_end()
                );
            }
            None => {
                if !outcome.warnings.is_empty() {
                    tracing::warn!("the configuration can be used, but:\n{}", outcome.warnings.trim_end());
                }
                let next_start = (!outcome.next_start.is_empty()).then(|| outcome.next_start.join(", "));
                tracing::info!(
                    inputs = in_words(&outcome.inputs),
                    endpoints = in_words(&outcome.endpoints),
                    routes = outcome.routes,
                    next_start,
                    "reloaded"
                );
            }
        }
        outcome
    }

    fn try_reload(&mut self) -> Reloaded {
        let (configuration, diagnostics) = topology::load_file(&self.file);
        let said = diagnostics.render(false);
        let Some(mut configuration) = configuration else { return Reloaded::refused(said) };
        let api = configuration.api.clone();
        let plan = Plan::of(&configuration);
        // Taken before anything else changes: then it is the only thing to give back.
        let ready = match &api {
            Some(settings) if self.api.as_ref().is_none_or(|(listen, _)| *listen != settings.listen) => {
                let before = self.api.as_ref().map(|(_, server)| server);
                match Bound::bind(settings, before).and_then(|bound| bound.on(&self.topology)) {
                    Ok(ready) => Some(ready),
                    Err(error) => return Reloaded::refused(format!("error: {error:#}")),
                }
            }
            _ => None,
        };
        open_files::fit_limits(&mut configuration);
        let before = self.topology.listening().to_vec();
        let report = match self.topology.reload(configuration) {
            Ok(report) => report,
            Err(error) => return Reloaded::refused(format!("error: {error}")),
        };
        self.observed.follow(plan);
        for listening in self.topology.listening().iter().filter(|listening| !before.contains(listening)) {
            tracing::info!(input = %listening.input, kind = %listening.kind, address = %listening.address, "listening");
        }
        self.go_on_serving(api.as_ref(), ready);
        Reloaded::done(report, said)
    }

    fn go_on_serving(&mut self, settings: Option<&config::Api>, ready: Option<Ready>) {
        let Some(settings) = settings else {
            if let Some((_, server)) = self.api.take() {
                server.close();
                tracing::info!("no api any more");
            }
            return;
        };
        match ready {
            None => {
                if let Some((_, server)) = &self.api {
                    server.set_token(settings);
                }
            }
            Some(ready) => {
                let before = self.api.take();
                self.serve(settings.listen, ready);
                if let Some((_, server)) = before {
                    server.close();
                }
            }
        }
    }

    fn serve(&mut self, listen: SocketAddr, ready: Ready) {
        let address = ready.address();
        let server = ready.serve(self.observed.clone(), self.orders.clone());
        tracing::info!(%address, "listening api");
        self.api = Some((listen, server));
    }

    /// Opens files anew, says in the log what came of it, and returns what did not work.
    pub fn reopen(&self) -> Vec<NotReopened> {
        let problems = self.topology.reopen(REOPEN_TIMEOUT);
        for NotReopened { endpoint, error } in &problems {
            tracing::warn!(endpoint, "files not opened anew: {error}");
        }
        if problems.is_empty() {
            tracing::info!("files opened anew");
        }
        problems
    }

    /// The router as its views see it.
    pub fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Whether any input is left; a reload may have brought one since the last of those before it ended.
    pub fn has_inputs(&self) -> bool {
        self.topology.has_inputs()
    }

    /// A latch that opens when every thread on which messages arrive has said that it works.
    pub fn feel_pulse(&self) -> Arc<Latch> {
        self.topology.feel_pulse()
    }

    /// How long [`Running::stop`] may take.
    pub fn shutdown_timeout(&self) -> Duration {
        self.topology.shutdown_timeout()
    }

    /// What the router does at the moment.
    pub fn pipeline(&self) -> Pipeline {
        self.observed.pipeline()
    }

    /// How long [`Running::stop`] tries to deliver what is buffered.
    pub fn drain_timeout(&self) -> Duration {
        self.topology.drain_timeout()
    }

    /// Stops the router, and returns its last state.
    pub fn stop(self) -> Pipeline {
        self.observed.stopping();
        self.topology.stop();
        Pipeline::read(&self.observed)
    }
}
