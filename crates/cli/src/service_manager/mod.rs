//! What a service manager is told: ready, reloading, stopping, how it goes, and that the router still works.
//!
//! The protocol is that of sd_notify(3): lines of `NAME=value` in one datagram to the socket that `NOTIFY_SOCKET` names, a path or,
//! with `@` in front, a name in the abstract name space. Whoever is not run by a service manager has no such variable, and
//! then nothing is sent. A manager that does not listen is no reason to stop: it is said once, and the router goes on.

pub mod heartbeat;

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use metlog_router::clock;

/// A manager whose queue is full for longer than this does not get the message.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// What a stop may take beyond what the router allows itself, on a machine that is busy with stopping.
const STOP_RESERVE: Duration = Duration::from_secs(5);

/// Who runs this process, if somebody does.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    has_failed: AtomicBool,
    /// Until when the router may be busy with stopping.
    stopping_until: Mutex<Option<Instant>>,
}

impl ServiceManager {
    /// The one that the environment names.
    pub fn from_environment() -> ServiceManager {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let watchdog = watchdog(env::var("WATCHDOG_USEC").ok(), env::var("WATCHDOG_PID").ok(), process::id());
        ServiceManager::new(address.as_deref(), watchdog)
    }

    fn new(address: Option<&OsStr>, watchdog: Option<Duration>) -> ServiceManager {
        let socket = address.and_then(|address| match open(address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(
                    "cannot speak to the service manager at {}, which NOTIFY_SOCKET names: {error}",
                    address.display()
                );
                None
            }
        });
        ServiceManager {
            socket,
            watchdog,
            has_failed: AtomicBool::new(false),
            stopping_until: Mutex::default(),
        }
    }

    /// Every input listens, or a reload is over.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// A reload begins; [`ServiceManager::ready`] ends it, however it went.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::system_monotonic().as_micros()));
    }

    /// The stop begins and takes no longer than this. The manager waits as long, whatever time-out it was configured with.
    pub fn stopping(&self, at_most: Duration) {
        let at_most = at_most + STOP_RESERVE;
        *self.stopping_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + at_most);
        self.tell(&format!(
            "STOPPING=1\nWATCHDOG=1\nSTATUS=stopping: delivering what is buffered\nEXTEND_TIMEOUT_USEC={}",
            at_most.as_micros()
        ));
    }

    fn stopping_until(&self) -> Option<Instant> {
        *self.stopping_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends these lines; whether the manager takes them, which is busy with other things now and then.
    fn tell(&self, state: &str) -> bool {
        let Some((socket, address)) = &self.socket else { return false };
        match socket.send_to_addr(state.as_bytes(), address) {
            Ok(_) => {
                self.has_failed.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the service manager does not take messages: {error}");
                }
                false
            }
        }
    }
}

fn open(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok((socket, address))
}

/// After how long without a word this process is ended. A child may inherit the variables of its parent, which `process` tells apart.
fn watchdog(period: Option<String>, process: Option<String>, me: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(me)) {
        return None;
    }
    let microseconds = period?.parse().ok().filter(|microseconds| *microseconds > 0)?;
    Some(Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: &str) -> Option<String> {
        Some(number.to_owned())
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_this_ones() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(text("1000000"), None, 7), second);
        assert_eq!(watchdog(text("1000000"), text("7"), 7), second);
        assert_eq!(watchdog(text("1000000"), text("8"), 7), None);
        assert_eq!(watchdog(text("1000000"), text("x"), 7), None);
        assert_eq!(watchdog(None, text("7"), 7), None);
        assert_eq!(watchdog(text("0"), None, 7), None);
        assert_eq!(watchdog(text("-1"), None, 7), None);
    }

    #[test]
    fn a_manager_in_the_abstract_name_space_is_told_too() {
        let name = format!("metlog-test-{}", process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let before = clock::system_monotonic().as_micros();
        ServiceManager::new(Some(OsStr::new(&format!("@{name}"))), None).reloading();
        let mut buffer = [0; 200];
        let length = manager.recv(&mut buffer).unwrap();
        let told = std::str::from_utf8(&buffer[..length]).unwrap();
        let moment = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let moment: u128 = moment.parse().unwrap();
        assert!((before..=clock::system_monotonic().as_micros()).contains(&moment), "{told}");
    }

    #[test]
    fn a_manager_that_is_not_there_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nobody");
        let manager = ServiceManager::new(Some(nowhere.as_os_str()), None);
        manager.ready();
        assert!(manager.has_failed.load(Ordering::Relaxed));
        ServiceManager::new(Some(OsStr::new(&"x".repeat(200))), None).ready();
        ServiceManager::new(None, None).ready();
    }
}
