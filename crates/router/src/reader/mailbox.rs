//! How a reader thread is spoken to: notes in a mailbox, and a ring.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
    time::Duration,
};

use super::retirement::Retirement;
use crate::{
    inputs::Source,
    latch::Latch,
    pipeline::{Outlets, Pipeline},
};

/// What a reader thread can be told. Notes are read in the order in which they were posted, between two batches.
#[derive(Debug)]
pub(super) enum Note {
    /// This pipeline serves the input with this number from now on.
    Serve(usize, Box<Pipeline>),
    /// Read this from now on.
    Adopt(Adopted),
    /// It is worth trying the source with this number again.
    Resume(usize),
    /// Route by these from now on, and say so.
    Route(Arc<Outlets>, Arc<Latch>),
    /// Say that the thread still works.
    Answer(Arc<Latch>),
    /// The input is closed; see [`Retirement`].
    Retire(Arc<Retirement>),
    /// Every thread knows of a retirement: look whether it is over.
    Look,
    /// Accept nothing more, read what the kernel holds until this moment, then end.
    Stop(Duration),
}

/// A source on its way to its thread.
#[derive(Debug)]
pub(super) struct Adopted {
    pub source: Box<dyn Source>,
    /// The number of its input.
    pub input: usize,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    /// `None` once the thread has ended.
    notes: Mutex<Option<Vec<Note>>>,
    /// Whether there are any, for a glance without the lock.
    has_notes: AtomicBool,
    waker: mio::Waker,
}

impl Mailbox {
    pub fn new(waker: mio::Waker) -> Self {
        Mailbox { notes: Mutex::new(Some(Vec::new())), has_notes: AtomicBool::new(false), waker }
    }

    /// Leaves a note, or gives it back if the thread has ended.
    pub fn post(&self, note: Note) -> Result<(), Note> {
        let mut mailbox = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(notes) = &mut *mailbox else { return Err(note) };
        notes.push(note);
        let first = notes.len() == 1;
        self.has_notes.store(true, Ordering::Release);
        drop(mailbox);
        if first && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a reader thread");
        }
        Ok(())
    }

    /// Whether there is something to take.
    pub fn has_notes(&self) -> bool {
        self.has_notes.load(Ordering::Acquire)
    }

    pub fn take(&self) -> Vec<Note> {
        let mut mailbox = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_notes.store(false, Ordering::Release);
        mailbox.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes no more notes, unless there are some that were not read yet; returns whether that is so now.
    pub fn close_if_empty(&self) -> bool {
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
pub(super) struct Resume {
    pub mailbox: Arc<Mailbox>,
    pub number: usize,
}

impl Wake for Resume {
    fn wake(self: Arc<Self>) {
        // A thread that has ended needs no waking.
        let _ = self.mailbox.post(Note::Resume(self.number));
    }
}
