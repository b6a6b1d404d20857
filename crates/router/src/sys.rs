//! The few system calls that no library offers: many datagrams per call, the socket's own numbers (what was dropped, what a
//! TCP connection waits for), polling one descriptor and having it wait again, the process's limit on open files, accounts by
//! name, what is attached to a file, a thread's priority, the host's name and its time zone.
//!
//! A system call costs about as much as everything else that the router does with a datagram, so it is shared by many.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    ptr,
    time::Duration,
};

use socket2::Socket;

/// More than UDP can carry over IPv4 or IPv6.
pub const LARGEST_UDP_DATAGRAM: usize = 65_536;

/// What a receiver's slots may take together, unless one alone takes more.
const RECEIVER_BYTES: usize = 16 * 1024 * 1024;

/// Receives many datagrams per system call.
#[derive(Debug)]
pub struct DatagramReceiver {
    /// Slots of `slot_bytes`; the system gives real memory only to what is used.
    memory: Vec<u8>,
    slot_bytes: usize,
    /// Of each datagram as it was sent.
    lengths: Vec<usize>,
    /// Who sent the datagram in each slot.
    senders: Vec<SenderName>,
}

/// The address of a datagram's sender as the system gives it. To read it takes longer than to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderName([u8; SenderName::BYTES]);

impl SenderName {
    /// What the longest address of a network takes (`sockaddr_in6`).
    const BYTES: usize = size_of::<libc::sockaddr_in6>();

    /// None, or one that is no network's.
    pub const NOBODY: SenderName = SenderName([0; SenderName::BYTES]);

    /// The address; `None` for the sender of a datagram over a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        // As in `sockaddr_in` and `sockaddr_in6`: the family in the machine's byte order, then all in the network's.
        let [low, high, port_high, port_low, rest @ ..] = self.0;
        let port = u16::from_be_bytes([port_high, port_low]);
        match libc::c_int::from(u16::from_ne_bytes([low, high])) {
            libc::AF_INET => {
                let [one, two, three, four, ..] = rest;
                Some(SocketAddr::from((Ipv4Addr::new(one, two, three, four), port)))
            }
            libc::AF_INET6 => {
                // Behind four bytes of flow information.
                let address: [u8; 16] = rest.get(4..20)?.try_into().ok()?;
                let address = Ipv6Addr::from(address);
                Some(SocketAddr::new(address.to_canonical(), port))
            }
            _ => None,
        }
    }

    /// Of a sender with this address.
    #[cfg(test)]
    pub fn of(address: &SocketAddr) -> SenderName {
        let mut name = SenderName::NOBODY;
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        name.0[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        name.0[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address.ip() {
            std::net::IpAddr::V4(ip) => name.0[4..8].copy_from_slice(&ip.octets()),
            std::net::IpAddr::V6(ip) => name.0[8..24].copy_from_slice(&ip.octets()),
        }
        name
    }
}

/// One datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Its content, or as much of it as fits into a slot.
    pub bytes: &'a [u8],
    /// How long it was. If that is more, the rest is lost.
    pub sent_bytes: usize,
    /// Who sent it.
    pub sender: SenderName,
}

impl Datagram<'_> {
    /// Whether a part of it is lost.
    pub fn is_cut(&self) -> bool {
        self.sent_bytes > self.bytes.len()
    }
}

impl DatagramReceiver {
    /// How many datagrams one call receives at most, however small they may be.
    const AT_ONCE: usize = 64;

    /// A receiver of datagrams of up to `largest` bytes. The larger they may be, the fewer come with one call.
    pub fn new(largest: usize) -> Self {
        let slot_bytes = largest.max(1);
        let slots = (RECEIVER_BYTES / slot_bytes).clamp(1, Self::AT_ONCE);
        let senders = vec![SenderName::NOBODY; slots];
        DatagramReceiver { memory: vec![0; slots * slot_bytes], slot_bytes, lengths: Vec::new(), senders }
    }

    /// How many datagrams one call receives at most.
    pub fn at_once(&self) -> usize {
        self.memory.len() / self.slot_bytes
    }

    /// Receives what is there, without waiting, and returns how many datagrams.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.lengths.clear();
        let slots = self.at_once();
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; Self::AT_ONCE];
        // SAFETY: `mmsghdr` is a C structure of integers and pointers for which all zeros is a valid value.
        let mut headers: [libc::mmsghdr; Self::AT_ONCE] = unsafe { std::mem::zeroed() };
        let places = self.memory.chunks_exact_mut(self.slot_bytes).zip(&mut self.senders);
        for (((slot, sender), part), header) in places.zip(&mut parts).zip(&mut headers) {
            let part = part.write(libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() });
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = sender.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = SenderName::BYTES as libc::socklen_t;
        }
        // SAFETY: as many headers as there are slots are given, at most AT_ONCE. Each has one initialised part that points
        // to a slot of its own in `self.memory`, and a name that points to a sender of its own in `self.senders` and says how
        // long that is; both outlive the call and are borrowed mutably. No control buffer is given. MSG_TRUNC makes a length
        // that of the datagram; what is written stays within the slot, and a longer name is cut.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                slots as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        self.lengths.extend(headers.iter().take(received as usize).map(|header| header.msg_len as usize));
        Ok(self.lengths.len())
    }

    /// The first `count` datagrams of the last call.
    pub fn datagrams(&self, count: usize) -> impl Iterator<Item = Datagram<'_>> {
        self.lengths.iter().zip(self.memory.chunks_exact(self.slot_bytes)).zip(&self.senders).take(count).map(
            |((&sent_bytes, slot), &sender)| Datagram {
                bytes: slot.get(..sent_bytes).unwrap_or(slot),
                sent_bytes,
                sender,
            },
        )
    }
}

/// CLOCK_MONOTONIC, from its own origin; `Instant` reads the same clock and keeps the number to itself.
pub fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing. The call fails only for clocks that do not exist; then the time stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Asks for a receive buffer of `bytes`, past the system's limit where the router may, and returns what it got.
pub fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<usize> {
    // The kernel doubles the number for its own bookkeeping; see socket(7).
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    // SAFETY: the option takes an int; pointer and length describe `wanted`.
    let forced = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const wanted).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if forced != 0 {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(socket.recv_buffer_size()? / 2)
}

/// How many datagrams the kernel dropped because this socket's receive buffer was full; `None` where it does not tell.
pub fn kernel_drops(socket: &Socket) -> Option<u64> {
    /// Position of the drop counter and length of what SO_MEMINFO gives; linux/sock_diag.h.
    const SK_MEMINFO_DROPS: usize = 8;
    const SK_MEMINFO_VARS: usize = 9;
    /// Not in the libc crate for every target; asm-generic/socket.h.
    const SO_MEMINFO: libc::c_int = 55;

    let mut numbers = [0u32; SK_MEMINFO_VARS];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: pointer and length describe `numbers`; the kernel writes at most `length` bytes and any bits are valid.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (outcome == 0).then(|| u64::from(numbers[SK_MEMINFO_DROPS]))
}

/// What a TCP connection knows of its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpProgress {
    /// Segments that were sent and not acknowledged.
    pub unanswered: u32,
    /// Since something was sent, for the first time or again.
    pub since_sent: Duration,
    /// Since the other end acknowledged anything, keep-alive included.
    pub since_answer: Duration,
}

/// How far a TCP connection is; `None` where the system does not tell, or the socket is another kind.
pub fn tcp_progress(socket: &Socket) -> Option<TcpProgress> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: pointer and length describe `info`; the kernel writes at most `length` bytes.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: a structure of integers, all of which were zeroed before the kernel filled them.
    let info = unsafe { info.assume_init() };
    let milliseconds = |number| Duration::from_millis(u64::from(number));
    (outcome == 0).then(|| TcpProgress {
        unanswered: info.tcpi_unacked,
        since_sent: milliseconds(info.tcpi_last_data_sent),
        since_answer: milliseconds(info.tcpi_last_ack_recv),
    })
}

/// Has reads and writes of `file` wait, whatever it was opened with.
pub fn set_blocking(file: &File) -> io::Result<()> {
    // SAFETY: F_GETFL takes no argument; the descriptor is open for as long as `file` is borrowed.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_SETFL takes an int, which this is.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many bytes the kernel holds for `descriptor` at this moment; 0 where it does not tell.
pub fn readable_bytes(descriptor: &impl AsRawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, and `bytes` is one.
    let outcome = unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if outcome == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Whether a read from `descriptor` would not wait.
pub fn is_readable(descriptor: &impl AsRawFd) -> io::Result<bool> {
    let mut asked = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd is given, and a timeout of zero.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(ready > 0) }
}

/// Waits until a write to `descriptor` would not wait, or would fail.
pub fn wait_until_writable(descriptor: &impl AsRawFd) -> io::Result<()> {
    let mut asked = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd is given, and no timeout.
    let ready = unsafe { libc::poll(&raw mut asked, 1, -1) };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The name of this host; `localhost` where the system does not say it.
pub fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the pointer is to a live array of the length that is given.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) } != 0;
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    match name.get(..length) {
        Some(name) if !failed && !name.is_empty() => String::from_utf8_lossy(name).into_owned(),
        _ => "localhost".to_owned(),
    }
}

/// How many seconds the time of the place is ahead of UTC at this moment; 0 where the system does not know.
pub fn offset_from_utc(seconds: i64) -> i64 {
    let moment = seconds as libc::time_t;
    // SAFETY: `tm` is a C structure of integers and a pointer for which all zeros is a valid value.
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the right type, and the function keeps neither. It reads the
    // environment, which this process changes nowhere after its start.
    let known = unsafe { libc::localtime_r(&raw const moment, &raw mut broken_down) };
    if known.is_null() { 0 } else { broken_down.tm_gmtoff }
}

/// Raises the soft limit on open files to the hard one, and returns what it is then.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole `rlimit`, which the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the pointer is to a whole `rlimit`, which the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// The number of a user, by name; `None` where this machine has none of this name.
pub fn user_id(name: &str) -> io::Result<Option<u32>> {
    look_up(name, |name, buffer, found: &mut *mut libc::passwd| {
        // SAFETY: `passwd` is a C structure of integers and pointers for which all zeros is a valid value.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own. `found` is compared with null
        // only; what is read afterwards is the integer in `entry`.
        let error = unsafe {
            libc::getpwnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
        };
        (error, entry.pw_uid)
    })
}

/// The number of a group, by name; `None` where this machine has none of this name.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    look_up(name, |name, buffer, found: &mut *mut libc::group| {
        // SAFETY: as in `user_id`.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        // SAFETY: as in `user_id`.
        let error = unsafe {
            libc::getgrnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
        };
        (error, entry.gr_gid)
    })
}

/// Looks an account up, with as much memory as its entry needs.
fn look_up<T>(
    name: &str,
    ask: impl Fn(&CStr, &mut [u8], &mut *mut T) -> (libc::c_int, u32),
) -> io::Result<Option<u32>> {
    const MOST_BYTES: usize = 1 << 20;
    let name = CString::new(name)?;
    let mut buffer = vec![0; 1024];
    loop {
        let mut found = ptr::null_mut();
        match ask(&name, &mut buffer, &mut found) {
            (0, id) => return Ok((!found.is_null()).then_some(id)),
            (libc::ERANGE, _) if buffer.len() < MOST_BYTES => buffer.resize(buffer.len() * 2, 0),
            // What there is no account of is one of these errors on some systems.
            (libc::ENOENT | libc::ESRCH, _) => return Ok(None),
            (error, _) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// What this process may do with files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its effective user.
    pub user: u32,
    /// The groups that it is in.
    pub groups: Vec<u32>,
    /// Whether it may give files to other users.
    pub may_change_owners: bool,
}

impl Credentials {
    /// Those that it has now; `None` where the system does not tell.
    pub fn of_this_process() -> Option<Credentials> {
        const MAY_CHANGE_OWNERS: u64 = 1;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let effective = |ids: &str| ids.split_whitespace().nth(1)?.parse().ok();
        let mut groups: Vec<u32> =
            line("Groups:")?.split_whitespace().filter_map(|group| group.parse().ok()).collect();
        groups.extend(effective(line("Gid:")?));
        let capabilities = u64::from_str_radix(line("CapEff:")?, 16).ok()?;
        let may_change_owners = capabilities & MAY_CHANGE_OWNERS != 0;
        Some(Credentials { user: effective(line("Uid:")?)?, groups, may_change_owners })
    }
}

/// Attaches a value to a file, as an extended attribute of this name. Some file systems keep none.
pub fn set_attribute(file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the name ends in a NUL byte, the value's length is its own, and the call only reads both.
    let outcome =
        unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this very value is attached to a file; no if it cannot be read. Links are not followed.
pub fn has_attribute(path: &Path, name: &CStr, value: &[u8]) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // One byte more than is looked for: a longer value is another one.
    let mut found = vec![0u8; value.len() + 1];
    // SAFETY: both texts end in a NUL byte, and the call writes no more than the buffer's own length.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), found.as_mut_ptr().cast(), found.len()) };
    usize::try_from(length).is_ok_and(|length| found.get(..length) == Some(value))
}

/// Lets the calling thread run only when nothing else wants to.
pub fn lower_priority() {
    const NICEST: libc::c_int = 19;
    // SAFETY: no memory is involved. On Linux, 0 is the calling thread. An error leaves the priority as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICEST) };
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};
    use std::net::{SocketAddr, UdpSocket};

    use super::*;

    fn receiving_socket() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn many_datagrams_come_with_one_call_whatever_their_size() {
        let (socket, address) = receiving_socket();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sent: Vec<Vec<u8>> = [0, 1, 300, 9000, 65_507].iter().map(|size| vec![b'x'; *size]).collect();
        for datagram in &sent {
            sender.send_to(datagram, address).unwrap();
        }
        let mut receiver = DatagramReceiver::new(LARGEST_UDP_DATAGRAM);
        let count = receiver.receive(&socket).unwrap();
        let received: Vec<Vec<u8>> =
            receiver.datagrams(count).map(|datagram| datagram.bytes.to_vec()).collect();
        assert_eq!(received, sent);
        assert_eq!(receiver.receive(&socket).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_datagram_that_is_too_large_says_how_large_it_was() {
        let (socket, address) = receiving_socket();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[b'x'; 1000], address).unwrap();
        let mut receiver = DatagramReceiver::new(100);
        let count = receiver.receive(&socket).unwrap();
        let datagrams: Vec<Datagram<'_>> = receiver.datagrams(count).collect();
        assert_eq!((datagrams[0].bytes, datagrams[0].sent_bytes), ([b'x'; 100].as_slice(), 1000));
    }

    #[test]
    fn the_larger_datagrams_may_be_the_fewer_come_at_once() {
        let at_once = |largest| DatagramReceiver::new(largest).at_once();
        assert_eq!([at_once(1 << 16), at_once(1 << 20), at_once(1 << 26)], [64, 16, 1]);
    }

    #[test]
    fn what_the_kernel_dropped_is_counted() {
        let (socket, address) = receiving_socket();
        assert_eq!(kernel_drops(&socket), Some(0));
        socket.set_recv_buffer_size(4096).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[b'x'; 1000], address).unwrap();
        }
        let mut receiver = DatagramReceiver::new(LARGEST_UDP_DATAGRAM);
        let received = receiver.receive(&socket).unwrap() as u64;
        assert_eq!(received + kernel_drops(&socket).unwrap(), 100);
    }

    #[test]
    fn the_kernel_tells_how_much_it_holds() {
        let (reader, mut writer) = io::pipe().unwrap();
        assert_eq!(readable_bytes(&reader), 0);
        io::Write::write_all(&mut writer, b"twelve bytes").unwrap();
        assert_eq!(readable_bytes(&reader), 12);
    }

    #[test]
    fn a_receive_buffer_is_granted_or_said_to_be_smaller() {
        let (socket, _) = receiving_socket();
        assert!(set_receive_buffer(&socket, 100_000).unwrap() > 0);
    }
}
