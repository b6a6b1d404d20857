//! A router process in a folder of its own.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ledger, wait};

/// The binary under test.
pub const METLOG: &str = env!("CARGO_BIN_EXE_metlog");

/// The configuration behind inputs `udp` and `tcp`, each on a port of the system's choice.
pub fn with_udp_and_tcp(configuration: &str) -> String {
    UDP_AND_TCP.to_owned() + configuration
}

const UDP_AND_TCP: &str = r#"
[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"
"#;

/// What a router needs before it starts.
pub struct Setup {
    folder: TempDir,
    stdin: Option<File>,
    limits: Option<String>,
    environment: Vec<(&'static str, OsString)>,
}

impl Setup {
    /// An empty folder with this configuration. The API is added on a port of the system's choice.
    pub fn new(configuration: &str) -> Setup {
        let folder = tempfile::tempdir().expect("make a folder");
        let configuration = format!("{configuration}\n[api]\nlisten = \"127.0.0.1:0\"\n");
        fs::write(folder.path().join("metlog.toml"), configuration).expect("write the configuration");
        Setup { folder, stdin: None, limits: None, environment: Vec::new() }
    }

    /// A path in the router's folder, which is its working directory too.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Adds keys to its `[api]` section.
    pub fn api(self, keys: &str) -> Setup {
        let file = self.path("metlog.toml");
        let text = fs::read_to_string(&file).expect("read the configuration");
        fs::write(&file, format!("{text}{keys}\n")).expect("write the configuration");
        self
    }

    /// What the router reads as its standard input.
    pub fn stdin(mut self, stdin: File) -> Setup {
        self.stdin = Some(stdin);
        self
    }

    /// Limits its resources: arguments of the shell's `ulimit`.
    pub fn ulimit(mut self, arguments: &str) -> Setup {
        self.limits = Some(arguments.to_owned());
        self
    }

    /// Sets a variable of its environment.
    pub fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Setup {
        self.environment.push((name, value.into()));
        self
    }

    /// The command that would run it.
    pub fn command(&self) -> Command {
        let mut command = match &self.limits {
            Some(limits) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit {limits} && exec \"$0\" \"$@\""), METLOG]);
                shell
            }
            None => Command::new(METLOG),
        };
        command.args(["run", "--config", "metlog.toml", "--log-format", "json"]);
        command.current_dir(self.folder.path()).env_remove("METLOG_LOG");
        // Whoever runs the tests may be run by a service manager.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it and waits until it listens everywhere.
    #[track_caller]
    pub fn start(self) -> Router {
        let mut router = self.spawn();
        let api = wait::until("the router listens", || {
            if let Some(status) = router.child.try_wait().expect("look at the router") {
                panic!("the router ended ({status}):\n{}", router.log.text());
            }
            router.log.find(|line| line["message"] == "listening api")
        });
        router.api = address_in(&api);
        router
    }

    /// Runs it where it is expected to fail; returns its exit status and what it said.
    #[track_caller]
    pub fn run_to_its_end(self) -> (ExitStatus, String) {
        let mut router = self.spawn();
        let status = router.wait_for_exit();
        (status, router.log.text())
    }

    /// Runs it where its inputs end by themselves.
    #[track_caller]
    pub fn run_to_its_good_end(self) -> Stopped {
        self.spawn().wait_until_stopped_by_itself()
    }

    fn spawn(mut self) -> Router {
        let mut command = self.command();
        command.stdin(self.stdin.take().map_or(Stdio::null(), Stdio::from));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("run metlog");
        let log = Log::default();
        let reader = log.follow(child.stderr.take().expect("standard error"));
        Router { folder: self.folder, child, log, reader: Some(reader), api: None }
    }
}

/// A running router. Killed if a test ends without stopping it.
pub struct Router {
    folder: TempDir,
    child: Child,
    log: Log,
    reader: Option<JoinHandle<()>>,
    api: Option<SocketAddr>,
}

impl Router {
    /// Starts a router with this configuration.
    #[track_caller]
    pub fn start(configuration: &str) -> Router {
        Setup::new(configuration).start()
    }

    /// A path in its folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Where an input listens, as the router says it in its log.
    #[track_caller]
    pub fn listening(&self, input: &str) -> String {
        let line = self.log.find(|line| line["message"] == "listening" && line["input"] == input);
        let line = line.unwrap_or_else(|| panic!("`{input}` does not listen:\n{}", self.log.text()));
        line["address"].as_str().expect("an address").to_owned()
    }

    /// The address that an input listens on.
    #[track_caller]
    pub fn address(&self, input: &str) -> SocketAddr {
        self.listening(input).parse().expect("a socket address")
    }

    /// The address that an input listens on at this moment, after a reload.
    #[track_caller]
    pub fn address_now(&self, input: &str) -> SocketAddr {
        let ledger = self.ledger();
        ledger.input(input)["address"].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    /// The path of an input's Unix socket.
    #[track_caller]
    pub fn socket_path(&self, input: &str) -> String {
        self.path(&self.listening(input)).to_str().expect("a text").to_owned()
    }

    /// Waits for a line of its log.
    #[track_caller]
    pub fn wait_for_log(&self, message: &str) -> Value {
        wait::until(&format!("the router logs `{message}`"), || {
            self.log.find(|line| line["message"] == message)
        })
    }

    /// Where its API listens.
    pub fn api(&self) -> SocketAddr {
        self.api.expect("an API")
    }

    /// Writes its configuration anew, as [`Setup::new`] does. The router does not know of it yet.
    pub fn reconfigure(&self, configuration: &str) {
        let configuration = format!("{configuration}\n[api]\nlisten = \"127.0.0.1:0\"\n");
        fs::write(self.path("metlog.toml"), configuration).expect("write the configuration");
    }

    /// Has it go on with this configuration: what `metlog reload` says, which must work.
    #[track_caller]
    pub fn reload(&self, configuration: &str) -> String {
        self.reconfigure(configuration);
        let output = self.run_reload();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Runs `metlog reload`.
    pub fn run_reload(&self) -> Output {
        let api = self.api().to_string();
        let mut command = Command::new(METLOG);
        command.args(["reload", "--api", &api]).env_remove("METLOG_API_TOKEN").env("NO_COLOR", "1");
        command.output().expect("run metlog reload")
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has open, and how many threads it has.
    pub fn descriptors_and_threads(&self) -> (usize, usize) {
        let count = |what: &str| {
            let folder = format!("/proc/{}/{what}", self.child.id());
            fs::read_dir(folder).expect("look at the process").count()
        };
        (count("fd"), count("task"))
    }

    /// The ledger now.
    #[track_caller]
    pub fn ledger(&self) -> Ledger {
        let api = self.api.expect("an API");
        Ledger::read(api).unwrap_or_else(|| panic!("the API does not answer:\n{}", self.log.text()))
    }

    /// Waits until the ledger is as wanted.
    #[track_caller]
    pub fn wait(&self, what: &str, mut is_wanted: impl FnMut(&Ledger) -> bool) -> Ledger {
        let mut last = None;
        let deadline = Instant::now() + wait::PATIENCE;
        while Instant::now() < deadline {
            let ledger = self.ledger();
            if is_wanted(&ledger) {
                return ledger;
            }
            last = Some(ledger);
            thread::sleep(wait::PAUSE);
        }
        panic!("waited in vain until {what}: {last:?}\n{}", self.log.text());
    }

    /// Waits until all inputs together have received so many frames and nothing is queued. What a full buffer had no room for
    /// is not queued: who sends more than a buffer holds waits for what is delivered.
    #[track_caller]
    pub fn wait_until_delivered(&self, received: u64) -> Ledger {
        // One after the other: an answer may hold the buffers of a moment before its inputs.
        self.wait(&format!("{received} frames are received"), |ledger| ledger.received_in_all() >= received);
        self.wait("everything is delivered", |ledger| ledger.queued() == 0);
        self.balanced()
    }

    /// The ledger once both equations hold, which they do as soon as nothing is under way.
    #[track_caller]
    pub fn balanced(&self) -> Ledger {
        self.wait("both equations hold", |ledger| ledger.balances().is_ok())
    }

    /// Sends it a signal, by its name without `SIG`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        // The shell's own `kill`: the program is not everywhere.
        let sent =
            Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().expect("run kill");
        assert!(sent.success(), "kill -s {name}");
    }

    /// Waits until every one of its threads stands still, after `SIGSTOP`.
    pub fn wait_until_stopped(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        wait::until("the router stands still", || {
            let all = fs::read_dir(&tasks).ok()?.all(|task| {
                let stat = task.ok().and_then(|task| fs::read_to_string(task.path().join("stat")).ok());
                stat.is_some_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
            });
            all.then_some(())
        });
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("read its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib * 1024
    }

    /// Asks it to stop with SIGTERM. It must exit with status 0; returns its folder and its last word on every message,
    /// in which both equations hold.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.signal("TERM");
        self.wait_until_stopped_by_itself()
    }

    /// Kills it: it gets no chance to do anything. Gives what is needed to start it again in its folder.
    pub fn kill(mut self) -> Setup {
        self.child.kill().expect("kill the router");
        self.wait_for_exit();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("make a folder"));
        Setup { folder, stdin: None, limits: None, environment: Vec::new() }
    }

    /// Waits until it ends with status 0; see [`Router::stop`].
    #[track_caller]
    pub fn wait_until_stopped_by_itself(mut self) -> Stopped {
        let status = self.wait_for_exit();
        assert!(status.success(), "the router ended with {status}:\n{}", self.log.text());
        let ledger = self.log.last_ledger();
        assert_eq!(ledger.balances(), Ok(()), "after the end");
        // The folder outlives the process.
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("make a folder"));
        Stopped { folder, ledger, log: self.log.text() }
    }

    /// Waits until it ends, however it does.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let status = wait::until("the router ends", || self.child.try_wait().expect("look at the router"));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read the log");
        }
        status
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the router's log:\n{}", self.log.text());
        }
    }
}

/// A router that has ended as it should.
pub struct Stopped {
    folder: TempDir,
    /// What it said of every message at its end.
    pub ledger: Ledger,
    /// Everything that it said.
    pub log: String,
}

impl Stopped {
    /// A path in its folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// What is needed to start it again in its folder.
    pub fn again(self) -> Setup {
        Setup { folder: self.folder, stdin: None, limits: None, environment: Vec::new() }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// What a router writes to its standard error, as it comes.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    fn follow(&self, stderr: impl std::io::Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("the log").push(line);
            }
        })
    }

    fn text(&self) -> String {
        self.lines.lock().expect("the log").join("\n")
    }

    fn parsed(&self) -> Vec<Value> {
        let lines = self.lines.lock().expect("the log");
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn find(&self, is_wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        self.parsed().into_iter().find(|line| is_wanted(line))
    }

    /// The accounts that a router logs when it ends, in the shape of the API's.
    fn last_ledger(&self) -> Ledger {
        // A loss is also told when it happens, without the account.
        let is_endpoint = |line: &Value| {
            ["stopped", "messages were dropped"].map(Value::from).contains(&line["message"])
                && line["enqueued"].is_number()
        };
        let inputs: Vec<Value> = self.accounts(|line| line["message"] == "closed", "input", &["rejected"]);
        let endpoints: Vec<Value> = self.accounts(is_endpoint, "endpoint", &["refused", "dropped"]);
        assert!(!inputs.is_empty() && !endpoints.is_empty(), "no last accounts:\n{}", self.text());
        Ledger(json!({ "inputs": inputs, "endpoints": endpoints }))
    }

    fn accounts(&self, is_wanted: impl Fn(&Value) -> bool, name: &str, reasons: &[&str]) -> Vec<Value> {
        let mut accounts: Vec<Value> = self.parsed().into_iter().filter(is_wanted).collect();
        for account in &mut accounts {
            account["name"] = account[name].take();
            for reason in reasons {
                account[*reason] = by_reason(account[*reason].as_str().unwrap_or_default());
            }
        }
        accounts
    }
}

/// `shutdown=12, buffer-full=3` as the API writes it.
fn by_reason(text: &str) -> Value {
    let counts = text.split(", ").filter_map(|count| count.split_once('='));
    counts.map(|(reason, count)| (reason.to_owned(), json!(count.parse::<u64>().expect("a count")))).collect()
}

fn address_in(line: &Value) -> Option<SocketAddr> {
    line["address"].as_str()?.parse().ok()
}
