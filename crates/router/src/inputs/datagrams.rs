//! What datagram inputs share: reading many datagrams per system call, and the kernel's drop counter.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use socket2::Socket;

use super::{Flow, Progress, Source};
use crate::{ledger::InputCounters, pipeline::DatagramGatherer, sys};

/// A bound datagram socket.
#[derive(Debug)]
pub struct DatagramSource {
    socket: Arc<Socket>,
    receiver: sys::DatagramReceiver,
    gatherer: Option<DatagramGatherer>,
    kernel_drops: Arc<AtomicU64>,
}

impl DatagramSource {
    /// Reads datagrams of up to `largest` bytes from `socket`, which must not block.
    pub fn new(socket: Arc<Socket>, largest: usize, counters: &InputCounters) -> Self {
        let kernel_drops = Arc::new(AtomicU64::new(0));
        let (last_known, weak) = (kernel_drops.clone(), Arc::downgrade(&socket));
        counters.watch_kernel_drops(move || {
            // A closed socket's number is the last one that it told.
            if let Some(drops) = weak.upgrade().and_then(|socket| sys::kernel_drops(&socket)) {
                last_known.store(drops, Ordering::Relaxed);
            }
            last_known.load(Ordering::Relaxed)
        });
        DatagramSource { socket, receiver: sys::DatagramReceiver::new(largest), gatherer: None, kernel_drops }
    }
}

impl Drop for DatagramSource {
    fn drop(&mut self) {
        if let Some(drops) = sys::kernel_drops(&self.socket) {
            self.kernel_drops.store(drops, Ordering::Relaxed);
        }
    }
}

impl Source for DatagramSource {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, Interest::READABLE)
    }

    /// Gathers until the socket has no more or a batch is full. Nothing is ever parked: datagrams cannot wait.
    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        let gatherer = self.gatherer.get_or_insert_with(|| DatagramGatherer::new(flow.pipeline.pool()));
        let progress = loop {
            match self.receiver.receive(&self.socket) {
                Ok(0) => break Progress::Drained,
                Ok(count) => {
                    for datagram in self.receiver.datagrams(count) {
                        if datagram.bytes.first() == Some(&0)
                            && let Some(slab) = gatherer.take()
                        {
                            // It may name its decoder and is then handed over by itself: not before what came before it.
                            flow.pipeline.lines(slab, None, flow.parked);
                        }
                        if datagram.sent_bytes > datagram.bytes.len() {
                            flow.pipeline.too_large(datagram.bytes, datagram.sent_bytes, None, flow.parked);
                        } else if !flow.pipeline.named_frame(datagram.bytes, None, flow.parked) {
                            if gatherer.is_full_for(datagram.bytes)
                                && let Some(slab) = gatherer.take()
                            {
                                flow.pipeline.lines(slab, None, flow.parked);
                            }
                            gatherer.push(datagram.bytes);
                        }
                    }
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
