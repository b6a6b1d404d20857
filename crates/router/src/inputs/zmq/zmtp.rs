//! ZMTP, the protocol between ZeroMQ sockets, as far as a subscriber and a responder speak it: a state machine that gets bytes
//! and does no I/O.
//!
//! The first bytes of each side say which version it speaks, and the lower one counts. 3.x is today's, 2.0 that of ZeroMQ 3,
//! 1.0 that of ZeroMQ 2. They are described at <https://rfc.zeromq.org> as 23, 15 and 13. Of 3.x only the mechanism NULL is
//! spoken: no passwords, no encryption.
//!
//! A length that a peer declares is a number and nothing else here: whoever holds the bytes decides what to do about it.

/// What this end of a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// SUB: takes messages that begin with one of these topics. The publisher compares, if it is of ZeroMQ 3 or newer.
    Subscriber(Vec<Vec<u8>>),
    /// REP: takes questions.
    Responder,
}

/// Why a peer cannot be spoken with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Its bytes are none of ZMTP.
    #[error("it does not speak ZeroMQ's protocol")]
    Nonsense,
    /// It wants to encrypt, or to be authenticated.
    #[error("it uses the mechanism {0:?}, and only NULL is spoken here")]
    Mechanism(String),
    /// The two sockets do not fit together.
    #[error("it is a socket of type {found:?}, and only {expected} fits here")]
    SocketType {
        /// What it says that it is.
        found: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// It says itself that something is wrong.
    #[error("it reports an error: {0:?}")]
    Reported(String),
}

/// One peer, from its first byte on.
#[derive(Debug)]
pub struct Peer {
    role: Role,
    state: State,
}

/// What is expected of the peer next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A byte that tells versions from 2.0 on from 1.0, and nine that follow it.
    Signature,
    Revision,
    /// 2.0: what kind of socket it is, in one byte.
    SocketType,
    /// 1.0 and 2.0: a frame with a name that it may have given itself.
    Identity(Version),
    /// 3.x: the rest of its greeting.
    Greeting,
    /// 3.x: the command READY.
    Ready,
    /// Messages.
    Traffic(Version),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
    V3,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How long the head is.
    pub bytes: usize,
    /// How long the body is said to be.
    pub body_bytes: u64,
    /// More frames of the same message follow.
    pub has_more: bool,
    /// It is part of the protocol, not of a message.
    pub is_command: bool,
}

/// What both sides begin with. To ZeroMQ 2 it is a frame without content.
pub const SIGNATURE: [u8; 10] = [0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F];

/// 3.0: a subscription is a message in it and in 2.0 alike.
const REVISION: u8 = 3;
/// What follows the revision: minor version, mechanism, whether it is the server of the mechanism, filling.
const GREETING_BYTES: usize = 1 + MECHANISM_BYTES + 1 + 31;
const MECHANISM_BYTES: usize = 20;
const NULL: &[u8; MECHANISM_BYTES] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A longer command makes no sense: what READY carries are a few names.
const LONGEST_COMMAND_BYTES: u64 = 8192;
const LONGEST_IDENTITY_BYTES: u64 = 255;

impl Peer {
    /// A peer of which nothing is known. It is to be sent [`SIGNATURE`].
    pub fn new(role: Role) -> Peer {
        Peer { role, state: State::Signature }
    }

    /// Whether its messages follow; before that, [`Peer::greet`] takes its bytes.
    pub fn is_greeted(&self) -> bool {
        matches!(self.state, State::Traffic(_))
    }

    /// What this end is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Takes what it can of the bytes with which the connection begins, and says how many; `None` if more are needed. What the
    /// peer is to be sent is appended to `out`.
    pub fn greet(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Violation> {
        Ok(match self.state {
            State::Signature => match (bytes.first(), bytes.get(9)) {
                (Some(0xFF), None) | (None, _) => None,
                (Some(0xFF), Some(last)) if last & 1 == 1 => {
                    out.push(REVISION);
                    self.state = State::Revision;
                    Some(SIGNATURE.len())
                }
                _ => {
                    self.state = State::Identity(Version::V1);
                    Some(0)
                }
            },
            State::Revision => match bytes.first() {
                None => None,
                Some(0) => return Err(Violation::Nonsense),
                Some(1 | 2) => {
                    // This end's type, and no name.
                    out.extend_from_slice(&[if self.role == Role::Responder { 4 } else { 2 }, 0, 0]);
                    self.state = State::SocketType;
                    Some(1)
                }
                Some(_) => {
                    out.push(0);
                    out.extend_from_slice(NULL);
                    out.resize(out.len() + GREETING_BYTES - 1 - MECHANISM_BYTES, 0);
                    self.state = State::Greeting;
                    Some(1)
                }
            },
            State::SocketType => match bytes.first() {
                None => None,
                Some(&number) => {
                    const NAMES: [&str; 11] = [
                        "PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB",
                        "XSUB",
                    ];
                    self.check_type(NAMES.get(usize::from(number)).unwrap_or(&"?"))?;
                    self.state = State::Identity(Version::V2);
                    Some(1)
                }
            },
            State::Identity(version) => match head(version, bytes)? {
                None => None,
                Some(head) if head.body_bytes > LONGEST_IDENTITY_BYTES => return Err(Violation::Nonsense),
                Some(head) => {
                    let end = head.bytes + head.body_bytes as usize;
                    if bytes.len() >= end {
                        self.begin_traffic(version, out);
                        Some(end)
                    } else {
                        None
                    }
                }
            },
            State::Greeting => match bytes.get(..GREETING_BYTES) {
                None => None,
                Some(greeting) => {
                    let mechanism = &greeting[1..=MECHANISM_BYTES];
                    if mechanism != NULL {
                        let name = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
                        return Err(Violation::Mechanism(String::from_utf8_lossy(name).into_owned()));
                    }
                    let name = if self.role == Role::Responder { b"REP" } else { b"SUB" };
                    let ready = [b"\x05READY\x0bSocket-Type\0\0\0\x03".as_slice(), name].concat();
                    write_frame(out, COMMAND, &ready);
                    self.state = State::Ready;
                    Some(GREETING_BYTES)
                }
            },
            State::Ready => match head(Version::V3, bytes)? {
                None => None,
                Some(head) if !head.is_command => return Err(Violation::Nonsense),
                Some(head) => match bytes.get(head.bytes..head.bytes + head.body_bytes as usize) {
                    None => None,
                    Some(body) => {
                        self.ready(body)?;
                        self.begin_traffic(Version::V3, out);
                        Some(head.bytes + body.len())
                    }
                },
            },
            State::Traffic(_) => Some(0),
        })
    }

    fn begin_traffic(&mut self, version: Version, out: &mut Vec<u8>) {
        self.state = State::Traffic(version);
        // ZeroMQ 2 sends everything to everybody, and expects nothing.
        if let Role::Subscriber(topics) = &self.role
            && version != Version::V1
        {
            for topic in topics {
                write_frame(out, 0, &[&[1], &topic[..]].concat());
            }
        }
    }

    fn ready(&self, body: &[u8]) -> Result<(), Violation> {
        let mut properties = match body.strip_prefix(b"\x05READY") {
            Some(properties) => properties,
            None => return Err(reported(body)),
        };
        while let Some((name, rest)) = counted(properties, 1) {
            let Some((value, behind)) = counted(rest, 4) else { break };
            if name.eq_ignore_ascii_case(b"Socket-Type") {
                return self.check_type(&String::from_utf8_lossy(value));
            }
            properties = behind;
        }
        Err(Violation::Nonsense)
    }

    fn check_type(&self, found: &str) -> Result<(), Violation> {
        let (fitting, expected) = match self.role {
            Role::Subscriber(_) => (["PUB", "XPUB"], "PUB or XPUB"),
            Role::Responder => (["REQ", "DEALER"], "REQ or DEALER"),
        };
        if fitting.contains(&found) {
            return Ok(());
        }
        Err(Violation::SocketType { found: found.chars().take(20).collect(), expected })
    }

    /// The head of the frame that `bytes` begin with; `None` if more are needed.
    pub fn head(&self, bytes: &[u8]) -> Result<Option<Head>, Violation> {
        match self.state {
            State::Traffic(version) => head(version, bytes),
            _ => Ok(None),
        }
    }

    /// Takes the body of a command. What the peer is to be sent is appended to `out`.
    pub fn command(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        // Behind the name are a time, and something to send back.
        if let Some([_, _, context @ ..]) = body.strip_prefix(b"\x04PING") {
            let context = context.get(..16).unwrap_or(context);
            write_frame(out, COMMAND, &[b"\x04PONG", context].concat());
        } else if body.starts_with(b"\x05ERROR") {
            return Err(reported(body));
        }
        Ok(())
    }

    /// Appends what answers a question: nothing, behind the empty frame that a REQ socket expects.
    pub fn answer(&self, out: &mut Vec<u8>) {
        match self.state {
            State::Traffic(Version::V1) => out.extend_from_slice(&[1, MORE, 1, 0]),
            _ => out.extend_from_slice(&[MORE, 0, 0, 0]),
        }
    }
}

/// The reason in the command ERROR; anything else is none of ZMTP.
fn reported(body: &[u8]) -> Violation {
    match body.strip_prefix(b"\x05ERROR").and_then(|rest| counted(rest, 1)) {
        Some((reason, _)) => Violation::Reported(String::from_utf8_lossy(reason).into_owned()),
        None => Violation::Nonsense,
    }
}

/// A length of so many bytes, so many bytes, and what is behind them.
fn counted(bytes: &[u8], length_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

fn head(version: Version, bytes: &[u8]) -> Result<Option<Head>, Violation> {
    let head = match version {
        Version::V1 => head_v1(bytes)?,
        Version::V2 | Version::V3 => head_v2(bytes)?,
    };
    match head {
        Some(head) if head.is_command && head.body_bytes > LONGEST_COMMAND_BYTES => Err(Violation::Nonsense),
        Some(head) if head.body_bytes > i64::MAX as u64 => Err(Violation::Nonsense),
        Some(head) if head.is_command && version == Version::V2 => Err(Violation::Nonsense),
        head => Ok(head),
    }
}

/// Flags, then a length of 1 or 8 bytes.
fn head_v2(bytes: &[u8]) -> Result<Option<Head>, Violation> {
    let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Err(Violation::Nonsense);
    }
    let (bytes, length) = if flags & LONG == 0 {
        (2, rest.first().map(|length| u64::from(*length)))
    } else {
        (9, rest.first_chunk().map(|length| u64::from_be_bytes(*length)))
    };
    let head = |body_bytes| Head {
        bytes,
        body_bytes,
        has_more: flags & MORE != 0,
        is_command: flags & COMMAND != 0,
    };
    Ok(length.map(head))
}

/// A length of 1 byte, or of 8 behind a byte 0xFF, then flags, which the length includes.
fn head_v1(bytes: &[u8]) -> Result<Option<Head>, Violation> {
    let (at, length) = match bytes.split_first() {
        None => return Ok(None),
        Some((0xFF, rest)) => (9, rest.first_chunk().map(|length| u64::from_be_bytes(*length))),
        Some((length, _)) => (1, Some(u64::from(*length))),
    };
    let (Some(length), Some(flags)) = (length, bytes.get(at)) else { return Ok(None) };
    // Another protocol looks like this version at first, but not for long.
    if flags & !MORE != 0 {
        return Err(Violation::Nonsense);
    }
    let body_bytes = length.checked_sub(1).ok_or(Violation::Nonsense)?;
    Ok(Some(Head { bytes: at + 1, body_bytes, has_more: flags & MORE != 0, is_command: false }))
}

/// Appends a frame as 2.0 and 3.x have it.
fn write_frame(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(length) => out.extend_from_slice(&[flags, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(body);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn subscriber() -> Peer {
        Peer::new(Role::Subscriber(vec![b"".to_vec()]))
    }

    /// What a peer of today begins with.
    pub fn greeting(socket_type: &str) -> Vec<u8> {
        let mut greeting = [&SIGNATURE[..], &[3, 1], NULL].concat();
        greeting.resize(64, 0);
        let mut ready = b"\x05READY\x08Identity\0\0\0\0\x0bSocket-Type\0\0\0".to_vec();
        ready.push(socket_type.len() as u8);
        ready.extend_from_slice(socket_type.as_bytes());
        write_frame(&mut greeting, COMMAND, &ready);
        greeting
    }

    /// Lets it have `bytes` in pieces of this size; what it answers, and what it left.
    fn greet(peer: &mut Peer, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Violation> {
        let (mut at, mut end, mut out) = (0, 0, Vec::new());
        while end < bytes.len() {
            end = (end + piece).min(bytes.len());
            while !peer.is_greeted() {
                match peer.greet(&bytes[at..end], &mut out)? {
                    Some(taken) => at += taken,
                    None => break,
                }
            }
        }
        Ok((out, bytes.len() - at))
    }

    #[test]
    fn a_publisher_of_today_is_greeted_however_its_bytes_are_cut() {
        let mut bytes = greeting("PUB");
        bytes.extend_from_slice(b"\0\x02{}");
        let mut answers = Vec::new();
        for piece in [1, 2, 7, 64, 1000] {
            let mut peer = subscriber();
            let (out, left) = greet(&mut peer, &bytes, piece).unwrap();
            assert_eq!(left, 4, "the first message is left");
            let head = Head { bytes: 2, body_bytes: 2, has_more: false, is_command: false };
            assert_eq!(peer.head(&bytes[bytes.len() - left..]), Ok(Some(head)));
            answers.push(out);
        }
        answers.dedup();
        let mut expected = [&[3, 0][..], NULL].concat();
        expected.resize(54, 0);
        expected.extend_from_slice(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB\0\x01\x01");
        assert_eq!(answers, [expected]);
    }

    #[test]
    fn a_publisher_of_zeromq_3_is_greeted_in_its_own_version() {
        let mut peer = Peer::new(Role::Subscriber(vec![b"a".to_vec(), vec![b'b'; 300]]));
        let bytes = [&SIGNATURE[..], &[1, 1, 0, 3], b"web", &[MORE, 1, b'a'], &[0, 2], b"{}"].concat();
        let (out, left) = greet(&mut peer, &bytes, 1).unwrap();
        assert_eq!(left, 7);
        assert_eq!(out[..7], [3, 2, 0, 0, 0, 2, 1], "revision, SUB, no name, and the first topic");
        assert_eq!(out[7..18], *b"a\x02\0\0\0\0\0\0\x01\x2d\x01");
        let topic = Head { bytes: 2, body_bytes: 1, has_more: true, is_command: false };
        assert_eq!(peer.head(&bytes[bytes.len() - left..]), Ok(Some(topic)));
        let responder = Role::Responder;
        let request = [&SIGNATURE[..], &[1, 3, 0, 0]].concat();
        assert_eq!(greet(&mut Peer::new(responder), &request, 3), Ok((vec![3, 4, 0, 0], 0)));
    }

    #[test]
    fn a_publisher_of_zeromq_2_is_only_listened_to() {
        let mut peer = subscriber();
        let bytes = [&[1, 0][..], &[3, 0], b"{}", &[0xFF, 0, 0, 0, 0, 0, 0, 1, 1, 0]].concat();
        assert_eq!(greet(&mut peer, &bytes, 1), Ok((Vec::new(), 14)));
        let head = |bytes, body_bytes| Head { bytes, body_bytes, has_more: false, is_command: false };
        assert_eq!(peer.head(&bytes[2..]), Ok(Some(head(2, 2))));
        assert_eq!(peer.head(&bytes[6..]), Ok(Some(head(10, 256))));
        assert_eq!(peer.head(&bytes[6..15]), Ok(None));
        assert_eq!(peer.head(&[0, 0]), Err(Violation::Nonsense), "a length includes the flags");
    }

    #[test]
    fn who_does_not_fit_is_told_apart() {
        let outcome = |bytes: &[u8]| greet(&mut subscriber(), bytes, 5).unwrap_err();
        let found = |name: &str| Violation::SocketType { found: name.to_owned(), expected: "PUB or XPUB" };
        assert_eq!(outcome(&greeting("PUSH")), found("PUSH"));
        assert_eq!(outcome(&[&SIGNATURE[..], &[1, 8]].concat()), found("PUSH"));
        assert_eq!(outcome(&[&SIGNATURE[..], &[1, 99]].concat()), found("?"));
        let mut curve = greeting("PUB");
        curve[12..17].copy_from_slice(b"CURVE");
        assert_eq!(outcome(&curve), Violation::Mechanism("CURVE".to_owned()));
        let mut error = greeting("PUB");
        error.truncate(64);
        write_frame(&mut error, COMMAND, b"\x05ERROR\x02no");
        assert_eq!(outcome(&error), Violation::Reported("no".to_owned()));
        error.truncate(64);
        write_frame(&mut error, COMMAND, b"\x05READY\x0bSocket-Type\0\0\xff\xff");
        assert_eq!(outcome(&error), Violation::Nonsense);
        error.truncate(64);
        error.extend_from_slice(&[COMMAND | LONG, 0, 0, 0, 0, 0xFF, 0, 0, 0]);
        assert_eq!(outcome(&error), Violation::Nonsense, "no command is that long");
        let question = greet(&mut Peer::new(Role::Responder), &greeting("PUB"), 9).unwrap_err();
        assert!(question.to_string().contains("\"PUB\", and only REQ or DEALER"), "{question}");
    }

    #[test]
    fn another_protocol_is_not_taken_for_an_old_version() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"\x16\x03\x01\x02\0",
            b"{\"type\":\"t\"}\n",
            b"\xff\xfb\x01\xff\xfb\x03\0\0\0\0\0",
        ] {
            assert_eq!(greet(&mut subscriber(), bytes, 100), Err(Violation::Nonsense), "{bytes:?}");
        }
    }

    #[test]
    fn a_sign_of_life_is_answered_with_what_it_carries() {
        let mut out = Vec::new();
        let mut peer = subscriber();
        greet(&mut peer, &greeting("XPUB"), 64).unwrap();
        peer.command(b"\x04PING\0\x0aabc", &mut out).unwrap();
        assert_eq!(out, b"\x04\x08\x04PONGabc");
        peer.command(b"\x07UNKNOWN", &mut out).unwrap();
        assert_eq!(out.len(), 10);
        assert!(peer.command(b"\x05ERROR\x03bad", &mut out).is_err());
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let mut peer = subscriber();
        greet(&mut peer, &greeting("PUB"), 64).unwrap();
        assert_eq!(peer.head(&[0x08, 1]), Err(Violation::Nonsense));
        let long = |first| [&[LONG, first][..], &[0; 7]].concat();
        assert_eq!(peer.head(&long(0xFF)), Err(Violation::Nonsense));
        assert_eq!(peer.head(&long(0x40)).unwrap().map(|head| head.body_bytes), Some(1 << 62));
        assert_eq!(peer.head(&long(0x40)[..8]), Ok(None));
    }
}
