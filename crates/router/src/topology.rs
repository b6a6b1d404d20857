//! What is connected to what: builds the router from a configuration, starts it, stops it.
//!
//! Inputs, decoders, routes and endpoints do not know each other; they are joined here, and only here.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    path::Path,
    sync::{Arc, mpsc},
    task::{Wake, Waker},
    thread,
    time::Duration,
};

use metlog_buffer::Buffer;
use metlog_message::{Decoder, Limits as MessageLimits};

use crate::{
    checkpoints::Checkpoints,
    clock::Clock,
    config::{self, DecoderSettings},
    control::{Control, ReopenError},
    decoders::{FrameDecoder, line::LineDecoder},
    endpoints::{self, EndpointContext, EndpointSettings, Opened},
    inputs::{self, ConnectionLimit, InputContext, InputSettings, OpenedInput, parked::ParkedMemory},
    ledger::{EndpointAccount, EndpointCounters, InputCounters, Ledger},
    network::NetworkRuntime,
    pipeline::{Outlet, Outlets, Pipeline},
    reader::Readers,
    rejects::Rejects,
    routes::table::{RouteSpec, RouteTable, TableError},
    runner::{Runner, abandon, drive_blocking, drive_network},
    slab_pool::SlabPool,
    tap::Tap,
    unfinished::UnfinishedLines,
    watch::watch,
};

/// A configuration of this router's kinds.
pub type Configuration = config::Configuration<dyn InputSettings, dyn EndpointSettings>;

/// Reads a configuration of this router's kinds, and what it includes.
pub fn load_file(path: &Path) -> (Option<Configuration>, config::Diagnostics) {
    config::load_file(path, inputs::registry::KINDS, endpoints::registry::KINDS)
}

/// As [`load_file`], from a text in memory.
pub fn load(source: &config::Source) -> (Option<Configuration>, config::Diagnostics) {
    config::load(source, inputs::registry::KINDS, endpoints::registry::KINDS)
}

/// Spare slabs that are kept for the next batches.
const SPARE_SLAB_BYTES: usize = 32 * 1024 * 1024;

/// Unfinished lines share this part of `[limits] memory`, and parked batches as much again; buffers get the rest.
const INPUT_PART: usize = 8;

/// How long a thread that ignores the deadline is waited for: it hangs in a system call.
const GRACE: Duration = Duration::from_secs(1);

/// Why there is nothing left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every input has ended by itself, as standard input does.
    Inputs,
    /// An endpoint's other side has gone for good, as who reads standard output does.
    Endpoint,
}

/// A running router.
#[derive(Debug)]
pub struct Topology {
    clock: Arc<dyn Clock>,
    ledger: Arc<Ledger>,
    tap: Arc<Tap>,
    listening: Vec<Listening>,
    endpoints: Vec<RunningEndpoint>,
    readers: Readers,
    network: NetworkRuntime,
    finished: mpsc::Receiver<usize>,
    checkpoints: Checkpoints,
    shutdown_timeout: Duration,
}

/// Where an input listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The input's name.
    pub input: String,
    /// Its kind.
    pub kind: &'static str,
    /// An address or a path.
    pub address: String,
}

/// An endpoint whose files are not open anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint `{endpoint}`: {error}")]
pub struct NotReopened {
    /// The endpoint's name.
    pub endpoint: String,
    /// Why not.
    pub error: ReopenError,
}

#[derive(Debug)]
struct RunningEndpoint {
    name: String,
    outlet: Outlet,
    control: Arc<Control>,
}

/// Why a router could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An input cannot be opened.
    #[error(transparent)]
    Input(#[from] inputs::OpenError),
    /// An endpoint cannot be opened.
    #[error(transparent)]
    Endpoint(#[from] endpoints::OpenError),
    /// The routes cannot be compiled.
    #[error(transparent)]
    Routes(#[from] TableError),
    /// The operating system gave no thread or no event queue.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

impl Topology {
    /// Builds and starts everything: endpoints first, so that whatever an input reads has somewhere to go.
    /// `ended` is called when there is nothing left to do; who owns the router then stops it.
    pub fn start(
        configuration: Configuration,
        clock: Arc<dyn Clock>,
        ended: impl Fn(End) + Send + Sync + 'static,
    ) -> Result<Topology, StartError> {
        let table = RouteTable::compile(
            configuration
                .routes
                .iter()
                .map(|route| RouteSpec {
                    condition: route.condition.clone(),
                    to: route.to.clone(),
                    is_final: route.is_final,
                    unrouted: route.unrouted,
                })
                .collect(),
            configuration.endpoints.len(),
        )?;
        let ended = Arc::new(ended);
        let also_ended = ended.clone();
        let inputs_ended = Waker::from(Arc::new(Call(move || ended(End::Inputs))));
        let endpoint_ended = Waker::from(Arc::new(Call(move || also_ended(End::Endpoint))));
        let mut ledger = Ledger::default();
        let network = NetworkRuntime::start()?;
        let (finish, finished) = mpsc::channel();
        let endpoints =
            start_endpoints(&configuration, &clock, &network, &finish, &endpoint_ended, &mut ledger)?;
        let outlets: Vec<Outlet> = endpoints.iter().map(|endpoint| endpoint.outlet.clone()).collect();
        let rejects_to = endpoints
            .iter()
            .filter(|endpoint| configuration.rejects.to.contains(&endpoint.name))
            .map(|endpoint| endpoint.outlet.clone())
            .collect();
        let rejects = Rejects::new(rejects_to, configuration.rejects.max_per_second);
        let tap = Arc::new(Tap::default());
        let outlets = Arc::new(Outlets { table, outlets, rejects, tap: tap.clone() });

        let checkpoints = Checkpoints::new(&configuration.data_dir);
        match start_inputs(&configuration, &clock, &outlets, &checkpoints, &mut ledger, inputs_ended) {
            Ok((readers, listening)) => {
                let ledger = Arc::new(ledger);
                network.handle().spawn(watch(ledger.clone(), clock.clone()));
                Ok(Topology {
                    clock,
                    ledger,
                    tap,
                    listening,
                    endpoints,
                    readers,
                    network,
                    finished,
                    checkpoints,
                    shutdown_timeout: configuration.shutdown_timeout,
                })
            }
            Err(error) => {
                endpoints.iter().for_each(|endpoint| endpoint.outlet.buffer.close());
                network.stop();
                checkpoints.finish();
                Err(error)
            }
        }
    }

    /// Every message's account.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Where to watch what passes.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// The time that the ledger's ages are measured in.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where the inputs listen.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// The runtime that network endpoints share; the API server runs there too.
    pub fn network(&self) -> &tokio::runtime::Handle {
        self.network.handle()
    }

    /// Has every endpoint open its files anew, and returns those that had not done so after `longest`. What the others
    /// had written before is out, and goes to the old files.
    pub fn reopen(&self, longest: Duration) -> Vec<NotReopened> {
        thread::scope(|scope| {
            let asked: Vec<_> = self
                .endpoints
                .iter()
                .map(|endpoint| (endpoint, scope.spawn(|| endpoint.control.reopen(longest))))
                .collect();
            asked
                .into_iter()
                .filter_map(|(endpoint, done)| {
                    let error = done.join().unwrap_or(Err(ReopenError::Late)).err()?;
                    Some(NotReopened { endpoint: endpoint.name.clone(), error })
                })
                .collect()
        })
    }

    /// Stops accepting, reads what the kernel holds, delivers what is buffered, all within `shutdown_timeout`; what is left
    /// then is counted as dropped. Reading ends at half of that time at the latest, so that what was read last can still be
    /// delivered. Returns the ledger's last state.
    pub fn stop(self) -> Arc<Ledger> {
        let now = self.clock.monotonic();
        let deadline = now + self.shutdown_timeout;
        for endpoint in &self.endpoints {
            endpoint.control.stop_by(deadline);
        }
        self.readers.stop(now + self.shutdown_timeout / 2);
        for endpoint in &self.endpoints {
            endpoint.outlet.buffer.close();
        }
        let mut running = vec![true; self.endpoints.len()];
        while running.contains(&true) {
            let left = (deadline + GRACE).saturating_sub(self.clock.monotonic());
            match self.finished.recv_timeout(left) {
                Ok(number) => running[number] = false,
                Err(_) => break,
            }
        }
        for (endpoint, running) in self.endpoints.iter().zip(running) {
            if running {
                tracing::error!(endpoint = endpoint.name, "does not answer and is left behind");
            }
            // Also for those that ended in time: a batch may have come in between their last look and the close.
            abandon(&endpoint.outlet.buffer, &endpoint.outlet.counters);
        }
        self.network.stop();
        // Whatever was delivered or given up has been acknowledged or withheld by now.
        self.checkpoints.finish();
        self.ledger
    }
}

fn start_endpoints(
    configuration: &Configuration,
    clock: &Arc<dyn Clock>,
    network: &NetworkRuntime,
    finish: &mpsc::Sender<usize>,
    ended: &Waker,
    ledger: &mut Ledger,
) -> Result<Vec<RunningEndpoint>, StartError> {
    let random = RandomState::new();
    let mut running = Vec::new();
    for (number, component) in configuration.endpoints.iter().enumerate() {
        let settings = &component.settings;
        let when_full = component.buffer.when_full.map_or_else(|| settings.when_full(), Into::into);
        let buffer = Arc::new(Buffer::new(component.buffer.memory.bytes() as usize, when_full));
        let counters = Arc::new(EndpointCounters::default());
        let control = Arc::new(Control::default());
        let opened = settings.open(EndpointContext {
            name: component.name.clone(),
            clock: clock.clone(),
            counters: counters.clone(),
            open_files: configuration.limits.open_files,
        })?;
        let runner = Runner::new(
            &component.name,
            buffer.clone(),
            counters.clone(),
            control.clone(),
            settings.linger(),
            random.hash_one(number),
        );
        let (clock, finish, ended) = (clock.clone(), finish.clone(), ended.clone());
        match opened {
            Opened::Blocking(endpoint) => {
                thread::Builder::new().name(format!("endpoint-{}", component.name)).spawn(move || {
                    drive_blocking(runner, endpoint, &*clock);
                    // Nobody listens any more if it comes after the deadline.
                    let _ = finish.send(number);
                    // News only if the router was not stopping yet.
                    ended.wake();
                })?;
            }
            Opened::Network(endpoint) => {
                network.handle().spawn(async move {
                    drive_network(runner, endpoint, clock).await;
                    let _ = finish.send(number);
                    ended.wake();
                });
            }
        }
        ledger.add_endpoint(EndpointAccount {
            name: component.name.clone(),
            kind: component.kind,
            counters: counters.clone(),
            buffer: buffer.clone(),
        });
        let ack = component.ack.unwrap_or_else(|| settings.ack());
        let outlet = Outlet { name: component.name.as_str().into(), buffer, counters, ack };
        running.push(RunningEndpoint { name: component.name.clone(), outlet, control });
    }
    Ok(running)
}

/// Calls a function when rung.
struct Call<F>(F);

impl<F: Fn() + Send + Sync> Wake for Call<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn start_inputs(
    configuration: &Configuration,
    clock: &Arc<dyn Clock>,
    outlets: &Arc<Outlets>,
    checkpoints: &Checkpoints,
    ledger: &mut Ledger,
    inputs_ended: Waker,
) -> Result<(Readers, Vec<Listening>), StartError> {
    let limits = &configuration.limits;
    let threads = configuration
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
        .max(1);
    let message_limits =
        MessageLimits { message_bytes: limits.message.bytes() as usize, depth: limits.depth };
    let input_bytes = limits.memory.bytes() as usize / INPUT_PART;
    let (unfinished, parked) = (UnfinishedLines::new(input_bytes), ParkedMemory::new(input_bytes));
    let connections = ConnectionLimit::new(limits.connections);

    let mut opened: Vec<OpenedInput> = Vec::new();
    let mut accounts: Vec<(FrameDecoder, Arc<InputCounters>)> = Vec::new();
    let mut listening = Vec::new();
    for component in &configuration.inputs {
        let counters = ledger.add_input(&component.name, component.kind);
        let input = component.settings.open(&InputContext {
            name: component.name.clone(),
            threads,
            message_bytes: message_limits.message_bytes,
            unfinished: unfinished.clone(),
            parked: parked.clone(),
            connections: connections.clone(),
            counters: counters.clone(),
            clock: clock.clone(),
            checkpoints: checkpoints.clone(),
        })?;
        listening.push(Listening {
            input: component.name.clone(),
            kind: component.kind,
            address: input.address.clone(),
        });
        accounts.push((decoder(&component.decoder, message_limits), counters));
        opened.push(input);
    }

    let pool = SlabPool::new(SPARE_SLAB_BYTES);
    let readers = Readers::start(threads, clock, inputs_ended, || {
        accounts
            .iter()
            .zip(&listening)
            .map(|((decoder, counters), Listening { input, .. })| {
                let (decoder, counters) = (decoder.clone(), counters.clone());
                Pipeline::new(input, decoder, outlets.clone(), counters, clock.clone(), pool.clone())
            })
            .collect()
    })?;
    for (number, input) in opened.into_iter().enumerate() {
        for source in input.sources {
            readers.adopt(source, number);
        }
    }
    readers.all_adopted();
    Ok((readers, listening))
}

fn decoder(settings: &DecoderSettings, limits: MessageLimits) -> FrameDecoder {
    match settings {
        DecoderSettings::Json => FrameDecoder::Json(Decoder::new(limits)),
        DecoderSettings::Line { logger, severity } => {
            FrameDecoder::Line(LineDecoder::new(logger, *severity, limits))
        }
    }
}

impl From<config::WhenFull> for metlog_buffer::WhenFull {
    fn from(when_full: config::WhenFull) -> Self {
        match when_full {
            config::WhenFull::Block => metlog_buffer::WhenFull::Block,
            config::WhenFull::DropNewest => metlog_buffer::WhenFull::DropNewest,
            config::WhenFull::DropOldest => metlog_buffer::WhenFull::DropOldest,
        }
    }
}
