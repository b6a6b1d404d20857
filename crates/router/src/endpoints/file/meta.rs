//! The original router's meta messages: an application tells a file endpoint to close its files, and to open them again,
//! around a rotation of its own. A message is one by its `fields.meta`, and only where its input allows it.

use metlog_message::{Path, lookup};

use crate::{batch::Message, endpoints::Work};

/// What a meta message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Write what came before, close all files, and write nothing more until told to.
    Close,
    /// Open files anew and go on.
    Open,
}

impl Order {
    /// For the log.
    pub fn word(self) -> &'static str {
        match self {
            Order::Close => "close its files",
            Order::Open => "open its files",
        }
    }
}

/// Finds meta messages.
#[derive(Debug)]
pub struct Meta {
    path: Option<Path>,
}

impl Meta {
    /// Looks for `fields.meta`.
    pub fn new() -> Meta {
        Meta { path: Path::parse("fields.meta").ok() }
    }

    /// What this message asks for, if its input may.
    pub fn order(&self, message: &Message<'_>) -> Option<Order> {
        if !message.allows_meta {
            return None;
        }
        let found = lookup(message.bytes, message.index, self.path.as_ref()?)?;
        match &*found.text() {
            "metlog::file::close" => Some(Order::Close),
            "metlog::file::open" => Some(Order::Open),
            _ => None,
        }
    }

    /// Whether files are to be opened again behind the first `skipped` messages.
    pub fn opens_behind(&self, work: &Work, skipped: usize) -> bool {
        work.messages().skip(skipped).any(|message| self.order(&message) == Some(Order::Open))
    }
}
