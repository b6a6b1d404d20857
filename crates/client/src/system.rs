//! The system calls that the standard library does not have.

#![allow(unsafe_code)]

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;

/// How many datagrams one call of [`send_datagrams`] takes.
pub(crate) const DATAGRAMS_PER_CALL: usize = 64;

/// Sends datagrams over a connected socket and says how many the kernel took: at least one, or an error that is
/// about the first one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn send_datagrams(socket: BorrowedFd<'_>, datagrams: &[&[u8]]) -> io::Result<usize> {
    let count = datagrams.len().min(DATAGRAMS_PER_CALL);
    // SAFETY: both are plain C structures for which all zeroes is a valid value.
    let mut vectors: [libc::iovec; DATAGRAMS_PER_CALL] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; DATAGRAMS_PER_CALL] = unsafe { std::mem::zeroed() };
    for ((vector, header), datagram) in vectors.iter_mut().zip(&mut headers).zip(datagrams) {
        // The kernel only reads what is sent; the type is shared with the receiving calls.
        vector.iov_base = datagram.as_ptr().cast_mut().cast();
        vector.iov_len = datagram.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    let (socket, count) = (socket.as_raw_fd(), count as libc::c_uint);
    // SAFETY: `headers` has at least `count` entries, each points to its own entry of `vectors`, and each of
    // those to a slice that outlives the call. The flags have another type with each C library.
    let sent = unsafe { libc::sendmmsg(socket, headers.as_mut_ptr(), count, libc::MSG_NOSIGNAL as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends the first of some datagrams over a connected socket, where the system has no call for many.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn send_datagrams(socket: BorrowedFd<'_>, datagrams: &[&[u8]]) -> io::Result<usize> {
    let Some(first) = datagrams.first() else { return Ok(0) };
    socket2::SockRef::from(&socket).send(first).map(|_| 1)
}

/// Keeps this thread out of the application's signal handling: a signal goes to a thread that the application
/// knows.
pub(crate) fn block_signals() {
    // SAFETY: the set is filled by `sigfillset` before it is read, and the old mask is not asked for.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
}

/// Writes to standard error once, around the standard library's lock. Nobody is left to tell when it is closed.
pub(crate) fn write_to_standard_error(bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of a slice.
    unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

/// The name of this host, empty where the system will not say.
pub(crate) fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is valid for the length given, less one so that it always ends in a NUL.
    let status = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    if status != 0 {
        return String::new();
    }
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&name[..length]).into_owned()
}

/// 64 random bits from the system, different in a child from what they were in its parent.
pub(crate) fn random_bits() -> u64 {
    use std::io::Read as _;
    let mut bits = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bits));
    if read.is_err() {
        // No device in this sandbox: the time and the process id still tell two sources apart.
        let now = crate::clock::now();
        let time = (now.seconds as u64) << 32 ^ u64::from(now.nanoseconds);
        return time.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
    }
    u64::from_ne_bytes(bits)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn many_datagrams_leave_in_one_call_and_keep_their_bounds() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let taken = send_datagrams(sender.as_fd(), &[b"one", b"", b"three"]).unwrap();
        let mut buffer = [0; 16];
        let expected: [&[u8]; 3] = [b"one", b"", b"three"];
        for datagram in &expected[..taken] {
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&&buffer[..length], datagram);
        }
    }

    #[test]
    fn a_host_has_a_name_and_random_bits_differ() {
        assert!(!hostname().is_empty());
        assert_ne!(random_bits(), random_bits());
    }
}
