//! Reader threads: an event loop each, in which bytes are read, decoded, routed and handed over.
//!
//! A source whose batch did not fit into a full buffer is parked: it is not read until the buffer has room, and its thread
//! goes on with the others. New connections are spread over the threads in turn.

mod mailbox;
mod retirement;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{Events, Poll, Token};

use self::mailbox::{Adopted, Mailbox, Note, Resume};
pub use self::retirement::{Retired, Retirement, Scope};
use crate::{
    clock::Clock,
    inputs::{Flow, Progress, Source},
    latch::Latch,
    ledger::DropReason,
    moderation,
    pipeline::{Origin, Outlets, Parked, Pipeline},
};

const MAILBOX: Token = Token(usize::MAX);

/// When to try a stalled source again.
const STALLED_WAIT: Duration = Duration::from_millis(100);

/// How long after its deadline a thread may still be busy with its last read.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// All reader threads.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    /// Opens when every thread has ended.
    ended: Arc<Latch>,
}

/// Counts down when its thread ends, also by a panic.
struct Ending(Arc<Latch>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.count_down();
    }
}

#[derive(Debug)]
struct Shared {
    mailboxes: Vec<Arc<Mailbox>>,
    next: AtomicUsize,
    /// Sources that exist, on any thread; and one more while [`Readers::hold`] holds.
    sources: AtomicUsize,
    /// Rings when there are none left: every input has ended by itself.
    all_ended: Waker,
}

impl Shared {
    /// Gives the source to the thread whose turn it is, or gives it back if that thread has ended.
    fn adopt(&self, adopted: Adopted) -> Result<(), Adopted> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(mailbox) = self.mailboxes.get(turn % self.mailboxes.len()) else { return Err(adopted) };
        self.sources.fetch_add(1, Ordering::AcqRel);
        match mailbox.post(Note::Adopt(adopted)) {
            Err(Note::Adopt(adopted)) => {
                self.sources.fetch_sub(1, Ordering::AcqRel);
                Err(adopted)
            }
            _ => Ok(()),
        }
    }

    /// One source less; whether it was the last.
    fn is_last(&self) -> bool {
        self.sources.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// One thread has heard of the retirement; the last one has the others look whether it is over.
    fn hear(&self, retirement: &Retirement) {
        if retirement.hear() {
            for mailbox in &self.mailboxes {
                // A thread that has ended has nothing to look at.
                let _ = mailbox.post(Note::Look);
            }
        }
    }
}

impl Readers {
    /// Starts `threads` reader threads, which serve no input yet. `all_ended` rings when the last source has ended by
    /// itself, unless [`Readers::hold`] holds.
    pub fn start(threads: usize, clock: &Arc<dyn Clock>, all_ended: Waker) -> io::Result<Readers> {
        let polls = (0..threads).map(|_| Poll::new()).collect::<io::Result<Vec<Poll>>>()?;
        let mailboxes = polls
            .iter()
            .map(|poll| {
                let waker = mio::Waker::new(poll.registry(), MAILBOX)?;
                Ok(Arc::new(Mailbox::new(waker)))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared {
            mailboxes: mailboxes.clone(),
            next: AtomicUsize::new(0),
            sources: AtomicUsize::new(0),
            all_ended,
        });
        let ended = Arc::new(Latch::new(threads));
        let threads = polls
            .into_iter()
            .zip(mailboxes)
            .enumerate()
            .map(|(number, (poll, mailbox))| {
                let reader = Reader {
                    poll,
                    mailbox,
                    shared: shared.clone(),
                    pipelines: Vec::new(),
                    retiring: Vec::new(),
                    clock: clock.clone(),
                    slots: Vec::new(),
                    ready: VecDeque::new(),
                    stalled: Vec::new(),
                    try_stalled_at: Duration::ZERO,
                    stop_by: None,
                };
                let ending = Ending(ended.clone());
                thread::Builder::new().name(format!("reader-{number}")).spawn(move || {
                    let _ending = ending;
                    reader.run();
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Readers { shared, threads, clock: clock.clone(), ended })
    }

    /// Serves the input with this number from now on, on each thread with a pipeline of its own. What was read for this number
    /// before was decoded by the pipeline before.
    pub fn serve(&self, input: usize, pipeline: impl Fn() -> Pipeline) {
        for mailbox in &self.shared.mailboxes {
            let _ = mailbox.post(Note::Serve(input, Box::new(pipeline())));
        }
    }

    /// Reads `source` from now on, for the input with this number, on the thread whose turn it is.
    pub fn adopt(&self, source: Box<dyn Source>, input: usize) {
        if self.shared.adopt(Adopted { source, input }).is_err() {
            tracing::error!("a reader thread has ended too early; one of its sockets is closed");
        }
    }

    /// Has every thread route by `outlets` from its next batch on. The latch opens when all of them do.
    pub fn route_by(&self, outlets: &Arc<Outlets>) -> Arc<Latch> {
        let latch = Arc::new(Latch::new(self.shared.mailboxes.len()));
        for mailbox in &self.shared.mailboxes {
            if mailbox.post(Note::Route(outlets.clone(), latch.clone())).is_err() {
                latch.count_down();
            }
        }
        latch
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.shared.mailboxes.len()
    }

    /// Has every thread count the latch down between two batches; a thread that hangs, or has ended, does not.
    pub fn answer(&self, latch: &Arc<Latch>) {
        for mailbox in &self.shared.mailboxes {
            let _ = mailbox.post(Note::Answer(latch.clone()));
        }
    }

    /// Closes an input, or its sockets: accepts nothing more, reads what the kernel holds until the deadline.
    pub fn retire(&self, retired: Retired) -> Arc<Retirement> {
        let retirement = Arc::new(Retirement::new(retired, self.shared.mailboxes.len()));
        for mailbox in &self.shared.mailboxes {
            if mailbox.post(Note::Retire(retirement.clone())).is_err() {
                self.shared.hear(&retirement);
                retirement.end_on_one();
            }
        }
        retirement
    }

    /// Whether there is anything to read. When the last source ends, `all_ended` rings (again).
    pub fn have_sources(&self) -> bool {
        self.shared.sources.load(Ordering::Acquire) > 0
    }

    /// Until [`Readers::release`], an input that ends is not taken for the last one: others are to come.
    pub fn hold(&self) {
        self.shared.sources.fetch_add(1, Ordering::AcqRel);
    }

    /// Every input's sources are here.
    pub fn release(&self) {
        if self.shared.is_last() {
            self.shared.all_ended.wake_by_ref();
        }
    }

    /// Accepts nothing more, reads what the kernel holds until `deadline` on the monotonic clock, and ends the threads. One that
    /// hangs in a read (a file on a server that does not answer) is left behind: it must not hold up the router's end.
    pub fn stop(self, deadline: Duration) {
        for mailbox in &self.shared.mailboxes {
            // A thread that has ended needs no stopping.
            let _ = mailbox.post(Note::Stop(deadline));
        }
        let longest = deadline.saturating_sub(self.clock.monotonic()) + STOP_GRACE;
        let have_all_ended = self.ended.wait(longest);
        for thread in self.threads {
            if !have_all_ended && !thread.is_finished() {
                let name = thread.thread().name().unwrap_or_default();
                tracing::error!(
                    name,
                    "a reader thread hangs in a read and is left behind; what it held is not counted"
                );
            } else if thread.join().is_err() {
                tracing::error!("a reader thread has panicked");
            }
        }
    }
}

/// One source on its thread.
#[derive(Debug)]
struct Slot {
    source: Box<dyn Source>,
    input: usize,
    waker: Waker,
    parked: Vec<Parked>,
    /// It stands in the queue of sources to be read.
    is_ready: bool,
    /// It cannot be watched, because it is always ready: a file.
    is_always_ready: bool,
    /// The other side has closed it. There will be no further event, so it is read to its end.
    is_closed: bool,
}

#[derive(Debug)]
struct Reader {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    /// By input number.
    pipelines: Vec<Option<Pipeline>>,
    /// Inputs that are being closed.
    retiring: Vec<Arc<Retirement>>,
    clock: Arc<dyn Clock>,
    /// By token. A number is used again only after its source has ended; a late ring for it does no harm.
    slots: Vec<Option<Slot>>,
    /// Sources to be read, each once.
    ready: VecDeque<usize>,
    /// Sources that no event will make ready, and when to try them again.
    stalled: Vec<usize>,
    try_stalled_at: Duration,
    stop_by: Option<Duration>,
}

impl Reader {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let asked = self.clock.monotonic();
            let timeout = if self.ready.is_empty() {
                let try_stalled_at = (!self.stalled.is_empty()).then_some(self.try_stalled_at);
                let retire_at = self.retiring.iter().map(|retirement| retirement.deadline).min();
                let moment = self.stop_by.into_iter().chain(try_stalled_at).chain(retire_at).min();
                moment.map(|moment| moment.saturating_sub(asked))
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "a reader thread cannot wait for its sockets and ends");
                    return;
                }
            }
            let waited = self.clock.monotonic().saturating_sub(asked);
            for event in &events {
                // Notes are looked for below, whether or not this is what woke it.
                if event.token() != MAILBOX {
                    let number = event.token().0;
                    if event.is_read_closed()
                        && let Some(Some(slot)) = self.slots.get_mut(number)
                    {
                        slot.is_closed = true;
                    }
                    self.make_ready(number);
                }
            }
            if !self.stalled.is_empty() && self.clock.monotonic() >= self.try_stalled_at {
                std::mem::take(&mut self.stalled).into_iter().for_each(|number| self.make_ready(number));
            }
            self.read_notes();
            // Each source once, then a look at who else has something: nobody starves.
            for _ in 0..self.ready.len() {
                self.read_notes();
                if let Some(number) = self.ready.pop_front() {
                    self.read(number);
                }
            }
            self.end_retired();
            let taken = self.pipelines.iter_mut().flatten().map(Pipeline::take_taken_bytes).sum();
            if self.ready.is_empty()
                && taken > 0
                && self.stop_by.is_none()
                && let Some(pause) = moderation::pause(waited, taken)
            {
                thread::sleep(pause);
            }
            let Some(deadline) = self.stop_by else { continue };
            if self.clock.monotonic() >= deadline {
                self.give_up_rest();
                return;
            }
            // Another thread may have left a connection that it accepted before it heard of the end.
            if self.slots.iter().all(Option::is_none) && self.mailbox.close_if_empty() {
                return;
            }
        }
    }

    /// One glance where there are none, so that it can be done between any two sources.
    fn read_notes(&mut self) {
        if !self.mailbox.has_notes() {
            return;
        }
        for note in self.mailbox.take() {
            match note {
                Note::Serve(input, pipeline) => {
                    if self.pipelines.len() <= input {
                        self.pipelines.resize_with(input + 1, || None);
                    }
                    self.pipelines[input] = Some(*pipeline);
                }
                Note::Adopt(adopted) => self.adopt(adopted),
                Note::Resume(number) => self.make_ready(number),
                Note::Route(outlets, latch) => {
                    for pipeline in self.pipelines.iter_mut().flatten() {
                        pipeline.route_by(outlets.clone());
                    }
                    latch.count_down();
                }
                Note::Answer(latch) => latch.count_down(),
                Note::Retire(retirement) => self.retire(retirement),
                Note::Look => {}
                Note::Stop(deadline) => {
                    self.stop_by = Some(deadline);
                    self.slots.iter_mut().flatten().for_each(|slot| slot.source.stop());
                    (0..self.slots.len()).for_each(|number| self.make_ready(number));
                }
            }
        }
    }

    fn retire(&mut self, retirement: Arc<Retirement>) {
        for number in 0..self.slots.len() {
            let Some(Some(slot)) = self.slots.get_mut(number) else { continue };
            if !retirement.ends(slot.input, &*slot.source) {
                continue;
            }
            if retirement.hands_over(&*slot.source) {
                self.give_up(number);
            } else {
                slot.source.stop();
                self.make_ready(number);
            }
        }
        self.shared.hear(&retirement);
        self.retiring.push(retirement);
    }

    /// Ends what is left of inputs whose deadline has passed, and forgets those of which nothing is left.
    fn end_retired(&mut self) {
        if self.retiring.is_empty() {
            return;
        }
        let now = self.clock.monotonic();
        for retirement in std::mem::take(&mut self.retiring) {
            let is_of_it = |slot: &Option<Slot>| {
                slot.as_ref().is_some_and(|slot| retirement.ends(slot.input, &*slot.source))
            };
            if now >= retirement.deadline {
                (0..self.slots.len())
                    .filter(|number| is_of_it(&self.slots[*number]))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|number| self.give_up(number));
            }
            // Once all threads know of it none sends a connection any more, and what was sent lies in the mailbox.
            let is_over = retirement.is_known_to_all() && !self.mailbox.has_notes();
            if is_over && !self.slots.iter().any(is_of_it) {
                if retirement.scope == Scope::Whole
                    && let Some(pipeline) = self.pipelines.get_mut(retirement.input)
                {
                    *pipeline = None;
                }
                retirement.end_on_one();
            } else {
                self.retiring.push(retirement);
            }
        }
    }

    /// Closes a source of an input that is being closed. What it has parked is counted as dropped.
    fn give_up(&mut self, number: usize) {
        if let Some(mut slot) = self.slots.get_mut(number).and_then(Option::take) {
            if let Some(Some(pipeline)) = self.pipelines.get(slot.input) {
                pipeline.abandon(&mut slot.parked, DropReason::Removed);
            }
            self.ended(slot.source);
        }
    }

    /// Whether what the kernel holds is all that is still read from this source of an input.
    fn is_ending(&self, input: usize, source: &dyn Source) -> bool {
        self.stop_by.is_some() || self.retiring.iter().any(|retirement| retirement.ends(input, source))
    }

    fn adopt(&mut self, adopted: Adopted) {
        let Adopted { mut source, input } = adopted;
        let number = match self.slots.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        let is_always_ready = match source.register(self.poll.registry(), Token(number)) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => true,
            Err(error) => {
                tracing::error!(%error, "cannot watch a socket; it is closed");
                self.ended(source);
                return;
            }
        };
        if self.is_ending(input, &*source) {
            source.stop();
        }
        let waker = Arc::new(Resume { mailbox: self.mailbox.clone(), number }).into();
        let slot = Slot {
            source,
            input,
            waker,
            parked: Vec::new(),
            is_ready: false,
            is_always_ready,
            is_closed: false,
        };
        self.slots[number] = Some(slot);
        // What arrived before the socket was watched rings no bell.
        self.make_ready(number);
    }

    fn make_ready(&mut self, number: usize) {
        if let Some(Some(slot)) = self.slots.get_mut(number)
            && !std::mem::replace(&mut slot.is_ready, true)
        {
            self.ready.push_back(number);
        }
    }

    fn read(&mut self, number: usize) {
        let Some(Some(slot)) = self.slots.get(number) else { return };
        let is_ending = self.is_ending(slot.input, &*slot.source);
        let Some(Some(slot)) = self.slots.get_mut(number) else { return };
        slot.is_ready = false;
        let Some(Some(pipeline)) = self.pipelines.get_mut(slot.input) else { return };
        if !slot.parked.is_empty() {
            pipeline.unpark(&slot.waker, &mut slot.parked);
            if !slot.parked.is_empty() {
                return;
            }
        }
        pipeline.reads_from(slot.source.peer().map_or(Origin::Unknown, Origin::Peer));
        let mut accepted = Vec::new();
        let mut flow =
            Flow { pipeline, waker: &slot.waker, parked: &mut slot.parked, accepted: &mut accepted };
        let mut progress = slot.source.read(&mut flow);
        if progress == Progress::Drained && is_ending {
            slot.source.finish(&mut flow);
            progress = Progress::Ended;
        }
        let input = slot.input;
        let is_parked = !slot.parked.is_empty();
        let is_told = !slot.is_always_ready && !slot.is_closed;
        let again = progress == Progress::More || (progress == Progress::Drained && !is_told);
        if progress == Progress::Ended && !is_parked {
            if let Some(slot) = self.slots[number].take() {
                self.ended(slot.source);
            }
        } else if is_parked {
            // The buffer's waker will make it ready; an ended source then says so again.
        } else if again {
            self.make_ready(number);
        } else if progress == Progress::Stalled {
            if self.stalled.is_empty() {
                // Whoever stalls later is tried again with the first; it must not put the first off.
                self.try_stalled_at = self.clock.monotonic() + STALLED_WAIT;
            }
            self.stalled.push(number);
        }
        for source in accepted {
            // When the router stops, or the input is closed, the other threads may be done with it already.
            let is_ending = self.is_ending(input, &*source);
            let adopted = Adopted { source, input };
            let mine = if is_ending { Some(adopted) } else { self.shared.adopt(adopted).err() };
            if let Some(adopted) = mine {
                self.shared.sources.fetch_add(1, Ordering::AcqRel);
                self.adopt(adopted);
            }
        }
    }

    fn ended(&self, mut source: Box<dyn Source>) {
        if let Err(error) = source.deregister(self.poll.registry()) {
            tracing::debug!(%error, "a socket was not watched any more");
        }
        drop(source);
        if self.shared.is_last() && self.stop_by.is_none() {
            self.shared.all_ended.wake_by_ref();
        }
    }

    /// The deadline has passed, or nothing is left: what is still parked is counted as dropped.
    fn give_up_rest(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            if let Some(Some(pipeline)) = self.pipelines.get(slot.input) {
                pipeline.abandon(&mut slot.parked, DropReason::Shutdown);
            }
        }
    }
}
