//! `GET /api/v1/pipeline`: the shape of its answer, and how it is read from a running router.
//!
//! The shape is a contract with dashboards and scripts: keys are added, never renamed or removed. All counts are since the
//! router started. Two equations hold for what is quiet; `balances` says whether they do at this moment, and may well be
//! false while messages are on their way from one counter to the next:
//!
//! * input: received = routed + unrouted + blank + the sum of rejected
//! * endpoint: enqueued = delivered + the sum of refused + the sum of dropped + queued

use std::{collections::BTreeMap, time::Duration};

use metlog_message::Timestamp;
use metlog_router::ledger::{
    Account, DropReason, EndpointAccount, EndpointLedger, FileLedger, FilesLedger, InputAccount, InputLedger,
};
use serde::{Deserialize, Serialize};

use super::Observed;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The router's version.
    pub version: String,
    /// What the router does.
    pub state: State,
    /// When it started, in RFC 3339.
    pub started_at: String,
    /// How long ago that was.
    pub uptime_seconds: f64,
    /// In the order of the configuration; then those that a reload has removed.
    pub inputs: Vec<Input>,
    /// In the order of the configuration, which is the order in which they are tried.
    pub routes: Vec<Route>,
    /// In the order of the configuration; then those that a reload has removed.
    pub endpoints: Vec<Endpoint>,
}

/// What a router does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It takes messages and delivers them.
    Running,
    /// It takes no more, and delivers what it has.
    Stopping,
}

/// One input with its side of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The address or path that it reads from, with the port that the operating system chose.
    pub address: String,
    /// Whether a reload took it out of the configuration. It is shown for ten minutes more.
    #[serde(default)]
    pub removed: bool,
    /// Frames (datagrams, lines) taken from the transport.
    pub received: u64,
    /// Messages that matched at least one route.
    pub routed: u64,
    /// Messages that matched none.
    pub unrouted: u64,
    /// Frames of nothing but white space.
    pub blank: u64,
    /// Frames that could not be used, by reason. Reasons that never occurred are left out.
    pub rejected: BTreeMap<String, u64>,
    /// Messages whose timestamp is no date; they are routed all the same.
    pub timestamp_unreadable: u64,
    /// Bytes taken from the transport.
    pub bytes: u64,
    /// Connections, for kinds that have them.
    pub connections: Connections,
    /// Unfinished lines given up because the memory for them was used up; they are part of `rejected`.
    pub lines_given_up: u64,
    /// Datagrams that the kernel dropped before the router could read them; they are not part of `received`.
    pub kernel_drops: u64,
    /// What is worth knowing but no message's fate, such as a truncated file, with how often it was noticed.
    #[serde(default)]
    pub noticed: BTreeMap<String, u64>,
    /// How far it has come with its files, for kinds that read files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Whether the equation held when this was read.
    pub balances: bool,
}

/// How far an input has come with its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Files {
    /// How many it follows.
    pub followed: u64,
    /// Bytes of them that are not acknowledged: still in a file, or on their way to an endpoint.
    pub behind_bytes: u64,
    /// How many of them cannot be read on.
    pub held_up: u64,
    /// Each of them, those furthest behind first; of more than a thousand, these.
    pub list: Vec<File>,
    /// What the patterns match and is not read.
    pub left_alone: Vec<LeftAlone>,
}

/// A file that is followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Its name, or the last one that it was found under.
    pub path: String,
    /// Whether it was renamed or deleted; it is read to its end then.
    pub gone: bool,
    /// How large it was when it was last looked at.
    pub size_bytes: u64,
    /// How far it was read.
    pub read_bytes: u64,
    /// How far it is acknowledged: a restart goes on from here.
    pub acknowledged_bytes: u64,
    /// What is left from there to its end.
    pub behind_bytes: u64,
    /// What it does or waits for, in a word: `reading`, `at-end`, `unfinished-line`, `waits-for-endpoint`,
    /// `waits-for-older-file`, `waits-to-be-opened`, `waits-for-memory`, `unreadable`.
    pub state: String,
    /// The name of the endpoint that it waits for, or why it cannot be read.
    pub detail: Option<String>,
    /// For how long that has been its state.
    pub state_seconds: f64,
    /// Whether it cannot be read on.
    pub held_up: bool,
}

/// A file that is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// Its name.
    pub path: String,
    /// The name under which it is counted in `noticed`.
    #[serde(default)]
    pub reason: String,
    /// Why.
    pub why: String,
}

/// An input's connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Accepted.
    pub opened: u64,
    /// Ended.
    pub closed: u64,
    /// Whether more wait in the kernel's queue, because as many are open as `limits.connections` allows.
    #[serde(default)]
    pub waiting: bool,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its position in the configuration, from 1.
    pub number: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its `match` in the configuration's own notation, written anew, with environment variables by
    /// their names; null for a route without one.
    pub condition: Option<String>,
    /// The names of the endpoints that its messages go to.
    pub to: Vec<String>,
    /// Whether no later route sees what it took.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Whether it takes what no other route took.
    pub unrouted: bool,
}

/// One endpoint with its side of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether a reload took it out of the configuration. It delivers what it holds, and is shown for ten minutes.
    #[serde(default)]
    pub removed: bool,
    /// Messages offered to its buffer, those that were then dropped included.
    pub enqueued: u64,
    /// Messages that it delivered.
    pub delivered: u64,
    /// Messages that it will never take, by reason. Reasons that never occurred are left out.
    pub refused: BTreeMap<String, u64>,
    /// Messages that were given up before delivery, by reason. Reasons that never occurred are left out.
    pub dropped: BTreeMap<String, u64>,
    /// Those of them that found no room in the last minute, to five seconds. None: it loses nothing at the moment.
    #[serde(default)]
    pub dropped_last_minute: BTreeMap<String, u64>,
    /// What of `noticed` tells that something may have been lost in the last minute, to five seconds: connections that ended while
    /// messages were under way.
    #[serde(default)]
    pub noticed_last_minute: BTreeMap<String, u64>,
    /// Messages that wait in its buffer.
    pub queued: u64,
    /// Bytes of memory that the buffer is charged.
    pub queued_bytes: u64,
    /// What it may be charged at most.
    pub buffer_limit_bytes: u64,
    /// Connections and files that are not read at the moment, because what they brought finds no room in the buffer.
    #[serde(default)]
    pub held_up: u64,
    /// Age of the oldest message that waits; null when none does. This is the endpoint's health.
    pub oldest_undelivered_seconds: Option<f64>,
    /// Deliveries that failed and were tried again.
    pub retries: u64,
    /// What is worth knowing but no message's fate, such as an unreachable peer, with how often it was noticed.
    pub noticed: BTreeMap<String, u64>,
    /// Why it is not delivering at the moment; null when it is.
    pub failure: Option<Failure>,
    /// Whether the equation held when this was read.
    pub balances: bool,
    /// The reasons for which it can drop messages. Not part of the answer: known to the router itself only.
    #[serde(skip)]
    pub drop_reasons: Vec<&'static str>,
}

/// Why an endpoint is not delivering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened, in words.
    pub error: String,
    /// How often in a row; 0 where nothing went wrong, but it was told to wait.
    pub attempts: u32,
    /// For how long this has been so.
    #[serde(default)]
    pub lasts_seconds: f64,
    /// How long ago it was tried last.
    #[serde(default)]
    pub last_attempt_seconds: f64,
    /// Whether it is tried again although there is nothing to deliver.
    #[serde(default)]
    pub tried_idle: bool,
}

impl Pipeline {
    /// The state of this moment.
    pub fn read(observed: &Observed) -> Pipeline {
        // Endpoints first: a message that moves on meanwhile is then missing at an endpoint, which is where it is still
        // to arrive, instead of turning up there before any input has counted it.
        let now = observed.clock.monotonic();
        let endpoints = observed.ledger.endpoints(now);
        let endpoints = endpoints.into_iter().map(|account| Endpoint::new(account, now)).collect();
        let inputs = observed.ledger.inputs().into_iter().map(Input::new).collect();
        Pipeline {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: observed.state(),
            started_at: Timestamp::from(observed.started_at).to_string(),
            uptime_seconds: observed.uptime().as_secs_f64(),
            inputs,
            routes: observed.routes(),
            endpoints,
        }
    }
}

impl Input {
    fn new(account: Account<InputAccount, InputLedger>) -> Input {
        let Account { of, is_removed, ledger } = account;
        Input {
            files: of.counters.files().map(Files::new),
            name: of.name,
            kind: of.kind.to_owned(),
            address: of.address,
            removed: is_removed,
            balances: ledger.balances(),
            received: ledger.received,
            routed: ledger.routed,
            unrouted: ledger.unrouted,
            blank: ledger.blank,
            rejected: ledger.rejected,
            timestamp_unreadable: ledger.timestamp_unreadable,
            bytes: ledger.bytes,
            connections: Connections {
                opened: ledger.connections_opened,
                closed: ledger.connections_closed,
                waiting: ledger.connections_waiting,
            },
            lines_given_up: ledger.lines_given_up,
            kernel_drops: ledger.kernel_drops,
            noticed: by_reason(ledger.noticed),
        }
    }
}

impl Files {
    fn new(files: FilesLedger) -> Files {
        let left_alone = files.left_alone.into_iter();
        Files {
            followed: files.followed,
            behind_bytes: files.behind_bytes,
            held_up: files.held_up,
            list: files.list.into_iter().map(File::new).collect(),
            left_alone: left_alone
                .map(|left| LeftAlone {
                    path: left.path.to_string_lossy().into_owned(),
                    reason: left.reason.to_owned(),
                    why: left.why,
                })
                .collect(),
        }
    }
}

impl File {
    fn new(file: FileLedger) -> File {
        File {
            path: file.path.to_string_lossy().into_owned(),
            gone: file.is_gone,
            size_bytes: file.size_bytes,
            read_bytes: file.read_bytes,
            acknowledged_bytes: file.acknowledged_bytes,
            behind_bytes: file.behind_bytes(),
            state: file.standing.name().to_owned(),
            detail: file.standing.detail().map(str::to_owned),
            state_seconds: file.standing_for.as_secs_f64(),
            held_up: file.standing.is_held_up(),
        }
    }
}

impl Endpoint {
    fn new(account: Account<EndpointAccount, EndpointLedger>, now: Duration) -> Endpoint {
        let age = |moment: Duration| now.saturating_sub(moment).as_secs_f64();
        let Account { of, is_removed, ledger } = account;
        Endpoint {
            name: of.name,
            kind: of.kind.to_owned(),
            removed: is_removed,
            balances: ledger.balances(),
            enqueued: ledger.enqueued,
            delivered: ledger.delivered,
            refused: by_reason(ledger.refused),
            dropped: by_reason(ledger.dropped),
            dropped_last_minute: by_reason(ledger.dropped_last_minute),
            noticed_last_minute: by_reason(ledger.noticed_last_minute),
            queued: ledger.queued,
            queued_bytes: ledger.queued_bytes,
            buffer_limit_bytes: ledger.buffer_limit_bytes,
            held_up: ledger.held_up,
            oldest_undelivered_seconds: ledger.oldest_undelivered.map(|age| age.as_secs_f64()),
            retries: ledger.retries,
            noticed: by_reason(ledger.noticed),
            failure: ledger.failure.map(|failure| Failure {
                lasts_seconds: age(failure.since),
                last_attempt_seconds: age(failure.last),
                error: failure.error,
                attempts: failure.attempts,
                tried_idle: failure.tried_idle,
            }),
            drop_reasons: DropReason::possible(of.has_lanes).map(DropReason::name).collect(),
        }
    }
}

fn by_reason(counts: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}
