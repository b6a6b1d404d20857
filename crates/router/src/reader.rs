//! Reader threads: an event loop each, in which bytes are read, decoded, routed and handed over.
//!
//! A source whose batch did not fit into a full buffer is parked: it is not read until the buffer has room, and its thread
//! goes on with the others. New connections are spread over the threads in turn.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{Events, Poll, Token};

use crate::{
    clock::Clock,
    inputs::{Flow, Progress, Source},
    moderation,
    pipeline::{Parked, Pipeline},
};

const MAILBOX: Token = Token(usize::MAX);

/// When to try a stalled source again.
const STALLED_WAIT: Duration = Duration::from_millis(100);

/// What a reader thread can be told.
#[derive(Debug)]
enum Note {
    /// Read this from now on, for the input with this number.
    Adopt(Box<dyn Source>, usize),
    /// It is worth trying the source with this number again.
    Resume(usize),
    /// Accept nothing more, read what the kernel holds until this moment, then end.
    Stop(Duration),
}

#[derive(Debug)]
struct Mailbox {
    /// `None` once the thread has ended.
    notes: Mutex<Option<Vec<Note>>>,
    waker: mio::Waker,
}

impl Mailbox {
    /// Leaves a note, or gives it back if the thread has ended.
    fn post(&self, note: Note) -> Result<(), Note> {
        let mut mailbox = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notes) = &mut *mailbox else { return Err(note) };
        notes.push(note);
        let first = notes.len() == 1;
        drop(mailbox);
        if first && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a reader thread");
        }
        Ok(())
    }

    fn take(&self) -> Vec<Note> {
        let mut mailbox = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        mailbox.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes no more notes, unless there are some that were not read yet; returns whether that is so now.
    fn close_if_empty(&self) -> bool {
        let mut mailbox = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_empty = mailbox.as_ref().is_none_or(Vec::is_empty);
        if is_empty {
            *mailbox = None;
        }
        is_empty
    }
}

/// Posts [`Note::Resume`] for one source.
#[derive(Debug)]
struct Resume {
    mailbox: Arc<Mailbox>,
    number: usize,
}

impl Wake for Resume {
    fn wake(self: Arc<Self>) {
        // A thread that has ended needs no waking.
        let _ = self.mailbox.post(Note::Resume(self.number));
    }
}

/// All reader threads.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    mailboxes: Vec<Arc<Mailbox>>,
    next: AtomicUsize,
    /// Sources that exist, on any thread; and one more until [`Readers::all_adopted`].
    sources: AtomicUsize,
    /// Rings when there are none left: every input has ended by itself.
    all_ended: Waker,
}

impl Shared {
    /// Gives the source to the thread whose turn it is, or gives it back if that thread has ended.
    fn adopt(&self, source: Box<dyn Source>, input: usize) -> Result<(), Box<dyn Source>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(mailbox) = self.mailboxes.get(turn % self.mailboxes.len()) else { return Err(source) };
        self.sources.fetch_add(1, Ordering::AcqRel);
        match mailbox.post(Note::Adopt(source, input)) {
            Err(Note::Adopt(source, _)) => {
                self.sources.fetch_sub(1, Ordering::AcqRel);
                Err(source)
            }
            _ => Ok(()),
        }
    }

    /// One source less; whether it was the last.
    fn is_last(&self) -> bool {
        self.sources.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Readers {
    /// Starts `threads` reader threads. `pipelines` makes one thread's pipelines, one for each input, in the inputs' order.
    /// `all_ended` rings when the last source has ended by itself.
    pub fn start(
        threads: usize,
        clock: &Arc<dyn Clock>,
        all_ended: Waker,
        pipelines: impl Fn() -> Vec<Pipeline>,
    ) -> io::Result<Readers> {
        let polls = (0..threads).map(|_| Poll::new()).collect::<io::Result<Vec<Poll>>>()?;
        let mailboxes = polls
            .iter()
            .map(|poll| {
                let waker = mio::Waker::new(poll.registry(), MAILBOX)?;
                Ok(Arc::new(Mailbox { notes: Mutex::new(Some(Vec::new())), waker }))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared {
            mailboxes: mailboxes.clone(),
            next: AtomicUsize::new(0),
            sources: AtomicUsize::new(1),
            all_ended,
        });
        let threads = polls
            .into_iter()
            .zip(mailboxes)
            .enumerate()
            .map(|(number, (poll, mailbox))| {
                let reader = Reader {
                    poll,
                    mailbox,
                    shared: shared.clone(),
                    pipelines: pipelines(),
                    clock: clock.clone(),
                    slots: Vec::new(),
                    ready: VecDeque::new(),
                    stalled: Vec::new(),
                    try_stalled_at: Duration::ZERO,
                    stop_by: None,
                };
                thread::Builder::new().name(format!("reader-{number}")).spawn(move || reader.run())
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Readers { shared, threads })
    }

    /// Reads `source` from now on, for the input with this number, on the thread whose turn it is.
    pub fn adopt(&self, source: Box<dyn Source>, input: usize) {
        if self.shared.adopt(source, input).is_err() {
            tracing::error!("a reader thread has ended too early; one of its sockets is closed");
        }
    }

    /// Every input's sources are here. Before, an input that ends at once is not taken for the last one.
    pub fn all_adopted(&self) {
        if self.shared.is_last() {
            self.shared.all_ended.wake_by_ref();
        }
    }

    /// Accepts nothing more, reads what the kernel holds until `deadline` on the monotonic clock, and ends the threads.
    pub fn stop(self, deadline: Duration) {
        for mailbox in &self.shared.mailboxes {
            // A thread that has ended needs no stopping.
            let _ = mailbox.post(Note::Stop(deadline));
        }
        for thread in self.threads {
            if thread.join().is_err() {
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
    pipelines: Vec<Pipeline>,
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
                let moment = self.stop_by.into_iter().chain(try_stalled_at).min();
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
                if event.token() == MAILBOX {
                    self.read_notes();
                } else {
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
            // Each source once, then a look at who else has something: nobody starves.
            for _ in 0..self.ready.len() {
                if let Some(number) = self.ready.pop_front() {
                    self.read(number);
                }
            }
            let taken = self.pipelines.iter_mut().map(Pipeline::take_taken_bytes).sum();
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

    fn read_notes(&mut self) {
        for note in self.mailbox.take() {
            match note {
                Note::Adopt(source, input) => self.adopt(source, input),
                Note::Resume(number) => self.make_ready(number),
                Note::Stop(deadline) => {
                    self.stop_by = Some(deadline);
                    self.slots.iter_mut().flatten().for_each(|slot| slot.source.stop());
                    (0..self.slots.len()).for_each(|number| self.make_ready(number));
                }
            }
        }
    }

    fn adopt(&mut self, mut source: Box<dyn Source>, input: usize) {
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
        if self.stop_by.is_some() {
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
        let Some(Some(slot)) = self.slots.get_mut(number) else { return };
        slot.is_ready = false;
        let Some(pipeline) = self.pipelines.get_mut(slot.input) else { return };
        if !slot.parked.is_empty() {
            pipeline.unpark(&slot.waker, &mut slot.parked);
            if !slot.parked.is_empty() {
                return;
            }
        }
        let mut accepted = Vec::new();
        let mut flow =
            Flow { pipeline, waker: &slot.waker, parked: &mut slot.parked, accepted: &mut accepted };
        let mut progress = slot.source.read(&mut flow);
        if progress == Progress::Drained && self.stop_by.is_some() {
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
            // When the router stops, the other threads may be gone already.
            let mine =
                if self.stop_by.is_some() { Some(source) } else { self.shared.adopt(source, input).err() };
            if let Some(source) = mine {
                self.shared.sources.fetch_add(1, Ordering::AcqRel);
                self.adopt(source, input);
            }
        }
    }

    fn ended(&self, source: Box<dyn Source>) {
        drop(source);
        if self.shared.is_last() && self.stop_by.is_none() {
            self.shared.all_ended.wake_by_ref();
        }
    }

    /// The deadline has passed, or nothing is left: what is still parked is counted as dropped.
    fn give_up_rest(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            if let Some(pipeline) = self.pipelines.get(slot.input) {
                pipeline.abandon(&mut slot.parked);
            }
        }
    }
}
