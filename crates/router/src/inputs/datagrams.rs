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
    batch::BATCH_BYTES,
    ledger::{InputCounters, SocketDrops},
    pipeline::{DatagramGatherer, Origin},
    sys::{self, Datagram, SenderName},
};

/// After so many datagrams, or so many bytes, it is the turn of others, whatever became of them: a sender that is never done must
/// not keep its thread from other sources, from a reload and from the end.
const MOST_DATAGRAMS: usize = 2048;
const MOST_BYTES: usize = BATCH_BYTES / 2;

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

    /// Gathers until the socket has no more or its turn is over. Nothing is ever parked: datagrams cannot wait.
    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        let gatherer = self.gatherer.get_or_insert_with(|| DatagramGatherer::new(flow.pipeline.pool()));
        let (mut datagrams, mut bytes) = (0, 0);
        let progress = loop {
            match self.receiver.receive(&self.socket) {
                Ok(0) => break Progress::Drained,
                Ok(count) => {
                    datagrams += count;
                    bytes +=
                        self.receiver.datagrams(count).map(|datagram| datagram.bytes.len()).sum::<usize>();
                    for cut in self.receiver.datagrams(count).filter(Datagram::is_cut) {
                        let sender = cut.sender.address();
                        flow.pipeline.reads_from(sender.map_or(Origin::Unknown, Origin::Peer));
                        flow.pipeline.too_large(cut.bytes, cut.sent_bytes, None, flow.parked);
                    }
                    let whole = self.receiver.datagrams(count).filter(|datagram| !datagram.is_cut());
                    pass_on(
                        whole.map(|datagram| (datagram.bytes, Some(datagram.sender))),
                        gatherer,
                        flow,
                        None,
                    );
                    if count < self.receiver.at_once() {
                        break Progress::Drained;
                    }
                    if datagrams >= MOST_DATAGRAMS || bytes >= MOST_BYTES {
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
        flow.pipeline.gathered(gatherer, None, flow.parked);
        progress
    }
}

/// Passes datagrams on in their order: those that hold lines to the gatherer, where they wait for more, and those that are
/// one message as a whole to the pipeline. Their senders come with them, where they are not all of one peer.
pub fn pass_on<'d>(
    datagrams: impl Iterator<Item = (&'d [u8], Option<SenderName>)>,
    gatherer: &mut DatagramGatherer,
    flow: &mut Flow<'_>,
    waiter: Option<&Waker>,
) {
    let mut whole = Vec::new();
    for (datagram, sender) in datagrams {
        let takes_whole = flow.pipeline.takes_whole(datagram);
        if takes_whole || gatherer.is_full_for(datagram) {
            flow.pipeline.gathered(gatherer, waiter, flow.parked);
        }
        if takes_whole {
            whole.push((datagram, sender));
            continue;
        }
        if !whole.is_empty() {
            flow.pipeline.datagrams(whole.drain(..), waiter, flow.parked);
        }
        gatherer.push(datagram, sender);
    }
    if !whole.is_empty() {
        flow.pipeline.datagrams(whole, waiter, flow.parked);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, UdpSocket},
        time::Duration,
    };

    use metlog_message::{Limits, Timestamp};
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::{
        clock::Clock,
        config::DecoderSettings,
        decoders::FrameDecoder,
        pipeline::{Outlets, Pipeline},
        rejects::Rejects,
        routes::table::RouteTable,
        slab_pool::SlabPool,
    };

    /// What the sender below sends at most. A read that takes all of it would take any more, too.
    const SENT_AT_MOST: usize = 20_000;

    /// Datagrams under way, more than one call receives, and fewer than any receive buffer holds.
    const UNDER_WAY: usize = 192;

    /// A sender that is never done: whenever the router looks what time it is, which it does for every batch and every reject,
    /// more is there.
    #[derive(Debug)]
    struct Flood {
        sender: UdpSocket,
        datagram: Vec<u8>,
        sent: Mutex<usize>,
        counters: Arc<InputCounters>,
    }

    impl Flood {
        fn send(&self) {
            let mut sent = self.sent.lock().unwrap();
            let most = (self.counters.read().received as usize + UNDER_WAY).min(SENT_AT_MOST);
            while *sent < most {
                self.sender.send(&self.datagram).unwrap();
                *sent += 1;
            }
        }
    }

    impl Clock for Flood {
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn wall(&self) -> Timestamp {
            self.send();
            Timestamp::now()
        }
    }

    /// Reads twice where datagrams of up to `largest` bytes are taken and such ones never end.
    #[track_caller]
    fn assert_each_read_ends(datagram: &[u8], largest: usize, decoder: &DecoderSettings) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(socket.local_addr().unwrap().as_socket().unwrap()).unwrap();
        let counters = Arc::new(InputCounters::default());
        let mut source = DatagramSource::new(BoundSocket::new(socket, "udp"), largest, &counters);
        let (datagram, sent) = (datagram.to_vec(), Mutex::new(0));
        let flood = Arc::new(Flood { sender, datagram, sent, counters: counters.clone() });
        flood.send();
        let outlets = Arc::new(Outlets {
            table: RouteTable::compile(Vec::new(), 0).unwrap(),
            outlets: Vec::new(),
            rejects: Rejects::new(Vec::new(), 0),
            tap: Arc::default(),
        });
        let decoder = FrameDecoder::new(decoder, Limits::default());
        let mut pipeline = Pipeline::new("udp", decoder, outlets, counters.clone(), flood, SlabPool::new(0));
        let most = (MOST_DATAGRAMS + source.receiver.at_once()) as u64;
        for _ in 0..2 {
            let before = counters.read().received;
            let mut flow = Flow {
                pipeline: &mut pipeline,
                waker: Waker::noop(),
                parked: &mut Vec::new(),
                accepted: &mut Vec::new(),
            };
            assert_eq!(source.read(&mut flow), Progress::More);
            let taken = counters.read().received - before;
            assert!((1..=most).contains(&taken), "{taken} datagrams in one turn");
        }
    }

    #[test]
    fn a_flood_of_datagrams_that_name_their_decoder_leaves_others_their_turn() {
        let message = b"\0json::{\"type\":\"counter\",\"payload\":\"1\"}";
        assert_each_read_ends(message, sys::LARGEST_UDP_DATAGRAM, &DecoderSettings::Json);
    }

    #[test]
    fn a_flood_of_msgpack_leaves_others_their_turn() {
        let message = b"\x81\xa4type\xa7counter";
        assert_each_read_ends(message, sys::LARGEST_UDP_DATAGRAM, &DecoderSettings::Msgpack);
    }

    #[test]
    fn a_flood_of_datagrams_that_are_too_large_leaves_others_their_turn() {
        assert_each_read_ends(&[b'x'; 100], 50, &DecoderSettings::Json);
    }
}
