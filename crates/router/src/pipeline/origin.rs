//! Where what a pipeline takes comes from. Nobody asks, unless something of it is rejected.

use std::{net::SocketAddr, sync::Arc};

use crate::sys::SenderName;

/// Where the bytes of a read come from.
#[derive(Debug, Clone, Default)]
pub enum Origin {
    /// Nobody knows, or there is no more to say than the input's name.
    #[default]
    Unknown,
    /// Whoever is at the other end.
    Peer(SocketAddr),
    /// A file.
    File(Arc<str>),
}

/// Where one reject comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'o> {
    /// Nobody knows.
    Unknown,
    /// Whoever is at the other end.
    Peer(SocketAddr),
    /// A file.
    File(&'o str),
}

impl Origin {
    /// The same, as a reject tells it.
    pub fn place(&self) -> Place<'_> {
        match self {
            Origin::Unknown => Place::Unknown,
            Origin::Peer(address) => Place::Peer(*address),
            Origin::File(path) => Place::File(path),
        }
    }
}

/// Who sent what of a slab into which datagrams were gathered. One entry for each run of one sender's datagrams.
#[derive(Debug, Default)]
pub struct Senders {
    /// Where a run begins in the slab, ascending.
    runs: Vec<(usize, SenderName)>,
}

impl Senders {
    /// What follows from `begin` on is of this sender.
    #[inline]
    pub fn push(&mut self, begin: usize, sender: SenderName) {
        if self.runs.last().is_none_or(|(_, last)| *last != sender) {
            self.runs.push((begin, sender));
        }
    }

    /// Who sent what lies here.
    pub fn at(&self, position: usize) -> Place<'static> {
        let behind = self.runs.partition_point(|(begin, _)| *begin <= position);
        let run = behind.checked_sub(1).and_then(|last| self.runs.get(last));
        run.and_then(|(_, sender)| sender.address()).map_or(Place::Unknown, Place::Peer)
    }

    /// Nothing is known any more.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_of_datagrams_is_its_senders() {
        let one = SenderName::of(&"127.0.0.1:1".parse().unwrap());
        let other = SenderName::of(&"[::1]:2".parse().unwrap());
        let mut senders = Senders::default();
        assert_eq!(senders.at(0), Place::Unknown);
        for (begin, sender) in [(0, one), (10, one), (20, other), (30, one)] {
            senders.push(begin, sender);
        }
        assert_eq!(senders.runs.len(), 3);
        let ports = [0, 19, 20, 29, 30, 1000].map(|position| match senders.at(position) {
            Place::Peer(address) => address.port(),
            _ => 0,
        });
        assert_eq!(ports, [1, 1, 2, 2, 1, 1]);
    }
}
