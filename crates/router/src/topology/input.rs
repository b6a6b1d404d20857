//! One input at work, and what all inputs share.

use std::{sync::Arc, thread};

use metlog_message::Limits as MessageLimits;

use super::Configuration;
use crate::{
    checkpoints::Checkpoints,
    clock::Clock,
    config::Fingerprint,
    decoders::FrameDecoder,
    inputs::{
        InputContext, OpenError, OpenedInput,
        connections::ConnectionLimit,
        parked::ParkedMemory,
        sockets::{BoundSocket, Inherited},
    },
    ledger::{InputAccount, InputCounters},
    pipeline::{Outlets, Pipeline},
    reader::Readers,
    slab_pool::SlabPool,
    unfinished::UnfinishedLines,
};

pub(super) use super::Input as Component;

/// Spare slabs that are kept for the next batches.
const SPARE_SLAB_BYTES: usize = 32 * 1024 * 1024;

/// Unfinished lines share this part of `[limits] memory`, and parked batches as much again; buffers get the rest.
const INPUT_PART: usize = 8;

/// What all inputs share, from the start of the router to its end.
#[derive(Debug)]
pub(super) struct Ground {
    pub clock: Arc<dyn Clock>,
    pub threads: usize,
    pub connections: ConnectionLimit,
    message_limits: MessageLimits,
    unfinished: UnfinishedLines,
    parked: ParkedMemory,
    pool: SlabPool,
    pub checkpoints: Checkpoints,
}

impl Ground {
    pub fn new(configuration: &Configuration, clock: Arc<dyn Clock>) -> Ground {
        let limits = &configuration.limits;
        let input_bytes = limits.memory.bytes() as usize / INPUT_PART;
        Ground {
            clock,
            threads: configuration
                .threads
                .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
                .max(1),
            connections: ConnectionLimit::new(limits.connections),
            message_limits: limits.of_messages(),
            unfinished: UnfinishedLines::new(input_bytes),
            parked: ParkedMemory::new(input_bytes),
            pool: SlabPool::new(SPARE_SLAB_BYTES),
            checkpoints: Checkpoints::new(&configuration.data_dir),
        }
    }

    pub fn open(
        &self,
        component: &Component,
        counters: Arc<InputCounters>,
        inherited: &Inherited,
    ) -> Result<OpenedInput, OpenError> {
        component.settings.open(&InputContext {
            name: component.name.clone(),
            threads: self.threads,
            message_bytes: self.message_limits.message_bytes,
            unfinished: self.unfinished.clone(),
            parked: self.parked.clone(),
            connections: self.connections.clone(),
            counters,
            clock: self.clock.clone(),
            checkpoints: self.checkpoints.clone(),
            inherited: inherited.clone(),
        })
    }

    /// Has the readers serve the input with this number as the component says.
    pub fn serve(
        &self,
        readers: &Readers,
        number: usize,
        component: &Component,
        counters: &Arc<InputCounters>,
        outlets: &Arc<Outlets>,
    ) {
        let decoder = FrameDecoder::new(&component.decoder, self.message_limits);
        readers.serve(number, || {
            Pipeline::new(
                &component.name,
                decoder.clone(),
                outlets.clone(),
                counters.clone(),
                self.clock.clone(),
                self.pool.clone(),
            )
            .allowing_meta(component.allow_meta)
        });
    }
}

/// An input of the configuration.
#[derive(Debug)]
pub(super) struct RunningInput {
    pub name: String,
    pub kind: &'static str,
    own: Fingerprint,
    pub common: Fingerprint,
    /// What the readers know it by.
    pub number: usize,
    pub address: String,
    pub counters: Arc<InputCounters>,
    pub sockets: Vec<BoundSocket>,
}

impl RunningInput {
    pub fn new(
        component: &Component,
        number: usize,
        counters: Arc<InputCounters>,
        opened: &OpenedInput,
    ) -> RunningInput {
        RunningInput {
            name: component.name.clone(),
            kind: component.kind,
            own: component.own,
            common: component.common,
            number,
            address: opened.address.clone(),
            counters,
            sockets: opened.sockets.clone(),
        }
    }

    /// Whether it was opened with what the component says.
    pub fn is_opened_as(&self, component: &Component) -> bool {
        self.kind == component.kind && self.own == component.own
    }

    /// Whether its connections go on when it is opened anew as the component says.
    pub fn keeps_connections_as(&self, component: &Component) -> bool {
        self.kind == component.kind && component.settings.keeps_connections()
    }

    /// Its account in the ledger.
    pub fn account(&self) -> InputAccount {
        InputAccount {
            name: self.name.clone(),
            kind: self.kind,
            address: self.address.clone(),
            counters: self.counters.clone(),
        }
    }
}
