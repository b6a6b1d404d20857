//! How a message is written into a datagram.

use metlog_message::msgpack;

/// What a receiver of datagrams is told that the bytes are.
const MSGPACK: &[u8] = b"\0msgpack::";

/// How messages are written into datagrams.
///
/// A message is encoded as JSON where it is made; anything else is made of that on the sending thread, so a call costs the
/// application the same.
///
/// ```
/// use metlog::senders::{Encoder, UdpSender};
///
/// let sender = UdpSender::new("127.0.0.1:5565")?.encoder(Encoder::Msgpack);
/// # Ok::<(), metlog::senders::AddressError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoder {
    /// JSON, which needs no decoder to be named.
    #[default]
    Json,
    /// msgpack, one message in each datagram, which begins with `\0msgpack::`. What msgpack cannot hold as it is (a whole
    /// number of more than 64 bits, half of a surrogate pair) goes as JSON, and so does what would only in msgpack be too
    /// large for a datagram.
    Msgpack,
}

impl Encoder {
    /// Every encoder's name in a configuration.
    pub(crate) const NAMES: [&str; 2] = ["json", "msgpack"];

    /// The encoder that has this name in a configuration.
    pub(crate) fn named(name: &str) -> Option<Encoder> {
        match name {
            "json" => Some(Encoder::Json),
            "msgpack" => Some(Encoder::Msgpack),
            _ => None,
        }
    }
}

/// Messages in msgpack, one after the other in memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Recoded {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Recoded {
    /// Takes these messages in place of those before. One that would be longer than `limit` in msgpack stays JSON.
    pub(crate) fn fill<'m>(&mut self, messages: impl Iterator<Item = &'m [u8]>, limit: usize) {
        self.bytes.clear();
        self.ends.clear();
        for message in messages {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(MSGPACK);
            let recoded = msgpack::from_json(message, &mut self.bytes);
            if !recoded || self.bytes.len() - start > limit {
                self.bytes.truncate(start);
                self.bytes.extend_from_slice(message);
            }
            self.ends.push(self.bytes.len());
        }
    }

    /// What goes into a datagram for each message.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_says_that_it_is_msgpack_unless_it_has_to_stay_json() {
        let mut recoded = Recoded::default();
        recoded.fill([b"{\"a\":1}".as_slice(), b"{\"a\":99999999999999999999}", b"{}"].into_iter(), 50);
        let datagrams: Vec<&[u8]> = recoded.datagrams().collect();
        assert_eq!(
            datagrams,
            [b"\0msgpack::\x81\xa1a\x01".as_slice(), b"{\"a\":99999999999999999999}", b"\0msgpack::\x80"]
        );
        recoded.fill([b"[1.5,1.5]".as_slice()].into_iter(), 20);
        assert_eq!(recoded.datagrams().collect::<Vec<_>>(), [b"[1.5,1.5]".as_slice()]);
        recoded.fill(std::iter::empty(), 50);
        assert_eq!(recoded.datagrams().count(), 0);
    }
}
