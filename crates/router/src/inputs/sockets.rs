//! Sockets that outlive the input that bound them: after a reload its successor goes on with the same socket, so nobody is
//! refused in between and nothing that the kernel holds is lost.

use std::{
    fs, io,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use socket2::{Socket, Type};

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A socket that an input receives from or accepts on. Clones are the same socket; it is closed with the last one.
#[derive(Debug, Clone)]
pub struct BoundSocket(Arc<Bound>);

#[derive(Debug)]
struct Bound {
    socket: Socket,
    /// The name of the input that bound it.
    input: String,
    /// Of a Unix socket. It goes with the socket.
    path: Option<PathBuf>,
    number: u64,
    /// Datagrams that the kernel dropped here and that are in the ledger of an input that is not read any more.
    accounted_drops: AtomicU64,
}

impl BoundSocket {
    /// A socket that has just been bound by the input with this name.
    pub fn new(socket: Socket, input: &str) -> Self {
        BoundSocket::made(socket, input, None)
    }

    /// A Unix socket; its path is removed when it is closed.
    pub fn at_path(socket: Socket, input: &str, path: &Path) -> Self {
        BoundSocket::made(socket, input, Some(path.to_owned()))
    }

    fn made(socket: Socket, input: &str, path: Option<PathBuf>) -> Self {
        BoundSocket(Arc::new(Bound {
            socket,
            input: input.to_owned(),
            path,
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            accounted_drops: AtomicU64::new(0),
        }))
    }

    /// No other socket of this process ever has the same number.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// How many of the datagrams that the kernel dropped here are in some ledger already.
    pub fn accounted_drops(&self) -> u64 {
        self.0.accounted_drops.load(Ordering::Acquire)
    }

    /// The first `drops` datagrams that the kernel dropped here are in a ledger.
    pub fn account_drops(&self, drops: u64) {
        self.0.accounted_drops.fetch_max(drops, Ordering::AcqRel);
    }

    fn is_of_type(&self, wanted: Type) -> bool {
        self.r#type().is_ok_and(|found| found == wanted)
    }

    /// Port 0 asks for any port, so there only the input's own socket will do.
    fn is_bound_to(&self, address: SocketAddr, input: &str) -> bool {
        let Some(bound) = self.local_addr().ok().and_then(|bound| bound.as_socket()) else { return false };
        bound == address || (address.port() == 0 && bound.ip() == address.ip() && self.0.input == input)
    }
}

impl Deref for BoundSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0.socket
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nothing depends on it: the next start removes what is left.
            let _ = fs::remove_file(path);
        }
    }
}

/// The sockets of inputs that a reload closes or opens anew, each for the first one who asks for its address. It does not
/// hold them open.
#[derive(Debug, Clone, Default)]
pub struct Inherited(Arc<Mutex<Vec<Weak<Bound>>>>);

impl Inherited {
    /// These sockets.
    pub fn new<'a>(sockets: impl Iterator<Item = &'a BoundSocket>) -> Self {
        Inherited(Arc::new(Mutex::new(sockets.map(|socket| Arc::downgrade(&socket.0)).collect())))
    }

    /// A socket of this type that is bound to `address`, for the input with this name.
    pub fn take_network(&self, kind: Type, address: SocketAddr, input: &str) -> Option<BoundSocket> {
        self.take(|socket| socket.is_of_type(kind) && socket.is_bound_to(address, input))
    }

    /// A Unix socket of this type at this path.
    pub fn take_unix(&self, kind: Type, path: &Path) -> Option<BoundSocket> {
        self.take(|socket| socket.is_of_type(kind) && socket.0.path.as_deref() == Some(path))
    }

    /// Has `bind` try again where one of these sockets has the port of `address` on a narrower or wider address: as long as
    /// that takes, they let others of the same user in. The answer is `failed` where none of them is in the way.
    pub fn make_room<T>(
        &self,
        kind: Type,
        address: SocketAddr,
        failed: io::Error,
        bind: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let in_the_way = self.in_the_way_of(kind, address);
        if failed.kind() != io::ErrorKind::AddrInUse || in_the_way.is_empty() {
            return Err(failed);
        }
        let before: Vec<bool> =
            in_the_way.iter().map(|socket| socket.reuse_port()).collect::<io::Result<_>>()?;
        let let_in = in_the_way.iter().try_for_each(|socket| socket.set_reuse_port(true));
        let bound = let_in.and_then(|()| bind());
        for (socket, before) in in_the_way.iter().zip(before) {
            socket.set_reuse_port(before)?;
        }
        bound
    }

    /// Those that keep others from binding to `address`.
    fn in_the_way_of(&self, kind: Type, address: SocketAddr) -> Vec<BoundSocket> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in_the_way = |socket: &BoundSocket| {
            let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
            bound.is_some_and(|bound| {
                bound.port() == address.port()
                    && (bound.ip() == address.ip()
                        || bound.ip().is_unspecified()
                        || address.ip().is_unspecified())
                    && socket.is_of_type(kind)
            })
        };
        sockets.iter().filter_map(Weak::upgrade).map(BoundSocket).filter(is_in_the_way).collect()
    }

    fn take(&self, fits: impl Fn(&BoundSocket) -> bool) -> Option<BoundSocket> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = |weak: &Weak<Bound>| weak.upgrade().map(BoundSocket);
        let position = sockets.iter().position(|weak| live(weak).is_some_and(|socket| fits(&socket)))?;
        live(&sockets.remove(position))
    }
}

#[cfg(test)]
mod tests {
    use socket2::Domain;

    use super::*;

    fn bound(kind: Type) -> (BoundSocket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (BoundSocket::new(socket, "a"), address)
    }

    #[test]
    fn a_socket_is_inherited_by_its_address_and_once() {
        let (socket, address) = bound(Type::STREAM);
        let inherited = Inherited::new([&socket].into_iter());
        assert!(inherited.take_network(Type::DGRAM, address, "a").is_none());
        assert!(inherited.take_network(Type::STREAM, address, "b").is_some());
        assert!(inherited.take_network(Type::STREAM, address, "b").is_none());
    }

    #[test]
    fn who_asks_for_any_port_gets_its_own_again_and_nobody_elses() {
        let (socket, mut address) = bound(Type::STREAM);
        address.set_port(0);
        let inherited = Inherited::new([&socket].into_iter());
        assert!(inherited.take_network(Type::STREAM, address, "b").is_none());
        assert!(inherited.take_network(Type::STREAM, address, "a").is_some());
    }

    fn bind(kind: Type, address: SocketAddr, shared: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, kind, None)?;
        socket.set_reuse_port(shared)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    #[test]
    fn a_socket_makes_room_for_a_wider_address_with_its_port_and_for_nobody_after_that() {
        for kind in [Type::STREAM, Type::DGRAM] {
            let (socket, address) = bound(kind);
            if kind == Type::STREAM {
                socket.listen(1).unwrap();
            }
            let inherited = Inherited::new([&socket].into_iter());
            let wider = SocketAddr::from(([0, 0, 0, 0], address.port()));
            let failed = || io::Error::from(io::ErrorKind::AddrInUse);
            assert!(bind(kind, wider, true).is_err());
            let second = inherited
                .make_room(kind, wider, failed(), || bind(kind, wider, true))
                .expect("there is room");
            second.set_reuse_port(false).unwrap();
            // For TCP the kernel remembers that the port was shared, and goes on to let in who asks to share it.
            assert!(bind(kind, address, false).is_err(), "nobody else is let in");
            assert!(kind == Type::STREAM || bind(kind, address, true).is_err());

            let other = SocketAddr::from(([127, 0, 0, 2], address.port()));
            let tried = inherited.make_room(kind, other, failed(), || Ok(()));
            assert_eq!(tried.unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is not in the way of that");
            let denied = io::Error::from(io::ErrorKind::PermissionDenied);
            let tried = inherited.make_room(kind, wider, denied, || Ok(()));
            assert_eq!(tried.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn a_path_stays_as_long_as_somebody_has_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        fs::write(&path, "").unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let socket = BoundSocket::at_path(socket, "a", &path);
        let inherited = Inherited::new([&socket].into_iter());
        let successor = inherited.take_unix(Type::STREAM, &path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
    }
}
