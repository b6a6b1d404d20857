//! Every kind of input, by name.

use super::{InputSettings, file, stdin, tcp, udp, unix, zmq};
use crate::config::{Kind, kind};

/// The kinds, sorted by name.
pub static KINDS: &[Kind<dyn InputSettings>] = &[
    kind!(InputSettings, "file", file, "messages from files, read once or followed through log rotation"),
    kind!(InputSettings, "stdin", stdin, "messages from standard input, one a line"),
    kind!(InputSettings, "tcp", tcp, "messages over TCP, one a line"),
    kind!(InputSettings, "udp", udp, "messages in UDP datagrams"),
    kind!(InputSettings, "unix", unix, "messages over a Unix socket"),
    kind!(InputSettings, "zmq", zmq, "messages from ZeroMQ publishers"),
];
