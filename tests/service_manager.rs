//! What systemd is told: the tests play its side of the socket.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use crate::support::{Router, Setup, senders, wait};

const CONFIGURATION: &str = r#"
shutdown_timeout = "7s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.log]
kind = "file"
path = "log.jsonl"

[[routes]]
to = ["log"]
"#;

/// systemd's side: a socket at which datagrams arrive, each of some lines.
struct Systemd {
    _folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Systemd {
    /// Starts a router as systemd would, with a watchdog of this period.
    fn start(configuration: &str, watchdog: Duration) -> (Systemd, Router) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let router = Setup::new(configuration)
            .variable("NOTIFY_SOCKET", path)
            .variable("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .start();
        (Systemd { _folder: folder, socket }, router)
    }

    /// The next datagram.
    #[track_caller]
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message of the router");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Reads on until a line begins like this, and returns the rest of the line.
    #[track_caller]
    fn wait_for(&self, beginning: &str) -> String {
        self.read_until(beginning, |message| {
            message.lines().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned)
        })
    }

    /// Reads on until a datagram begins like this, and returns all of it.
    #[track_caller]
    fn wait_for_message(&self, beginning: &str) -> String {
        self.read_until(beginning, |message| message.starts_with(beginning).then(|| message.to_owned()))
    }

    #[track_caller]
    fn read_until(&self, what: &str, find: impl Fn(&str) -> Option<String>) -> String {
        let deadline = Instant::now() + wait::PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            last = self.next();
            if let Some(found) = find(&last) {
                return found;
            }
        }
        panic!("{what} never came, but {last}");
    }
}

#[test]
fn systemd_hears_of_the_start_a_reload_and_the_stop() {
    let (systemd, router) = Systemd::start(CONFIGURATION, Duration::from_secs(60));
    assert_eq!(systemd.next(), "READY=1");
    let first = systemd.next();
    assert_eq!(first, "WATCHDOG=1\nSTATUS=healthy: 1 input, 1 endpoint");

    router.signal("HUP");
    let moment: u64 = systemd.wait_for("MONOTONIC_USEC=").parse().unwrap();
    assert!(moment > 0);
    assert_eq!(systemd.wait_for("READY="), "1");

    // A reload that changes nothing is over for systemd too.
    fs::write(router.path("metlog.toml"), "nonsense").unwrap();
    router.signal("HUP");
    systemd.wait_for("RELOADING=1");
    assert_eq!(systemd.wait_for("READY="), "1");

    router.signal("TERM");
    let last = systemd.wait_for_message("STOPPING=1\n");
    // The router's own seven seconds, one for a thread that hangs, and five in reserve.
    assert!(
        last.ends_with("STATUS=stopping: delivering what is buffered\nEXTEND_TIMEOUT_USEC=13000000"),
        "{last}"
    );
    router.wait_until_stopped_by_itself();
}

#[test]
fn the_watchdog_hears_of_a_router_that_works_also_while_an_endpoint_is_in_trouble() {
    let full = CONFIGURATION.replace("log.jsonl", "/dev/full").replace("7s", "200ms");
    let begin = Instant::now();
    let (systemd, router) = Systemd::start(&full, Duration::from_millis(100));
    senders::tcp(router.address("tcp"), b"{\"type\":\"a\"}\n");
    let status = systemd.wait_for("STATUS=in trouble: endpoint `log` fails: ");
    assert!(status.contains("No space left on device"), "{status}");
    // It works all the same: it holds the message.
    for _ in 0..10 {
        systemd.wait_for("WATCHDOG=1");
    }
    // They may have waited in the socket, but since the start there was one for each half of the period at most.
    assert!(begin.elapsed() >= Duration::from_millis(9 * 50), "{:?}", begin.elapsed());
    router.stop();
}

#[test]
fn a_router_that_stands_still_feeds_no_watchdog() {
    let (systemd, router) = Systemd::start(CONFIGURATION, Duration::from_millis(40));
    systemd.wait_for("WATCHDOG=1");
    router.signal("STOP");
    router.wait_until_stopped();
    systemd.socket.set_nonblocking(true).unwrap();
    while systemd.socket.recv(&mut [0; 4096]).is_ok() {}
    systemd.socket.set_nonblocking(false).unwrap();
    systemd.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(systemd.socket.recv(&mut [0; 4096]).is_err());
    router.signal("CONT");
    systemd.socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    systemd.wait_for("WATCHDOG=1");
    router.stop();
}
