//! From bytes to buffers: decode, route, hand over. Runs on the thread on which the bytes arrived.
//!
//! One pipeline serves one input on one thread. It gathers a batch while its source has more to read, and closes it when the
//! source is drained or the batch is full; nothing waits for a timer.

mod gathering;
mod open_batch;
mod origin;
mod outlet;

use std::{ops::Range, sync::Arc, task::Waker, time::Duration};

use metlog_message::{Decoded, Index, Reason, Timestamp};

pub use self::{
    gathering::DatagramGatherer,
    origin::{Origin, Place},
    outlet::{Outlet, Outlets, Parked},
};
use self::{open_batch::OpenBatch, origin::Senders};
use crate::{
    acknowledgement::{Acknowledged, Acknowledgement},
    batch::{BATCH_BYTES, BATCH_MESSAGES, Entry, Handover},
    clock::Clock,
    decoders::{FrameDecoder, split_named},
    framing::{Cause, GivenUp},
    ledger::{DropReason, InputCounters, InputTally},
    recycled::VecPool,
    rejects,
    routes::table::Scratch,
    slab_pool::{Slab, SlabPool},
    sys::SenderName,
    tap::{Allowance, Passing, Rejected},
};

/// What the ledger calls a line that was not whole when its input was closed.
const NOTICE_CUT_OFF: &str = "line-cut-off";

/// Spare lists of messages that a pipeline keeps for its next batches.
const SPARE_ENTRIES: usize = 16;

/// Decodes, routes and hands over for one input on one thread.
#[derive(Debug)]
pub struct Pipeline {
    input: Arc<str>,
    /// Whether its messages may tell an endpoint what to do.
    allows_meta: bool,
    decoder: FrameDecoder,
    outlets: Arc<Outlets>,
    counters: Arc<InputCounters>,
    clock: Arc<dyn Clock>,
    pool: SlabPool,
    /// Where the lists of messages come from. A pipeline's own, so that its threads' batches do not meet in one lock.
    entries: VecPool<Entry>,
    scratch: Scratch,
    /// By endpoint: the numbers of the batch's messages that go there.
    selections: Vec<Vec<u32>>,
    tally: InputTally,
    taken_bytes: usize,
    /// Messages that tell of rejects.
    reject_messages: Vec<Vec<u8>>,
    /// Travels with every hand-over, for a source that waits for it.
    acknowledgement: Option<Acknowledgement>,
    /// What it may spend on those who watch.
    tap_allowance: Allowance,
    /// Where what it is given comes from.
    origin: Origin,
    /// The same for the parts of a slab into which datagrams were gathered, and how much of that is done with.
    senders: Senders,
    passed_bytes: usize,
}

impl Pipeline {
    /// A pipeline with nothing in it, for the input with this name.
    pub fn new(
        input: &str,
        decoder: FrameDecoder,
        outlets: Arc<Outlets>,
        counters: Arc<InputCounters>,
        clock: Arc<dyn Clock>,
        pool: SlabPool,
    ) -> Self {
        let selections = vec![Vec::new(); outlets.outlets.len()];
        Pipeline {
            input: input.into(),
            allows_meta: false,
            decoder,
            outlets,
            counters,
            clock,
            pool,
            entries: VecPool::new(SPARE_ENTRIES),
            scratch: Scratch::default(),
            selections,
            tally: InputTally::default(),
            taken_bytes: 0,
            reject_messages: Vec::new(),
            acknowledgement: None,
            tap_allowance: Allowance::default(),
            origin: Origin::Unknown,
            senders: Senders::default(),
            passed_bytes: 0,
        }
    }

    /// What it is given from now on comes from here.
    pub fn reads_from(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Routes by these from the next batch on. What is parked keeps the endpoints that it was routed to.
    pub fn route_by(&mut self, outlets: Arc<Outlets>) {
        self.selections.resize_with(outlets.outlets.len(), Vec::new);
        self.outlets = outlets;
    }

    /// What `hand_over` gives to this pipeline is acknowledged through the handle that comes back.
    pub fn acknowledged(&mut self, hand_over: impl FnOnce(&mut Pipeline)) -> Acknowledged {
        let (acknowledgement, acknowledged) = Acknowledgement::new(Waker::noop().clone());
        self.acknowledgement = Some(acknowledgement);
        hand_over(self);
        self.acknowledgement = None;
        acknowledged
    }

    /// The same, for an input that may or may not send messages that tell an endpoint what to do.
    pub fn allowing_meta(mut self, allows_meta: bool) -> Self {
        self.allows_meta = allows_meta;
        self
    }

    /// The input's counters.
    pub fn counters(&self) -> &Arc<InputCounters> {
        &self.counters
    }

    /// How many bytes it has taken since the last call.
    pub fn take_taken_bytes(&mut self) -> usize {
        std::mem::take(&mut self.taken_bytes)
    }

    /// Where slabs come from.
    pub fn pool(&self) -> &SlabPool {
        &self.pool
    }

    /// Takes complete lines and hands the messages in them over. What does not fit, and may wait, is in `parked`
    /// afterwards; `waiter` then rings when it is worth calling [`Pipeline::unpark`]. Without a `waiter` it is dropped.
    pub fn lines(&mut self, mut slab: Slab, waiter: Option<&Waker>, parked: &mut Vec<Parked>) {
        loop {
            let rest = self.batch(slab, waiter, parked);
            self.post_tally();
            match rest {
                Some(more) => slab = more,
                None => break,
            }
        }
        self.passed_bytes = 0;
    }

    /// The same with the lines of datagrams, which are then no longer in the gatherer.
    pub fn gathered(
        &mut self,
        gatherer: &mut DatagramGatherer,
        waiter: Option<&Waker>,
        parked: &mut Vec<Parked>,
    ) {
        let Some(slab) = gatherer.take() else { return };
        std::mem::swap(&mut self.senders, &mut gatherer.senders);
        self.lines(slab, waiter, parked);
        self.senders.clear();
        std::mem::swap(&mut self.senders, &mut gatherer.senders);
    }

    /// Takes frames that may hold line breaks: each place in `slab` is one, and is followed by a line break. They are few
    /// enough for one batch.
    pub fn frames(
        &mut self,
        slab: Slab,
        frames: impl IntoIterator<Item = Range<usize>>,
        waiter: Option<&Waker>,
        parked: &mut Vec<Parked>,
    ) {
        let mut open = OpenBatch::new(slab, &self.entries, self.clock.wall());
        for frame in frames {
            self.tally.received += 1;
            let decoded =
                self.decoder.decode(open.slab.get(frame.clone()).unwrap_or_default(), open.received);
            self.take(&mut open, frame, decoded);
        }
        self.tally.bytes += open.slab.len() as u64;
        self.taken_bytes += open.slab.len();
        self.close(open, waiter, parked);
        self.post_tally();
    }

    /// Whether a datagram is one message as a whole, and goes to [`Pipeline::datagrams`]: it names its decoder, or the
    /// input's decoder knows no lines. Any other holds lines.
    pub fn takes_whole(&self, datagram: &[u8]) -> bool {
        self.decoder.is_binary() || split_named(datagram).is_some()
    }

    /// Takes datagrams that are one message each, with their senders where those are not all the same.
    pub fn datagrams<'d>(
        &mut self,
        datagrams: impl IntoIterator<Item = (&'d [u8], Option<SenderName>)>,
        waiter: Option<&Waker>,
        parked: &mut Vec<Parked>,
    ) {
        let mut open = OpenBatch::new(self.pool.take(0), &self.entries, self.clock.wall());
        for (datagram, sender) in datagrams {
            if open.entries.len() == BATCH_MESSAGES || open.rewritten.len() + datagram.len() > BATCH_BYTES {
                self.close(open, waiter, parked);
                open = OpenBatch::new(self.pool.take(0), &self.entries, self.clock.wall());
            }
            self.datagram(&mut open, datagram, sender);
        }
        self.close(open, waiter, parked);
        self.post_tally();
    }

    fn datagram(&mut self, open: &mut OpenBatch, datagram: &[u8], sender: Option<SenderName>) {
        self.tally.received += 1;
        self.tally.bytes += datagram.len() as u64;
        self.taken_bytes += datagram.len();
        let (content, decoded) = match split_named(datagram) {
            Some((name, content)) => match self.decoder.named(name) {
                Some(decoder) => (content, decoder.decode(content, open.received)),
                None => (datagram, Err(Reason::UnknownDecoder)),
            },
            None => (datagram, self.decoder.decode(datagram, open.received)),
        };
        match decoded {
            Ok(Decoded::InPlace { start, end, index }) => self.append(open, &content[start..end], index),
            Ok(Decoded::Rewritten { text, index }) => self.append(open, &text, index),
            Ok(Decoded::Blank) => self.tally.blank += 1,
            Err(reason) => {
                // Nothing of an earlier slab is left to be told from it.
                self.senders.clear();
                if let Some(sender) = sender {
                    self.senders.push(0, sender);
                }
                self.reject(reason, content, content.len(), open.received, 0);
                self.senders.clear();
            }
        }
    }

    /// Takes a line without a line break, of a source that is read no further although its sender may not have come to its end:
    /// what is no whole message is not held against the sender, and is no frame.
    pub fn line_so_far(&mut self, slab: Slab, waiter: Option<&Waker>, parked: &mut Vec<Parked>) {
        let line = slab.strip_suffix(b"\n").unwrap_or(&slab);
        let outcome = self.decoder.decode(line, self.clock.wall());
        if matches!(outcome, Err(Reason::InvalidJson | Reason::InvalidUtf8)) {
            self.counters.notice(NOTICE_CUT_OFF, 1);
            tracing::info!(
                input = &*self.input,
                bytes = line.len(),
                "a line was not whole yet when the router stopped reading it; it is not taken"
            );
            return;
        }
        self.lines(slab, waiter, parked);
    }

    /// Rejects lines that were given up before they were complete.
    pub fn given_up(&mut self, lines: &[GivenUp], waiter: Option<&Waker>, parked: &mut Vec<Parked>) {
        for GivenUp { cause, begin, bytes } in lines {
            self.counters.lines_given_up.add(u64::from(*cause == Cause::Memory));
            self.too_large(begin, *bytes, waiter, parked);
        }
    }

    /// Rejects a frame of which only the beginning is there.
    #[cold]
    pub fn too_large(
        &mut self,
        begin: &[u8],
        bytes: usize,
        waiter: Option<&Waker>,
        parked: &mut Vec<Parked>,
    ) {
        let received = self.clock.wall();
        self.tally.received += 1;
        self.reject(Reason::TooLarge, begin, bytes, received, 0);
        self.hand_over_rejects(received, self.clock.monotonic(), waiter, parked);
        self.post_tally();
    }

    fn post_tally(&mut self) {
        self.counters.add(&self.tally);
        self.tally = InputTally::default();
    }

    /// One batch of the slab's lines. Gives back the lines that were too many for it.
    fn batch(&mut self, slab: Slab, waiter: Option<&Waker>, parked: &mut Vec<Parked>) -> Option<Slab> {
        let mut open = OpenBatch::new(slab, &self.entries, self.clock.wall());
        let mut start = 0;
        let mut rest = None;
        while start < open.slab.len() {
            start = match self.take_in_place(&mut open, start) {
                Some(behind) => behind,
                None => {
                    let Some(length) = memchr::memchr(b'\n', &open.slab[start..]) else { break };
                    let end = start + length;
                    let decoded = self.decoder.decode(&open.slab[start..end], open.received);
                    self.take(&mut open, start..end, decoded);
                    end + 1
                }
            };
            self.tally.received += 1;
            if open.entries.len() == BATCH_MESSAGES && start < open.slab.len() {
                let mut more = self.pool.take(open.slab.len() - start);
                more.extend(&open.slab[start..]);
                open.slab.truncate(start);
                rest = Some(more);
                break;
            }
        }
        self.tally.bytes += open.slab.len() as u64;
        self.taken_bytes += open.slab.len();
        self.passed_bytes += open.slab.len();
        self.close(open, waiter, parked);
        rest
    }

    /// Files the line at `start` if it is a message as it stands, as nearly every one is: it is read where its entry will
    /// stay. Answers where the next line begins.
    #[inline]
    fn take_in_place(&mut self, open: &mut OpenBatch, start: usize) -> Option<usize> {
        let FrameDecoder::Json(decoder) = &self.decoder else { return None };
        let lines = open.slab.get(start..)?;
        let number = open.entries.len();
        open.entries.push(Entry { start: start as u32, end: 0, number: number as u32, index: Index::EMPTY });
        let entry = open.entries.last_mut()?;
        let Some(length) = decoder.decode_line(lines, &mut entry.index) else {
            open.entries.pop();
            return None;
        };
        let end = start + length;
        entry.end = end as u32;
        let entry = &*entry;
        self.route(number, open.slab.get(start..end).unwrap_or_default(), entry);
        Some(end + 1)
    }

    /// Files what became of the frame at `place` in the slab.
    #[inline]
    fn take(&mut self, open: &mut OpenBatch, place: Range<usize>, decoded: Result<Decoded, Reason>) {
        let start = place.start;
        match decoded {
            Ok(Decoded::InPlace { start: first, end, index }) => {
                let (number, last) = (open.entries.len() as u32, (start + end) as u32);
                let entry = Entry { start: (start + first) as u32, end: last, number, index };
                // White space behind a message gives way to the line break that every message is followed by.
                open.slab[start + end] = b'\n';
                self.route(open.entries.len(), &open.slab[start + first..start + end], &entry);
                open.entries.push(entry);
            }
            Ok(Decoded::Rewritten { text, index }) => self.append(open, &text, index),
            Ok(Decoded::Blank) => self.tally.blank += 1,
            Err(reason) => {
                let bytes = place.len();
                self.reject(reason, open.slab.get(place).unwrap_or_default(), bytes, open.received, start);
            }
        }
    }

    /// Files a message whose text does not lie in the slab yet.
    fn append(&mut self, open: &mut OpenBatch, text: &[u8], index: Index) {
        // The place is relative to `rewritten` until the batch is closed.
        let entry = Entry {
            start: open.rewritten.len() as u32,
            end: (open.rewritten.len() + text.len()) as u32,
            number: open.entries.len() as u32,
            index,
        };
        self.route(open.entries.len(), text, &entry);
        open.rewritten_entries.push(open.entries.len());
        open.rewritten.extend_from_slice(text);
        open.rewritten.push(b'\n');
        open.entries.push(entry);
    }

    /// `at` is where the frame begins in the slab at hand.
    #[cold]
    fn reject(&mut self, reason: Reason, frame: &[u8], bytes: usize, received: Timestamp, at: usize) {
        self.tally.rejected[reason.index()] += 1;
        let from = || match self.senders.at(self.passed_bytes + at) {
            Place::Unknown => self.origin.place(),
            sender => sender,
        };
        let message = || rejects::message(&self.input, from(), reason, frame, bytes, received);
        let is_told = self.outlets.rejects.permits(received);
        let tap = &self.outlets.tap;
        let to = if is_told { self.outlets.rejects.outlets() } else { &[] };
        let rejected = Rejected { input: &self.input, reason, received, to };
        if tap.remembers(reason, received) {
            tap.remember(rejected, message());
        }
        if tap.is_open() {
            tap.show_reject(rejected, message);
        }
        if is_told {
            self.reject_messages.push(message());
        }
    }

    #[inline]
    fn route(&mut self, number: usize, message: &[u8], entry: &Entry) {
        self.tally.timestamp_unreadable += u64::from(entry.index.timestamp_unreadable());
        if self.outlets.table.constant().is_some() {
            // All at once when the batch is closed.
            return;
        }
        match self.outlets.table.route(message, &entry.index, &mut self.scratch) {
            Some(endpoints) => {
                self.tally.routed += 1;
                for &endpoint in endpoints {
                    self.selections[endpoint].push(number as u32);
                }
            }
            None => self.tally.unrouted += 1,
        }
    }

    fn close(&mut self, open: OpenBatch, waiter: Option<&Waker>, parked: &mut Vec<Parked>) {
        let now = self.clock.monotonic();
        self.hand_over_rejects(open.received, now, waiter, parked);
        let Some(batch) = open.close() else { return };
        if let Some(endpoints) = self.outlets.table.constant() {
            self.tally.routed += batch.len() as u64;
            for &endpoint in endpoints {
                self.selections[endpoint].extend(0..batch.len() as u32);
            }
        }
        let batch = Arc::new(batch.allowing_meta(self.allows_meta));
        if self.outlets.tap.is_open() {
            let Outlets { outlets, tap, .. } = &*self.outlets;
            let passing =
                Passing { input: &self.input, batch: &batch, selections: &self.selections, outlets };
            tap.show(passing, &mut self.tap_allowance, &*self.clock);
        }
        for (outlet, selection) in self.outlets.outlets.iter().zip(&mut self.selections) {
            if !selection.is_empty() {
                let handover =
                    Handover::select(&batch, selection).acknowledged_by(self.acknowledgement.clone());
                selection.clear();
                outlet.push_behind(parked, handover, now, waiter);
            }
        }
    }

    fn hand_over_rejects(
        &mut self,
        received: Timestamp,
        now: Duration,
        waiter: Option<&Waker>,
        parked: &mut Vec<Parked>,
    ) {
        let messages = std::mem::take(&mut self.reject_messages);
        if let Some(batch) = rejects::batch(&messages, received, &self.pool) {
            let handover = Handover::all(&Arc::new(batch)).acknowledged_by(self.acknowledgement.clone());
            for outlet in self.outlets.rejects.outlets() {
                outlet.push_behind(parked, handover.clone(), now, waiter);
            }
        }
    }

    /// Tries again to hand over what is parked, and leaves what still does not fit.
    pub fn unpark(&self, waiter: &Waker, parked: &mut Vec<Parked>) {
        let now = self.clock.monotonic();
        for one in std::mem::take(parked) {
            one.push_behind(parked, now, waiter);
        }
    }

    /// Gives up what is parked: the router stops, or the input is removed, and there is no more time.
    pub fn abandon(&self, parked: &mut Vec<Parked>, reason: DropReason) {
        parked.drain(..).for_each(|one| one.abandon(reason));
    }
}

#[cfg(test)]
mod tests {
    use metlog_message::Decoder;

    use super::*;
    use crate::{
        acknowledgement::Ack,
        rejects::Rejects,
        routes::{
            condition::Condition,
            table::{RouteSpec, RouteTable},
        },
        testing::{self, ManualClock},
    };

    /// A pipeline that sends everything to one endpoint whose buffer holds one batch.
    fn pipeline(ack: Ack) -> (Pipeline, Outlet) {
        let outlet =
            Outlet { name: "slow".into(), buffer: testing::buffer(1), counters: Arc::default(), ack };
        let route = RouteSpec {
            condition: Condition::All(Vec::new()),
            to: vec![0],
            is_final: false,
            unrouted: false,
        };
        let outlets = Arc::new(Outlets {
            table: RouteTable::compile(vec![route], 1).unwrap(),
            outlets: vec![outlet.clone()],
            rejects: Rejects::new(Vec::new(), 0),
            tap: Arc::default(),
        });
        let decoder = FrameDecoder::Json(Decoder::default());
        let clock = Arc::new(ManualClock::default());
        let pipeline = Pipeline::new("file", decoder, outlets, Arc::default(), clock, SlabPool::new(0));
        (pipeline, outlet)
    }

    fn hand_over(pipeline: &mut Pipeline, parked: &mut Vec<Parked>) -> Acknowledged {
        let mut slab = pipeline.pool().take(0);
        testing::lines(2).iter().for_each(|line| slab.extend(line.as_bytes()));
        pipeline.acknowledged(|pipeline| pipeline.lines(slab, Some(Waker::noop()), parked))
    }

    #[test]
    fn a_durable_endpoint_holds_the_acknowledgement_until_it_has_delivered() {
        let (mut pipeline, outlet) = pipeline(Ack::Durable);
        let acknowledged = hand_over(&mut pipeline, &mut Vec::new());
        outlet.buffer.settle(1);
        assert!(!acknowledged.is_complete());
        outlet.buffer.settle(1);
        assert!(acknowledged.is_complete());
    }

    #[test]
    fn an_endpoint_that_acknowledges_what_is_queued_does_so_when_it_is_and_not_while_it_is_parked() {
        let (mut pipeline, outlet) = pipeline(Ack::Queued);
        let mut parked = Vec::new();
        assert!(hand_over(&mut pipeline, &mut parked).is_complete());
        let second = hand_over(&mut pipeline, &mut parked);
        assert_eq!((parked.len(), second.is_complete()), (1, false));
        outlet.buffer.settle(2);
        pipeline.unpark(Waker::noop(), &mut parked);
        assert!(second.is_complete());
    }

    #[test]
    fn what_is_given_up_because_the_router_ends_is_never_acknowledged() {
        let (mut pipeline, outlet) = pipeline(Ack::Durable);
        let mut parked = Vec::new();
        let queued = hand_over(&mut pipeline, &mut parked);
        let waiting = hand_over(&mut pipeline, &mut parked);
        pipeline.abandon(&mut parked, DropReason::Shutdown);
        crate::runner::abandon(&outlet.buffer, &outlet.counters);
        outlet.buffer.close();
        let late = hand_over(&mut pipeline, &mut parked);
        assert_eq!([queued, waiting, late].map(|batch| batch.is_complete()), [false; 3]);
    }

    #[test]
    fn a_frame_may_hold_line_breaks() {
        let (mut pipeline, outlet) = pipeline(Ack::Durable);
        let mut slab = pipeline.pool().take(0);
        slab.extend(b"{\"type\":\n\"a\"}\n{\"type\":\"b\"}\n");
        pipeline.frames(slab, [0..13, 14..26], None, &mut Vec::new());
        let mut work = Vec::new();
        outlet.buffer.begin(usize::MAX, &mut work, Waker::noop());
        let types: Vec<&[u8]> =
            (0..2).map(|position| &work[0].message(position).unwrap().bytes[..12]).collect();
        assert_eq!(types, [b"{\"type\": \"a\"", b"{\"type\":\"b\","]);
    }
}
