//! `kind = "unix"`: messages over a Unix socket, as a stream of lines or as datagrams.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixDatagram, UnixStream as StdUnixStream},
        },
    },
    path::{Path, PathBuf},
};

use mio::net::{UnixListener, UnixStream};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    InputContext, InputSettings, OpenError, OpenedInput, Source,
    datagrams::DatagramSource,
    sockets::BoundSocket,
    streams::{Listener, ListenerSource, ServeLines},
};
use crate::{
    config::{ByteSize, Section, choices, parameters},
    sys,
};

choices! {
    /// What the socket carries.
    pub enum Mode {
        /// Connections that carry lines, as over TCP.
        Stream = "stream",
        /// Datagrams, as over UDP.
        Datagram = "datagram",
    }
}

parameters! {
    /// Takes messages over a Unix socket.
    pub struct Parameters {
        /// The socket's path. A socket that a stopped router left there is replaced.
        pub path: PathBuf,
        /// What the socket carries.
        pub mode: Mode = Mode::Stream,
        /// Who may write to it, as an octal number in text: `"0660"` is the owner and the group.
        pub permissions: String = "0660".to_owned(),
        /// For datagrams: how much the kernel holds while the router is busy.
        pub receive_buffer: ByteSize = ByteSize::mib(4),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
path = "/run/metlog/metlog.sock"
mode = "datagram"
"#;

impl InputSettings for Parameters {
    fn takes_datagrams(&self) -> bool {
        self.mode == Mode::Datagram
    }

    fn keeps_connections(&self) -> bool {
        self.mode == Mode::Stream
    }

    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let failed =
            |error: io::Error| context.error(format!("cannot listen on {}: {error}", self.path.display()));
        let permissions = self
            .mode_bits()
            .ok_or_else(|| context.error(format!("`permissions` takes {PERMISSIONS_EXPECTED}")))?;
        let kind = if self.mode == Mode::Stream { Type::STREAM } else { Type::DGRAM };
        let socket = match context.inherited.take_unix(kind, &self.path) {
            Some(socket) => socket,
            None => {
                remove_stale(&self.path).map_err(failed)?;
                let socket = bind(&self.path, kind, permissions).map_err(failed)?;
                BoundSocket::at_path(socket, &context.name, &self.path)
            }
        };
        // What the process's umask took away.
        fs::set_permissions(&self.path, fs::Permissions::from_mode(permissions)).map_err(failed)?;

        let source: Box<dyn Source> = if self.mode == Mode::Stream {
            socket.listen(1024).map_err(failed)?;
            let listener = UnixListener::from_std(socket.try_clone().map_err(failed)?.into());
            Box::new(ListenerSource::new(listener, ServeLines, socket.clone(), context.clone()))
        } else {
            sys::set_receive_buffer(&socket, self.receive_buffer.bytes() as usize).map_err(failed)?;
            // A message, or several that are no more than one together, with the line break.
            let largest = (context.message_bytes + 1).max(sys::LARGEST_UDP_DATAGRAM);
            Box::new(DatagramSource::new(socket.clone(), largest, &context.counters))
        };
        Ok(OpenedInput {
            sources: vec![source],
            address: self.path.display().to_string(),
            sockets: vec![socket],
        })
    }

    fn check(&self, section: &mut Section<'_>) {
        if self.mode_bits().is_none() {
            let span = section.span_of("permissions");
            section.diagnostics().error(span, format!("`permissions` takes {PERMISSIONS_EXPECTED}"));
        }
    }
}

const PERMISSIONS_EXPECTED: &str = "an octal number in text, such as \"0660\"";

impl Parameters {
    fn mode_bits(&self) -> Option<u32> {
        u32::from_str_radix(&self.permissions, 8).ok().filter(|bits| *bits <= 0o7777)
    }
}

/// Binds a socket at a path with these permissions or fewer.
///
/// A bound path gets the permissions of its socket, less the process's umask, so they are set before: there is no moment in
/// which somebody else could connect. A umask for that moment would be the whole process's.
fn bind(path: &Path, kind: Type, permissions: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    let file = File::from(OwnedFd::from(socket.try_clone()?));
    file.set_permissions(fs::Permissions::from_mode(permissions))?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Removes a socket that nobody listens on. Anything else at the path is left alone, and binding then says what is wrong.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        _ => return Ok(()),
    }
    let in_use = StdUnixStream::connect(path).is_ok()
        || UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_ok();
    if in_use { Ok(()) } else { fs::remove_file(path) }
}

impl Listener for UnixListener {
    type Connection = UnixStream;

    fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        UnixListener::accept(self).map(|(connection, _)| (connection, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_never_has_more_permissions_than_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for (name, kind) in [("stream", Type::STREAM), ("datagram", Type::DGRAM)] {
            let path = folder.path().join(name);
            let _socket = bind(&path, kind, 0o600).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
