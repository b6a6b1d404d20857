//! One lane: what waits in it, and when it may go on.

use std::{collections::VecDeque, time::Duration};

use metlog_buffer::{Buffer, Charge, Ticket};

use crate::{batch::Handover, endpoints::Work, ledger::Failure, retry::Retry};

/// What a lane is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing waits in it, and nothing is in the way.
    Idle,
    /// Its next messages can be delivered.
    Ready,
    /// A delivery is under way.
    Delivering,
    /// Not before this moment, whether or not something waits in it.
    Waiting(Duration),
}

/// Messages of one hand-over that go in this lane.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) ticket: Ticket,
    pub(super) handover: Handover,
    /// Where its messages stood in the hand-over that it is a part of.
    pub(super) positions: Vec<u32>,
    /// How many of its messages were answered for.
    pub(super) cursor: usize,
}

impl Piece {
    pub(super) fn messages(&self) -> usize {
        self.handover.len() - self.cursor
    }

    /// What is not settled: where each message stood, and where it is now.
    pub(super) fn rest(&self) -> impl Iterator<Item = (u32, &Handover, usize)> {
        let places = self.positions.iter().zip(0..).skip(self.cursor);
        places.map(|(&position, index)| (position, &self.handover, index))
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) state: State,
    pub(super) retry: Retry,
    /// The peer itself asked for the wait.
    pub(super) peer_asked: bool,
    /// What went wrong last, as long as nothing was delivered since.
    pub(super) failure: Option<Failure>,
    /// What it was told to wait for. No failure as long as that holds nothing up.
    pub(super) told: Option<String>,
    pub(super) last_used: Duration,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Lane {
    pub(super) fn new(seed: u64) -> Self {
        Lane {
            state: State::Idle,
            retry: Retry::new(seed),
            peer_asked: false,
            failure: None,
            told: None,
            last_used: Duration::ZERO,
            pieces: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// Appends a piece, unless the lane then held more than `limit_bytes`; a lane that holds nothing takes any piece.
    pub(super) fn push(&mut self, piece: Piece, limit_bytes: Option<usize>) -> Result<(), Piece> {
        let bytes = piece.handover.charged_bytes();
        if !self.pieces.is_empty() && limit_bytes.is_some_and(|limit| self.bytes + bytes > limit) {
            return Err(piece);
        }
        self.bytes += bytes;
        self.pieces.push_back(piece);
        Ok(())
    }

    /// What to deliver next: the rest of the oldest piece.
    pub(super) fn work(&self) -> Work {
        match self.pieces.front() {
            Some(piece) => Work::new(vec![piece.handover.clone()], piece.cursor),
            None => Work::default(),
        }
    }

    /// The first `messages` are done with; no more than what [`work`](Self::work) gave. Returns how many these were.
    pub(super) fn settle(&mut self, messages: usize, buffer: &Buffer<Handover>) -> usize {
        let Some(piece) = self.pieces.front_mut() else { return 0 };
        debug_assert!(messages <= piece.messages(), "an answer is for what was handed out");
        let messages = messages.min(piece.messages());
        piece.cursor += messages;
        if piece.messages() > 0 {
            buffer.release(piece.ticket, messages, 0);
        } else if let Some(piece) = self.pieces.pop_front() {
            let bytes = piece.handover.charged_bytes();
            self.bytes -= bytes;
            buffer.release(piece.ticket, messages, bytes);
        }
        messages
    }
}
