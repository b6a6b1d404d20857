//! System calls that the standard library does not offer: the only unsafe code of the benchmarks.

#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the operating system charged to a process that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// Switches because the process waited.
    pub voluntary_switches: u64,
    /// Switches because its time slice was over.
    pub involuntary_switches: u64,
}

impl Usage {
    /// User and system time, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        (self.user + self.system).as_secs_f64()
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
}

/// Collects a child that has ended; `None` while it still runs.
pub fn try_wait(pid: u32) -> io::Result<Option<(Ending, Usage)>> {
    let mut status = 0;
    // SAFETY: rusage is plain data for which all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live, writable values of the right types.
    let answer = unsafe { libc::wait4(pid as libc::pid_t, &mut status, libc::WNOHANG, &mut usage) };
    match answer {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => {
            let ending = if libc::WIFEXITED(status) {
                Ending::Exited(libc::WEXITSTATUS(status))
            } else {
                Ending::Signalled(libc::WTERMSIG(status))
            };
            let usage = Usage {
                user: duration(usage.ru_utime),
                system: duration(usage.ru_stime),
                voluntary_switches: usage.ru_nvcsw as u64,
                involuntary_switches: usage.ru_nivcsw as u64,
            };
            Ok(Some((ending, usage)))
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}

/// Which signal to send.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// SIGTERM: please finish.
    Terminate,
    /// SIGKILL: for a child that did not.
    Kill,
}

/// Sends a signal to one process, by its id.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // SAFETY: kill takes no pointers. The id is that of a child which was not collected yet, so it cannot
    // have been given to another process.
    match unsafe { libc::kill(pid as libc::pid_t, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Clock ticks a second, the unit of the times in `/proc/PID/stat`.
pub fn clock_ticks_per_second() -> f64 {
    // SAFETY: sysconf takes no pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// CPU time that the calling thread has used so far.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec. The clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Lets this thread's sleeps end on time: the kernel may otherwise be 50 µs late.
pub fn precise_sleeps() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn remember_to_stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// From now on SIGTERM only sets a flag, which [`told_to_stop`] reads.
pub fn stop_when_told() {
    // SAFETY: the handler does one atomic store, which is allowed inside a signal handler.
    unsafe {
        libc::signal(libc::SIGTERM, remember_to_stop as *const () as libc::sighandler_t);
    }
}

/// Whether SIGTERM came since [`stop_when_told`].
pub fn told_to_stop() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Asks for a receive buffer beyond the limit for ordinary processes, then within it. Returns what the kernel
/// granted (it reports twice the usable size).
pub fn set_receive_buffer(socket: &UdpSocket, bytes: usize) -> io::Result<usize> {
    let value = bytes as libc::c_int;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the pointer and the length describe one live c_int.
        let answer = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if answer == 0 {
            break;
        }
    }
    socket2::SockRef::from(socket).recv_buffer_size()
}

/// Room for many datagrams, received with one system call.
pub struct ReceiveMany {
    buffer: Vec<u8>,
    datagram_bytes: usize,
    headers: Vec<libc::mmsghdr>,
    // The headers point into this one; it is only kept alive.
    _vectors: Vec<libc::iovec>,
}

impl ReceiveMany {
    /// Room for `count` datagrams of at most `datagram_bytes` each.
    pub fn new(count: usize, datagram_bytes: usize) -> Self {
        let mut buffer = vec![0_u8; count * datagram_bytes];
        let mut vectors: Vec<libc::iovec> = buffer
            .chunks_exact_mut(datagram_bytes)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() })
            .collect();
        let headers = vectors.iter_mut().map(header).collect();
        Self { buffer, datagram_bytes, headers, _vectors: vectors }
    }

    /// Waits for at least one datagram (as long as the socket's read timeout), takes what is there.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // SAFETY: every header points to one vector, and every vector to its own part of the buffer; both
        // live as long as self, and their heap blocks do not move.
        let answer = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as usize) }
    }

    /// The datagram at this place of the last call.
    pub fn datagram(&self, place: usize) -> &[u8] {
        let start = place * self.datagram_bytes;
        &self.buffer[start..start + self.headers[place].msg_len as usize]
    }
}

/// Sends the datagrams over a connected socket with as few system calls as possible; returns how many calls.
pub fn send_many<'a>(socket: &UdpSocket, datagrams: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
    let mut vectors: Vec<libc::iovec> = datagrams
        .map(|bytes| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = vectors.iter_mut().map(header).collect();
    let mut calls = 0;
    let mut sent = 0;
    while sent < headers.len() {
        let rest = &mut headers[sent..];
        // SAFETY: the headers point to live vectors, and those to datagrams borrowed for this call; sending
        // only reads them, although iovec has a mutable pointer.
        let answer =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        calls += 1;
        sent += answer as usize;
    }
    Ok(calls)
}

fn header(vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain data for which all zeroes (no address, no control data) is a valid value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}
