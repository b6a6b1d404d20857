//! From one configuration to the next, while the router runs.
//!
//! First everything that can fail: routes are compiled, new and changed endpoints and inputs are opened. If one of them cannot
//! be, what was opened is closed again and the router has not noticed. Then the switch, in an order in which no message is
//! without a way to go: new endpoints begin; every reader thread routes by the new table from its next batch on; new inputs
//! are read before old ones are closed; and only when no thread routes to them any more, removed endpoints are told to leave.
//!
//! What a component's section says decides whether it changed, together with the global settings that it depends on.

use std::{sync::Arc, time::Duration};

use super::{
    Configuration, Listening, Settings, StartError, Topology,
    endpoint::{self, Candidate, RunningEndpoint},
    input::{self, RunningInput},
};
use crate::{
    config,
    inputs::{OpenedInput, sockets::Inherited},
    ledger::{EndpointCounters, InputCounters},
    pipeline::Outlets,
    reader::{Retired, Scope},
    rejects::Rejects,
    routes::table::{RouteSpec, RouteTable, TableError},
};

/// How long a reader thread may take to hear of a change. It looks between any two reads, which take milliseconds.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new input waits for the ones that an earlier reload closed.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadReport {
    /// What became of the inputs.
    pub inputs: Changes,
    /// What became of the endpoints.
    pub endpoints: Changes,
    /// How many routes there are now.
    pub routes: usize,
    /// Whether they are others than before.
    pub routes_changed: bool,
    /// Settings that the file changes but the running router does not: they take effect at the next start.
    pub next_start: Vec<&'static str>,
}

/// What became of components, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// They run on and have not noticed.
    pub kept: Vec<String>,
    /// They are what the new configuration says, under the name that they had.
    pub changed: Vec<String>,
    /// They are new.
    pub added: Vec<String>,
    /// They are not part of the configuration any more.
    pub removed: Vec<String>,
}

/// What is to become of a component of the new configuration. `position` is that of the running one.
enum Fate<O> {
    Keep {
        position: usize,
    },
    /// Its sockets, files and connections stay.
    Adjust {
        position: usize,
    },
    Replace {
        position: usize,
        opened: O,
    },
    Add {
        opened: O,
    },
}

impl<O> Fate<O> {
    fn file(&self, name: &str, changes: &mut Changes) {
        let names = match self {
            Fate::Keep { .. } => &mut changes.kept,
            Fate::Adjust { .. } | Fate::Replace { .. } => &mut changes.changed,
            Fate::Add { .. } => &mut changes.added,
        };
        names.push(name.to_owned());
    }
}

type PlannedEndpoint = (endpoint::Component, Fate<(Arc<EndpointCounters>, Candidate)>);
type PlannedInput = (input::Component, Fate<(Arc<InputCounters>, OpenedInput)>);

impl Topology {
    /// Goes on with this configuration. An error means that nothing has changed.
    pub fn reload(&mut self, configuration: Configuration) -> Result<ReloadReport, StartError> {
        self.apply(configuration)
    }

    pub(super) fn apply(&mut self, mut configuration: Configuration) -> Result<ReloadReport, StartError> {
        let table = compile(&configuration)?;
        let routes = std::mem::take(&mut configuration.routes);
        let settings = Settings { routes, ..Settings::of(&configuration) };
        let endpoint_names: Vec<String> =
            configuration.endpoints.iter().map(|component| component.name.clone()).collect();
        let endpoints = self.plan_endpoints(configuration.endpoints, settings.limits.open_files)?;
        let inputs = self.plan_inputs(configuration.inputs)?;

        let mut report = ReloadReport {
            routes: settings.routes.len(),
            routes_changed: self.settings.routes_differ(&settings, &self.endpoints, &endpoint_names),
            next_start: self.settings.for_next_start(&settings),
            ..ReloadReport::default()
        };
        let leaving = self.switch_endpoints(endpoints, &mut report.endpoints)?;
        let rejects_to = self
            .endpoints
            .iter()
            .filter(|endpoint| settings.rejects.to.contains(&endpoint.name))
            .map(|endpoint| endpoint.outlet.clone())
            .collect();
        let outlets = Arc::new(Outlets {
            table,
            outlets: self.endpoints.iter().map(|endpoint| endpoint.outlet.clone()).collect(),
            rejects: Rejects::new(rejects_to, settings.rejects.max_per_second),
            tap: self.tap.clone(),
        });
        let is_switched = self.readers.route_by(&outlets);
        self.input_ground.connections.set(settings.limits.connections);
        self.switch_inputs(inputs, &outlets, settings.shutdown_timeout / 2, &mut report.inputs);
        if !is_switched.wait(SWITCH_TIMEOUT) {
            tracing::error!(
                "a reader thread does not answer; what it still routes by the old table may be dropped"
            );
        }
        self.dismiss(leaving, settings.shutdown_timeout, &mut report.endpoints);
        self.settings.go_on_with(settings);
        self.publish();
        Ok(report)
    }

    fn plan_endpoints(
        &self,
        components: Vec<endpoint::Component>,
        open_files: usize,
    ) -> Result<Vec<PlannedEndpoint>, StartError> {
        let same_limits = open_files == self.settings.limits.open_files;
        let plan = |component: endpoint::Component| {
            let running =
                self.endpoints.iter().enumerate().find(|(_, running)| running.name == component.name);
            let open = |counters: Arc<EndpointCounters>| {
                let candidate = Candidate::open(&component, counters.clone(), &self.clock, open_files)?;
                Ok::<_, StartError>((counters, candidate))
            };
            let fate = match running {
                None => Fate::Add { opened: open(Arc::default())? },
                Some((position, running)) if !running.is_opened_as(&component) || !same_limits => {
                    Fate::Replace { position, opened: open(running.outlet.counters.clone())? }
                }
                Some((position, running)) if running.common != component.common => Fate::Adjust { position },
                Some((position, _)) => Fate::Keep { position },
            };
            Ok((component, fate))
        };
        components.into_iter().map(plan).collect()
    }

    fn plan_inputs(&self, components: Vec<input::Component>) -> Result<Vec<PlannedInput>, StartError> {
        let closing = self.inputs.iter().filter(|running| {
            !components
                .iter()
                .any(|component| component.name == running.name && running.is_opened_as(component))
        });
        let inherited = Inherited::new(closing.flat_map(|running| &running.sockets));
        let plan = |component: input::Component| {
            let running = self.inputs.iter().enumerate().find(|(_, running)| running.name == component.name);
            let open = |counters: Arc<InputCounters>| {
                self.wait_for_closing();
                let opened = self.input_ground.open(&component, counters.clone(), &inherited)?;
                Ok::<_, StartError>((counters, opened))
            };
            let fate = match running {
                None => Fate::Add { opened: open(Arc::default())? },
                Some((position, running)) if !running.is_opened_as(&component) => {
                    Fate::Replace { position, opened: open(running.counters.clone())? }
                }
                Some((position, running)) if running.common != component.common => Fate::Adjust { position },
                Some((position, _)) => Fate::Keep { position },
            };
            Ok((component, fate))
        };
        components.into_iter().map(plan).collect()
    }

    /// What an earlier reload closed has its address until a reader thread has come to it. Connections may take longer to
    /// end, but they have no address of their own.
    fn wait_for_closing(&self) {
        let end = self.clock.monotonic() + CLOSE_TIMEOUT;
        for (_, retirement) in &self.retiring {
            retirement.wait_for_end(end.saturating_sub(self.clock.monotonic()));
        }
    }

    /// Puts the endpoints of the new configuration in place, and returns those that are not part of it. The only error is
    /// that a new one gets no thread; nothing has changed then.
    fn switch_endpoints(
        &mut self,
        planned: Vec<PlannedEndpoint>,
        changes: &mut Changes,
    ) -> Result<Vec<RunningEndpoint>, StartError> {
        let mut started = Vec::new();
        let mut rest = Vec::new();
        let staying = |(_, fate): &PlannedEndpoint| match fate {
            Fate::Keep { position } | Fate::Adjust { position } => {
                self.endpoints.get(*position).and_then(|running| running.claimed.clone())
            }
            Fate::Replace { .. } | Fate::Add { .. } => None,
        };
        let staying: Vec<_> = planned.iter().filter_map(staying).collect();
        let ending = self.claims.ending(&staying);
        for (component, mut fate) in planned {
            fate.file(&component.name, changes);
            if let Fate::Add { opened: (_, candidate) } | Fate::Replace { opened: (_, candidate), .. } =
                &mut fate
            {
                candidate.take_turn(&component.name, &mut self.claims, &ending);
            }
            match fate {
                Fate::Add { opened: (counters, candidate) } => {
                    let start =
                        RunningEndpoint::start(&component, counters, candidate, &self.endpoint_ground);
                    match start {
                        Ok(endpoint) => started.push(endpoint),
                        Err(error) => {
                            // Without a deadline their end would be taken for the router's.
                            started
                                .iter()
                                .for_each(|endpoint: &RunningEndpoint| endpoint.leave(Duration::ZERO));
                            return Err(error.into());
                        }
                    }
                    rest.push(None);
                }
                Fate::Keep { position } => rest.push(Some((position, component, None))),
                Fate::Adjust { position } => rest.push(Some((position, component, None))),
                Fate::Replace { position, opened: (_, candidate) } => {
                    rest.push(Some((position, component, Some(candidate))));
                }
            }
        }
        let mut running: Vec<Option<RunningEndpoint>> =
            std::mem::take(&mut self.endpoints).into_iter().map(Some).collect();
        let mut started = started.into_iter();
        for place in rest {
            let endpoint = match place {
                None => started.next(),
                Some((position, component, candidate)) => {
                    running.get_mut(position).and_then(Option::take).map(|mut endpoint| {
                        endpoint.change(&component, candidate);
                        endpoint
                    })
                }
            };
            self.endpoints.extend(endpoint);
        }
        Ok(running.into_iter().flatten().collect())
    }

    /// Reads from the inputs of the new configuration, and closes the others by `reading_timeout` from now.
    fn switch_inputs(
        &mut self,
        planned: Vec<PlannedInput>,
        outlets: &Arc<Outlets>,
        reading_timeout: Duration,
        changes: &mut Changes,
    ) {
        self.readers.hold();
        let mut taken = self.taken_numbers();
        let mut running: Vec<Option<RunningInput>> =
            std::mem::take(&mut self.inputs).into_iter().map(Some).collect();
        let mut take = |position: usize| running.get_mut(position).and_then(Option::take);
        let mut closing = Vec::new();
        let mut successors = Vec::new();
        for (component, fate) in planned {
            fate.file(&component.name, changes);
            // Connections that go on are known by the number of the input that accepted them.
            let mut number = None;
            let (counters, opened) = match fate {
                Fate::Keep { position } => {
                    self.inputs.extend(take(position));
                    continue;
                }
                Fate::Adjust { position } => {
                    if let Some(mut input) = take(position) {
                        let (number, counters) = (input.number, &input.counters);
                        self.input_ground.serve(&self.readers, number, &component, counters, outlets);
                        input.common = component.common;
                        self.inputs.push(input);
                    }
                    continue;
                }
                Fate::Replace { position, opened } => {
                    let before = take(position);
                    let goes_on = before.as_ref().filter(|before| before.keeps_connections_as(&component));
                    number = goes_on.map(|before| before.number);
                    let scope = if number.is_some() { Scope::Sockets } else { Scope::Whole };
                    closing.extend(before.map(|before| (before, scope)));
                    opened
                }
                Fate::Add { opened } => opened,
            };
            let number = number.unwrap_or_else(|| {
                let free = (0..).find(|number| !taken.contains(number)).unwrap_or(taken.len());
                taken.push(free);
                free
            });
            let input = RunningInput::new(&component, number, counters, &opened);
            self.input_ground.serve(&self.readers, number, &component, &input.counters, outlets);
            self.inputs.push(input);
            successors.extend(opened.sources.into_iter().map(|source| (source, number)));
        }
        let removed: Vec<RunningInput> = running.into_iter().flatten().collect();
        changes.removed.extend(removed.iter().map(|input| input.name.clone()));
        closing.extend(removed.into_iter().map(|input| (input, Scope::Whole)));

        let in_use: Vec<u64> =
            self.inputs.iter().flat_map(|input| &input.sockets).map(|socket| socket.number()).collect();
        let before: Vec<u64> =
            closing.iter().flat_map(|(input, _)| &input.sockets).map(|socket| socket.number()).collect();
        // Those with a socket of their own begin before the others are closed; those that go on with another's, after.
        let (behind, fresh): (Vec<_>, Vec<_>) = successors.into_iter().partition(|(source, _)| {
            source.bound_socket().is_some_and(|socket| before.contains(&socket.number()))
        });
        fresh.into_iter().for_each(|(source, number)| self.readers.adopt(source, number));
        let deadline = self.clock.monotonic() + reading_timeout;
        for (input, scope) in closing {
            let sockets: Vec<u64> = input.sockets.iter().map(|socket| socket.number()).collect();
            let handed_over = sockets.iter().copied().filter(|number| in_use.contains(number)).collect();
            let retired = Retired { input: input.number, scope, sockets, handed_over, deadline };
            self.retiring.push((input.number, self.readers.retire(retired)));
        }
        if !behind.is_empty() {
            for (_, retirement) in &self.retiring {
                retirement.wait_for_release(SWITCH_TIMEOUT);
            }
        }
        behind.into_iter().for_each(|(source, number)| self.readers.adopt(source, number));
        self.readers.release();
    }

    /// The numbers of all inputs, open or closing.
    fn taken_numbers(&mut self) -> Vec<usize> {
        self.retiring.retain(|(_, retirement)| !retirement.has_ended());
        let closing = self.retiring.iter().map(|(number, _)| *number);
        self.inputs.iter().map(|input| input.number).chain(closing).collect()
    }

    /// Nothing is routed to these any more: they deliver what they hold, within `timeout`.
    fn dismiss(&mut self, leaving: Vec<RunningEndpoint>, timeout: Duration, changes: &mut Changes) {
        self.leaving.retain(|endpoint| !endpoint.has_ended());
        let deadline = self.clock.monotonic() + timeout;
        for endpoint in leaving {
            changes.removed.push(endpoint.name.clone());
            endpoint.leave(deadline);
            self.leaving.push(endpoint);
        }
    }

    /// Shows in the ledger what runs now.
    fn publish(&mut self) {
        let now = self.clock.monotonic();
        self.ledger.set_inputs(self.inputs.iter().map(RunningInput::account).collect(), now);
        self.ledger.set_endpoints(self.endpoints.iter().map(RunningEndpoint::account).collect(), now);
        self.listening = self
            .inputs
            .iter()
            .map(|input| Listening {
                input: input.name.clone(),
                kind: input.kind,
                address: input.address.clone(),
            })
            .collect();
    }
}

impl Settings {
    /// What cannot change while the router runs stays what it was.
    fn go_on_with(&mut self, new: Settings) {
        let limits = config::Limits {
            memory: self.limits.memory,
            message: self.limits.message,
            depth: self.limits.depth,
            ..new.limits
        };
        let (data_dir, threads) = (std::mem::take(&mut self.data_dir), self.threads);
        *self = Settings { limits, data_dir, threads, ..new };
    }

    /// Settings that `new` changes but that are read only at the start.
    fn for_next_start(&self, new: &Settings) -> Vec<&'static str> {
        [
            ("threads", self.threads != new.threads),
            ("data_dir", self.data_dir != new.data_dir),
            ("limits.memory", self.limits.memory != new.limits.memory),
            ("limits.message", self.limits.message != new.limits.message),
            ("limits.depth", self.limits.depth != new.limits.depth),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// Whether messages may go other ways than before. Routes name endpoints by position.
    fn routes_differ(&self, new: &Settings, before: &[RunningEndpoint], after: &[String]) -> bool {
        let name_before = |position: &usize| before.get(*position).map(|endpoint| endpoint.name.as_str());
        let name_after = |position: &usize| after.get(*position).map(String::as_str);
        self.routes.len() != new.routes.len()
            || self.routes.iter().zip(&new.routes).any(|(one, other)| {
                let plain = |route: &config::Route| (route.is_final, route.unrouted);
                plain(one) != plain(other)
                    || one.name != other.name
                    || one.condition != other.condition
                    || !one.to.iter().map(name_before).eq(other.to.iter().map(name_after))
            })
    }
}

/// The route table of a configuration.
pub(crate) fn compile(configuration: &Configuration) -> Result<RouteTable, TableError> {
    let specs = configuration
        .routes
        .iter()
        .map(|route| RouteSpec {
            condition: route.condition.clone(),
            to: route.to.clone(),
            is_final: route.is_final,
            unrouted: route.unrouted,
        })
        .collect();
    RouteTable::compile(specs, configuration.endpoints.len())
}
