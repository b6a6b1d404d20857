//! What is connected to what: builds the router from a configuration, starts it, changes it while it runs, stops it.
//!
//! Inputs, decoders, routes and endpoints do not know each other; they are joined here, and only here. A start is a reload
//! from nothing, so there is one way in which a configuration becomes a running router; see the module `reload`.

mod claims;
mod endpoint;
mod input;
mod reload;

use std::{
    hash::RandomState,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Wake, Waker},
    time::Duration,
};

pub(crate) use self::reload::compile;
pub use self::reload::{Changes, ReloadReport};
use self::{claims::Claims, endpoint::RunningEndpoint, input::RunningInput};
use crate::{
    checkpoints::CheckpointError,
    clock::Clock,
    config,
    control::ReopenError,
    endpoints::{self, EndpointSettings},
    inputs::{self, InputSettings},
    latch::Latch,
    ledger::Ledger,
    network::NetworkRuntime,
    reader::{Readers, Retirement},
    routes::table::TableError,
    tap::Tap,
    watch::watch,
};

/// A configuration of this router's kinds.
pub type Configuration = config::Configuration<dyn InputSettings, dyn EndpointSettings>;

/// An input of such a configuration.
pub type Input = config::InputComponent<dyn InputSettings>;

/// Reads a configuration of this router's kinds, and what it includes.
pub fn load_file(path: &Path) -> (Option<Configuration>, config::Diagnostics) {
    config::load_file(path, inputs::registry::KINDS, endpoints::registry::KINDS)
}

/// As [`load_file`], from a text in memory.
pub fn load(source: &config::Source) -> (Option<Configuration>, config::Diagnostics) {
    config::load(source, inputs::registry::KINDS, endpoints::registry::KINDS)
}

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
    network: NetworkRuntime,
    readers: Readers,
    inputs: Vec<RunningInput>,
    input_ground: input::Ground,
    endpoints: Vec<RunningEndpoint>,
    endpoint_ground: Arc<endpoint::Ground>,
    /// The files that endpoints write, also those that leave.
    claims: Claims,
    /// Endpoints that are no longer part of the configuration and deliver what they hold.
    leaving: Vec<RunningEndpoint>,
    /// Inputs that are no longer part of the configuration; their numbers are taken until they have ended.
    retiring: Vec<(usize, Arc<Retirement>)>,
    listening: Vec<Listening>,
    settings: Settings,
}

/// What of a configuration belongs to no component.
#[derive(Debug)]
struct Settings {
    shutdown_timeout: Duration,
    limits: config::Limits,
    data_dir: PathBuf,
    threads: Option<usize>,
    routes: Vec<config::Route>,
    rejects: config::Rejects,
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

/// Why a configuration could not be made into a running router.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An input cannot be opened.
    #[error(transparent)]
    Input(#[from] inputs::OpenError),
    /// An endpoint cannot be opened.
    #[error(transparent)]
    Endpoint(#[from] endpoints::OpenError),
    /// Another router runs with the same `data_dir`.
    #[error(transparent)]
    DataDir(#[from] CheckpointError),
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
        let ended = Arc::new(ended);
        let also_ended = ended.clone();
        let inputs_ended = Waker::from(Arc::new(Call(move || ended(End::Inputs))));
        let endpoint_ended = Waker::from(Arc::new(Call(move || also_ended(End::Endpoint))));

        let network = NetworkRuntime::start()?;
        let endpoint_ground = Arc::new(endpoint::Ground {
            clock: clock.clone(),
            network: network.handle().clone(),
            ended: endpoint_ended,
            random: RandomState::new(),
        });
        let input_ground = input::Ground::new(&configuration, clock.clone());
        let readers = Readers::start(input_ground.threads, &clock, inputs_ended)?;
        let mut topology = Topology {
            settings: Settings::of(&configuration),
            ledger: Arc::default(),
            tap: Arc::default(),
            network,
            readers,
            inputs: Vec::new(),
            input_ground,
            endpoints: Vec::new(),
            endpoint_ground,
            claims: Claims::default(),
            leaving: Vec::new(),
            retiring: Vec::new(),
            listening: Vec::new(),
            clock,
        };
        match topology.lock_data_dir().and_then(|()| topology.apply(configuration)) {
            Ok(_) => {
                let watching = watch(topology.ledger.clone(), topology.tap.clone(), topology.clock.clone());
                topology.network().spawn(watching);
                Ok(topology)
            }
            Err(error) => {
                topology.stop();
                Err(error)
            }
        }
    }

    /// Sees to it that no other router runs with the same `data_dir`: with the same configuration it would write, and rotate, the
    /// same files. A folder that cannot be made stops only who has something to keep there, which an input finds out.
    fn lock_data_dir(&self) -> Result<(), StartError> {
        match self.input_ground.checkpoints.lock() {
            Err(error @ CheckpointError::Io { .. }) => {
                tracing::warn!("{error}; another router that runs with the same one would not be noticed");
                Ok(())
            }
            outcome => Ok(outcome?),
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

    /// Whether any input reads, or may get something to read. After [`End::Inputs`] a reload may have brought new ones.
    pub fn has_inputs(&self) -> bool {
        self.readers.have_sources()
    }

    /// The runtime that network endpoints share; the API server runs there too.
    pub fn network(&self) -> &tokio::runtime::Handle {
        self.network.handle()
    }

    /// Asks every reader thread and the network runtime whether they still work; the latch opens when all of them have
    /// answered. Threads of files are not asked: one that waits for its disk is the disk's trouble, and holds up nobody else.
    pub fn feel_pulse(&self) -> Arc<Latch> {
        let latch = Arc::new(Latch::new(self.readers.threads() + 1));
        self.readers.answer(&latch);
        let answer = latch.clone();
        self.network().spawn(async move { answer.count_down() });
        latch
    }

    /// How long [`Topology::stop`] may take at the moment.
    pub fn shutdown_timeout(&self) -> Duration {
        self.settings.shutdown_timeout + GRACE
    }

    /// How long [`Topology::stop`] tries to deliver what is buffered.
    pub fn drain_timeout(&self) -> Duration {
        self.settings.shutdown_timeout
    }

    /// Has every endpoint open its files anew, also those that are no longer part of the configuration and still deliver, and
    /// returns those that had not done so after `longest`. What the others had written before is out, and goes to the old
    /// files.
    pub fn reopen(&self, longest: Duration) -> Vec<NotReopened> {
        let running = self.endpoints.iter().chain(&self.leaving).filter(|endpoint| !endpoint.is_done());
        let asked: Vec<_> = running.map(|endpoint| (endpoint, endpoint.control.ask_to_reopen())).collect();
        let end = self.clock.monotonic() + longest;
        asked
            .into_iter()
            .filter_map(|(endpoint, request)| {
                let left = end.saturating_sub(self.clock.monotonic());
                let error = endpoint.control.wait_for_reopen(request, left).err()?;
                Some(NotReopened { endpoint: endpoint.name.clone(), error })
            })
            .collect()
    }

    /// Stops accepting, reads what the kernel holds, delivers what is buffered, all within `shutdown_timeout`; what is left
    /// then is counted as dropped. Reading ends at half of that time at the latest, so that what was read last can still be
    /// delivered. Returns the ledger's last state.
    pub fn stop(self) -> Arc<Ledger> {
        let Topology {
            clock,
            ledger,
            network,
            readers,
            inputs,
            input_ground,
            endpoints,
            leaving,
            settings,
            ..
        } = self;
        let endpoints: Vec<RunningEndpoint> = endpoints.into_iter().chain(leaving).collect();
        let now = clock.monotonic();
        let deadline = now + settings.shutdown_timeout;
        for endpoint in &endpoints {
            endpoint.control.stop_by(deadline);
        }
        // Nobody is let in any more once the readers have closed theirs.
        drop(inputs);
        readers.stop(now + settings.shutdown_timeout / 2);
        for endpoint in &endpoints {
            endpoint.outlet.buffer.close();
        }
        for endpoint in &endpoints {
            endpoint.wait((deadline + GRACE).saturating_sub(clock.monotonic()));
        }
        endpoints.iter().for_each(RunningEndpoint::give_up);
        network.stop();
        // Whatever was delivered or given up has been acknowledged or withheld by now.
        input_ground.checkpoints.finish();
        ledger
    }
}

impl Settings {
    /// Without its routes, of which there may be many: these are moved.
    fn of(configuration: &Configuration) -> Settings {
        Settings {
            shutdown_timeout: configuration.shutdown_timeout,
            limits: configuration.limits.clone(),
            data_dir: configuration.data_dir.clone(),
            threads: configuration.threads,
            routes: Vec::new(),
            rejects: configuration.rejects.clone(),
        }
    }
}

/// Calls a function when rung.
struct Call<F>(F);

impl<F: Fn() + Send + Sync> Wake for Call<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl From<metlog_buffer::WhenFull> for config::WhenFull {
    fn from(when_full: metlog_buffer::WhenFull) -> Self {
        match when_full {
            metlog_buffer::WhenFull::Block => config::WhenFull::Block,
            metlog_buffer::WhenFull::DropNewest => config::WhenFull::DropNewest,
            metlog_buffer::WhenFull::DropOldest => config::WhenFull::DropOldest,
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
