//! What datagram inputs share: reading many datagrams per system call, and the kernel's drop counter.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
};

use mio::{Interest, Registry, Token, unix::SourceFd};

use super::{Flow, Progress, Source, sockets::BoundSocket};
use crate::{
    ledger::{InputCounters, SocketDrops},
    pipeline::DatagramGatherer,
    sys::{self, Datagram},
};

/// A bound datagram socket.
#[derive(Debug)]
pub struct DatagramSource {
    socket: BoundSocket,
    receiver: sys::DatagramReceiver,
    gatherer: Option<DatagramGatherer>,
    drops: Arc<Mutex<Drops>>,
}

/// The kernel's drop counter goes with the socket, which may have been another input's before and be another's after.
#[derive(Debug)]
enum Drops {
    /// It is not read yet; whatever is dropped until then counts once it is.
    NotYetRead,
    /// It is read; so many were dropped before, and are in another ledger.
    Read(BoundSocket, u64),
    /// It is read no more; so many were dropped meanwhile.
    NoMoreRead(u64),
}

impl DatagramSource {
    /// Reads datagrams of up to `largest` bytes from `socket`, which must not block.
    pub fn new(socket: BoundSocket, largest: usize, counters: &InputCounters) -> Self {
        let drops = Arc::new(Mutex::new(Drops::NotYetRead));
        let watched = drops.clone();
        counters.watch_kernel_drops(move || {
            let mut drops = watched.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *drops {
                // It went before it was read, because something else of the configuration could not be opened.
                Drops::NotYetRead if Arc::strong_count(&watched) == 1 => SocketDrops::InAll(0),
                Drops::NotYetRead => SocketDrops::SoFar(0),
                Drops::Read(socket, before) => {
                    SocketDrops::SoFar(sys::kernel_drops(socket).unwrap_or(*before).saturating_sub(*before))
                }
                Drops::NoMoreRead(drops) => SocketDrops::InAll(*drops),
            }
        });
        DatagramSource { socket, receiver: sys::DatagramReceiver::new(largest), gatherer: None, drops }
    }
}

impl Drop for DatagramSource {
    fn drop(&mut self) {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Drops::Read(socket, before) = &*drops {
            let now = sys::kernel_drops(socket).unwrap_or(*before);
            socket.account_drops(now);
            *drops = Drops::NoMoreRead(now.saturating_sub(*before));
        }
    }
}

impl Source for DatagramSource {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Who read it before has accounted for its drops by now.
        *self.drops.lock().unwrap_or_else(PoisonError::into_inner) =
            Drops::Read(self.socket.clone(), self.socket.accounted_drops());
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, Interest::READABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()))
    }

    fn bound_socket(&self) -> Option<&BoundSocket> {
        Some(&self.socket)
    }

    /// Gathers until the socket has no more or a batch is full. Nothing is ever parked: datagrams cannot wait.
    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        let gatherer = self.gatherer.get_or_insert_with(|| DatagramGatherer::new(flow.pipeline.pool()));
        let progress = loop {
            match self.receiver.receive(&self.socket) {
                Ok(0) => break Progress::Drained,
                Ok(count) => {
                    for cut in self.receiver.datagrams(count).filter(Datagram::is_cut) {
                        flow.pipeline.too_large(cut.bytes, cut.sent_bytes, None, flow.parked);
                    }
                    let whole = self.receiver.datagrams(count).filter(|datagram| !datagram.is_cut());
                    pass_on(whole.map(|datagram| datagram.bytes), gatherer, flow, None);
                    if count < self.receiver.at_once() {
                        break Progress::Drained;
                    }
                    if gatherer.is_large() {
                        break Progress::More;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Progress::Drained,
                // An ICMP error of an earlier send on this socket; there is none, but the kernel may say so.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot receive datagrams");
                    break Progress::Drained;
                }
            }
        };
        if let Some(slab) = gatherer.take() {
            flow.pipeline.lines(slab, None, flow.parked);
        }
        progress
    }
}

/// Passes datagrams on in their order: those that hold lines to the gatherer, where they wait for more, and those that are
/// one message as a whole to the pipeline.
pub fn pass_on<'d>(
    datagrams: impl Iterator<Item = &'d [u8]>,
    gatherer: &mut DatagramGatherer,
    flow: &mut Flow<'_>,
    waiter: Option<&Waker>,
) {
    let mut whole = Vec::new();
    for datagram in datagrams {
        let takes_whole = flow.pipeline.takes_whole(datagram);
        if (takes_whole || gatherer.is_full_for(datagram))
            && let Some(slab) = gatherer.take()
        {
            flow.pipeline.lines(slab, waiter, flow.parked);
        }
        if takes_whole {
            whole.push(datagram);
            continue;
        }
        if !whole.is_empty() {
            flow.pipeline.datagrams(whole.drain(..), waiter, flow.parked);
        }
        gatherer.push(datagram);
    }
    if !whole.is_empty() {
        flow.pipeline.datagrams(whole, waiter, flow.parked);
    }
}
