//! Real syslog servers, rsyslog and syslog-ng, each with a configuration and sockets of its own, that write down what they
//! understood.
//!
//! They are unpacked by `scripts/peers`. Where they are missing a test fails if `CI` is set, and otherwise says so and passes.

use std::{
    fmt::Write as _,
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{messages, skipped::skip, wait};

/// A way from the router to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The endpoint's `transport`.
    pub transport: &'static str,
    /// The endpoint's `format`.
    pub format: &'static str,
    /// The endpoint's `framing`; nothing for datagrams.
    pub framing: &'static str,
}

impl Way {
    /// What it is called in configurations and file names.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.transport, self.format, self.framing)
    }
}

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Rsyslog,
    SyslogNg,
}

/// A running server. Killed if a test ends without stopping it.
pub struct SyslogServer {
    program: Program,
    folder: TempDir,
    ways: Vec<Listening>,
    /// Where it believes to be, as `TZ` says it.
    zone: &'static str,
    process: Child,
}

struct Listening {
    way: Way,
    /// Of UDP or TCP.
    port: u16,
    /// Of a Unix socket.
    socket: PathBuf,
}

/// One message, as a server understood it. What is not there is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub facility: u64,
    pub severity: u64,
    pub host: String,
    pub program: String,
    pub process: String,
    pub id: String,
    pub data: String,
    pub time: String,
    pub text: String,
}

impl SyslogServer {
    /// Starts a server that listens in all these ways; `None` where it is not installed.
    pub fn start(program: Program, ways: &[Way]) -> Option<SyslogServer> {
        SyslogServer::start_in("UTC", program, ways)
    }

    /// As [`SyslogServer::start`], in a time zone.
    pub fn start_in(zone: &'static str, program: Program, ways: &[Way]) -> Option<SyslogServer> {
        let binary = program.binary();
        if !binary.is_file() {
            let message = format!("{} is not there; `make peers` installs it", binary.display());
            skip("a real syslog server", &message);
            return None;
        }
        let folder = tempfile::tempdir().expect("make a folder");
        let ways = ways.iter().map(|way| Listening::new(*way, folder.path())).collect();
        let process = Command::new("true").spawn().expect("run true");
        let mut server = SyslogServer { program, folder, ways, zone, process };
        fs::write(server.path("server.conf"), server.configuration()).expect("write the configuration");
        server.start_again();
        Some(server)
    }

    /// Starts it after a stop, on the same sockets, and waits until it listens on all of them.
    pub fn start_again(&mut self) {
        self.process.wait().expect("the last one has ended");
        for listening in &self.ways {
            // A socket of the last process does not count as listening.
            let _ = fs::remove_file(&listening.socket);
        }
        let log = fs::File::create(self.path("server.log")).expect("make the server's log");
        let mut command = self.program.command(self.folder.path());
        command.env("TZ", self.zone).env("LD_LIBRARY_PATH", libraries()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("share the log")).stderr(log);
        self.process = command.spawn().expect("run the server");
        let process = &mut self.process;
        for listening in &self.ways {
            wait::until(&format!("{:?} listens: {}", self.program, listening.way.name()), || {
                if let Some(status) = process.try_wait().expect("look at the server") {
                    let log = fs::read_to_string(self.folder.path().join("server.log"));
                    panic!("the server ended ({status}): {}", log.unwrap_or_default());
                }
                listening.is_there().then_some(())
            });
        }
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
        wait::until("the server ends", || self.process.try_wait().expect("look at the server"));
    }

    /// Ends it on the spot. The line that it was about to write is lost.
    pub fn kill(&mut self) {
        self.process.kill().expect("kill the server");
        self.process.wait().expect("wait for the server");
        for listening in &self.ways {
            let path = self.path(&format!("{}.out", listening.way.name()));
            let text = fs::read(&path).unwrap_or_default();
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
            fs::write(&path, &text[..end]).expect("cut off half a line");
        }
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status();
        assert!(sent.expect("run kill").success());
    }

    /// The keys of an endpoint that sends this way.
    pub fn endpoint(&self, way: Way) -> String {
        let listening = self.listening(way);
        let mut keys = format!("transport = \"{}\"\nformat = \"{}\"\n", way.transport, way.format);
        if !way.framing.is_empty() {
            let _ = writeln!(keys, "framing = \"{}\"", way.framing);
        }
        match way.transport {
            "udp" | "tcp" => writeln!(keys, "address = \"127.0.0.1:{}\"", listening.port),
            _ => writeln!(keys, "path = {:?}", listening.socket),
        }
        .expect("write to a text");
        keys
    }

    /// What it has understood so far of what came this way.
    pub fn received(&self, way: Way) -> Vec<Record> {
        let text = fs::read(self.path(&format!("{}.out", way.name()))).unwrap_or_default();
        // The last line may be under way.
        let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        lines.map(Record::parse).collect()
    }

    /// Waits until it has received so many messages this way.
    #[track_caller]
    pub fn wait_for(&self, way: Way, count: usize) -> Vec<Record> {
        wait::until(&format!("{count} messages have come over {}: {}", way.name(), self.log()), || {
            Some(self.received(way)).filter(|received| received.len() >= count)
        })
    }

    fn listening(&self, way: Way) -> &Listening {
        self.ways.iter().find(|listening| listening.way == way).expect("a way of this server")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    fn configuration(&self) -> String {
        let mut text = match self.program {
            Program::Rsyslog => RSYSLOG.to_owned(),
            Program::SyslogNg => SYSLOG_NG.to_owned(),
        };
        for listening in &self.ways {
            let name = listening.way.name();
            let output = self.path(&format!("{name}.out"));
            match self.program {
                Program::Rsyslog => {
                    let _ = writeln!(
                        text,
                        "ruleset(name=\"{name}\") {{ action(type=\"omfile\" file={output:?} template=\"parsed\") }}\n\
                         input({} ruleset=\"{name}\")",
                        listening.rsyslog_input()
                    );
                }
                Program::SyslogNg => {
                    let _ = writeln!(
                        text,
                        "log {{ source {{ {}; }}; destination {{ file({output:?} template(parsed)); }}; }};",
                        listening.syslog_ng_source()
                    );
                }
            }
        }
        text
    }
}

impl Drop for SyslogServer {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's own escaping is switched off, so that what arrived can be compared.
const RSYSLOG: &str = r#"
global(parser.escapeControlCharactersOnReceive="off" parser.permitSlashInProgramName="on" net.enableDNS="off")
module(load="imudp")
module(load="imtcp")
module(load="imptcp")
module(load="imuxsock" SysSock.Use="off")
template(name="parsed" type="list" option.jsonf="on") {
    property(outname="facility" name="syslogfacility" format="jsonf")
    property(outname="severity" name="syslogseverity" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="program" name="app-name" format="jsonf")
    property(outname="process" name="procid" format="jsonf")
    property(outname="id" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" date.inUTC="on" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
}
"#;

const SYSLOG_NG: &str = r#"@version: 3.38
options { keep-hostname(yes); use-dns(no); dns-cache(no); stats-freq(0); frac-digits(6); };
template parsed {
    template("$(format-json --scope none facility=$FACILITY_NUM severity=$LEVEL_NUM host=$HOST program=$PROGRAM process=$PID id=$MSGID data=$SDATA time=$ISODATE text=$MSG)\n");
};
"#;

impl Listening {
    fn new(way: Way, folder: &Path) -> Listening {
        // The system's choice. The server takes it after it was let go: neither program says which it was given.
        let port = match way.transport {
            "udp" => UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()),
            _ => TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()),
        };
        Listening {
            way,
            port: port.expect("a free port").port(),
            socket: folder.join(format!("{}.sock", way.name())),
        }
    }

    fn is_there(&self) -> bool {
        match self.way.transport {
            "udp" => {
                let table = fs::read_to_string("/proc/net/udp").expect("the system's sockets");
                table.contains(&format!(":{:04X} 00000000:0000", self.port))
            }
            "tcp" => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
            _ => self.socket.exists(),
        }
    }

    fn rsyslog_input(&self) -> String {
        let Listening { way, port, socket } = self;
        match (way.transport, way.format) {
            ("udp", _) => format!("type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\""),
            ("tcp", _) => format!("type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\""),
            ("unix", "local") => format!(
                "type=\"imuxsock\" Socket={socket:?} RateLimit.Interval=\"0\" useSysTimeStamp=\"off\" IgnoreTimestamp=\"off\""
            ),
            ("unix", _) => format!(
                "type=\"imuxsock\" Socket={socket:?} RateLimit.Interval=\"0\" useSysTimeStamp=\"off\" IgnoreTimestamp=\"off\" \
                 useSpecialParser=\"off\" parseHostname=\"on\""
            ),
            _ => format!("type=\"imptcp\" path={socket:?}"),
        }
    }

    fn syslog_ng_source(&self) -> String {
        let Listening { way, port, socket } = self;
        let standard = match (way.format, way.transport) {
            ("rfc5424", _) => "flags(syslog-protocol)",
            ("rfc3164", "unix" | "unix_stream") => "flags(expect-hostname)",
            _ => "",
        };
        let address = format!("ip(\"127.0.0.1\") port({port})");
        match (way.transport, way.framing) {
            ("udp", _) => format!("network(transport(\"udp\") {address} {standard})"),
            ("tcp", "octet_counting") => format!("syslog(transport(\"tcp\") {address})"),
            ("tcp", _) => format!("network(transport(\"tcp\") {address} {standard})"),
            ("unix", _) => format!("unix-dgram({socket:?} {standard})"),
            _ => format!("unix-stream({socket:?} {standard})"),
        }
    }
}

impl Program {
    fn binary(self) -> PathBuf {
        installed().join(match self {
            Program::Rsyslog => "usr/sbin/rsyslogd",
            Program::SyslogNg => "usr/sbin/syslog-ng",
        })
    }

    fn command(self, folder: &Path) -> Command {
        let mut command = Command::new(self.binary());
        let path = |name: &str| folder.join(name);
        match self {
            Program::Rsyslog => {
                let modules = library_folders().map(|libraries| libraries.join("rsyslog"));
                let modules =
                    modules.into_iter().find(|modules| modules.is_dir()).expect("rsyslog's modules");
                command.arg("-n").arg("-f").arg(path("server.conf"));
                command.arg("-i").arg(path("server.pid")).arg("-M").arg(modules);
            }
            Program::SyslogNg => {
                command.arg("-F").arg("--no-caps").arg("-f").arg(path("server.conf"));
                command.arg("-p").arg(path("server.pid")).arg("-c").arg(path("server.control"));
                command.arg("-R").arg(path("server.persist"));
                command.arg("--module-path").arg(installed().join("usr/lib/syslog-ng/3.38"));
            }
        }
        command
    }
}

fn installed() -> PathBuf {
    messages::tests_folder().join("peers/debian")
}

fn library_folders() -> [PathBuf; 2] {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    [installed().join("usr/lib").join(&triplet), installed().join("lib").join(triplet)]
}

fn libraries() -> String {
    let mut folders = library_folders().to_vec();
    folders.push(installed().join("usr/lib/syslog-ng"));
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}

impl Record {
    fn parse(line: &[u8]) -> Record {
        let line = String::from_utf8_lossy(line);
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |key: &str| match value[key].as_str() {
            Some("-") | None => String::new(),
            Some(text) => text.to_owned(),
        };
        let number = |key: &str| text(key).parse().unwrap_or_else(|error| panic!("{key}: {error}: {line}"));
        Record {
            facility: number("facility"),
            severity: number("severity"),
            host: text("host"),
            program: text("program"),
            process: text("process"),
            id: text("id"),
            data: text("data"),
            time: text("time"),
            // rsyslog keeps the space behind an RFC 3164 tag.
            text: value["text"]
                .as_str()
                .map(|text| text.strip_prefix(' ').unwrap_or(text))
                .unwrap_or_default()
                .to_owned(),
        }
    }
}
