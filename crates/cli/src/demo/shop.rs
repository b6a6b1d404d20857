//! The generator: a web shop under traffic, as its own code would send it through the client library.
//!
//! Metrics go over UDP; log lines, exceptions and security events over TCP. Each request counts, is timed (with the tail that servers have) and logged;
//! some are slow, a few fail, and now and then the payment service is away, which throws exceptions and in the end pages
//! somebody. Who signs in is on record, as CEF events. What was sent is kept count of here, to be compared with what arrived.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use metlog::{
    Client, FieldValue, Severity, Stats,
    senders::{TcpSender, UdpSender},
};

use serde_json::json;

use super::random::Random;

/// The application's name, which its messages carry as `logger`.
pub const LOGGER: &str = "shop";

/// Requests a second, on average over a wave.
const REQUESTS_PER_SECOND: f64 = 60.0;

/// From one rush to the next.
const WAVE: Duration = Duration::from_secs(24);

/// How often the shop looks which requests are due.
const TICK: Duration = Duration::from_millis(10);

/// Once in so many seconds the payment service is away, for some seconds.
const OUTAGE_EVERY: f64 = 20.0;
const OUTAGE_FROM: f64 = 1.0;
const OUTAGE_UNTIL: f64 = 3.0;

/// How long the clients may take to send the rest.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked for: path, metric name, median milliseconds, spread.
const PAGES: &[(&str, &str, f64, f64)] = &[
    ("/", "home", 8.0, 0.5),
    ("/", "home", 8.0, 0.5),
    ("/search?q=teapot", "search", 35.0, 0.9),
    ("/item/4711", "item", 14.0, 0.6),
    ("/item/1138", "item", 14.0, 0.6),
    ("/cart", "cart", 11.0, 0.5),
    ("/checkout", "checkout", 90.0, 1.0),
];

/// What the auditors want to know: the event's class and name, its severity in CEF, its priority in syslog.
const SIGNED_IN: Audit = Audit { class: "4624", name: "signed in", severity: 2, priority: "NOTICE" };
const NOT_SIGNED_IN: Audit =
    Audit { class: "4625", name: "wrong password", severity: 5, priority: "WARNING" };
const REFUNDED: Audit = Audit { class: "7001", name: "refund granted", severity: 4, priority: "NOTICE" };

const USERS: &[&str] = &["ada", "grace", "edsger", "barbara", "donald", "alan"];

/// What was sent so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages by type.
    pub by_type: BTreeMap<&'static str, u64>,
    /// What each counter should add up to, by its name on the statsd side.
    pub counters: BTreeMap<String, i64>,
    /// Security events by name.
    pub audited: BTreeMap<String, u64>,
    /// Exceptions for Sentry by type.
    pub exceptions: BTreeMap<String, u64>,
    /// What the UDP client says.
    pub udp: Stats,
    /// What the TCP client says.
    pub tcp: Stats,
}

/// A shop that is open.
#[derive(Debug)]
pub struct Shop {
    clients: Clients,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Clients {
    metrics: Client,
    log: Client,
}

#[derive(Debug, Default)]
struct Tally {
    by_type: BTreeMap<&'static str, u64>,
    counters: BTreeMap<String, i64>,
    audited: BTreeMap<String, u64>,
    exceptions: BTreeMap<String, u64>,
}

/// A kind of security event.
#[derive(Debug)]
struct Audit {
    class: &'static str,
    name: &'static str,
    severity: u8,
    priority: &'static str,
}

impl Shop {
    /// Opens it: from now on it sends to these addresses.
    pub fn open(udp: SocketAddr, tcp: SocketAddr, seed: u64) -> anyhow::Result<Shop> {
        let metrics = Client::builder().logger(LOGGER).sender(UdpSender::new(&udp.to_string())?).build()?;
        let log = Client::builder().logger(LOGGER).sender(TcpSender::new(&tcp.to_string())?).build()?;
        let clients = Clients { metrics, log };
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut desk = Desk { clients: clients.clone(), tally: tally.clone(), random: Random::new(seed) };
        let told = stop.clone();
        let thread = thread::Builder::new()
            .name("demo-shop".to_owned())
            .spawn(move || desk.serve(&told))
            .context("cannot start a thread")?;
        Ok(Shop { clients, tally, stop, thread })
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        sent(&self.tally, &self.clients)
    }

    /// Closes it, and sends what waits.
    pub fn close(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has said so.
        let _ = self.thread.join();
        // What is left behind shows in the numbers.
        self.clients.metrics.close(CLOSE_TIMEOUT);
        self.clients.log.close(CLOSE_TIMEOUT);
        sent(&self.tally, &self.clients)
    }
}

fn sent(tally: &Mutex<Tally>, clients: &Clients) -> Sent {
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    Sent {
        by_type: tally.by_type.clone(),
        counters: tally.counters.clone(),
        audited: tally.audited.clone(),
        exceptions: tally.exceptions.clone(),
        udp: clients.metrics.stats(),
        tcp: clients.log.stats(),
    }
}

/// Where requests are served.
struct Desk {
    clients: Clients,
    tally: Arc<Mutex<Tally>>,
    random: Random,
}

impl Desk {
    fn serve(&mut self, stop: &AtomicBool) {
        self.log(Severity::Notice, "shop 2.4.1 is open".to_owned());
        let begin = Instant::now();
        let mut served = 0.0;
        let mut last_second = 0;
        let mut is_out = false;
        while !stop.load(Ordering::Relaxed) {
            let now = begin.elapsed().as_secs_f64();
            let outage = (OUTAGE_FROM..OUTAGE_UNTIL).contains(&(now % OUTAGE_EVERY));
            if outage != is_out {
                is_out = outage;
                self.report_outage(outage);
            }
            let due = due_requests(now);
            while served < due {
                self.serve_request(outage);
                served += 1.0;
            }
            if now as u64 > last_second {
                last_second = now as u64;
                self.say_how_it_goes();
            }
            thread::sleep(TICK);
        }
        self.log(Severity::Notice, "shop is closed".to_owned());
    }

    fn serve_request(&mut self, outage: bool) {
        let (path, page, median, spread) = *self.random.one_of(PAGES);
        let mut elapsed = self.random.latency_ms(median, spread);
        let fails = page == "checkout" && outage || self.random.chance(0.004);
        if fails {
            elapsed += 250.0;
        }
        let status = if fails { 503 } else { 200 };
        self.count(&format!("request.{page}"), 1);
        self.time(&format!("request.{page}"), elapsed);
        let user = *self.random.one_of(USERS);
        self.log(Severity::Informational, format!("GET {path} {status} {elapsed:.0} ms user={user}"));
        if self.random.chance(0.15) {
            self.log(Severity::Debug, format!("session of {user} found in the cache"));
        }
        if self.random.chance(0.04) {
            let event = if self.random.chance(0.25) { NOT_SIGNED_IN } else { SIGNED_IN };
            self.audit(&event, user);
        } else if self.random.chance(0.005) {
            self.audit(&REFUNDED, user);
        }
        if fails {
            self.count("error.503", 1);
            self.fail(page, user);
        } else if page == "checkout" {
            let cents = 500 + self.random.below(20_000) as i64;
            self.count("sold.cents", cents);
        }
        if elapsed > 400.0 {
            self.log(Severity::Warning, format!("slow: {path} took {elapsed:.0} ms"));
        }
    }

    fn fail(&mut self, page: &str, user: &str) {
        if self.random.chance(0.5) {
            self.log(Severity::Error, format!("{page}: no answer from the payment service"));
        } else {
            self.sent("oldstyle");
            self.clients.log.exception(&PaymentError { cause: ServiceAway });
        }
        let (kind, value) = match page {
            "checkout" => ("PaymentError", PaymentError { cause: ServiceAway }.to_string()),
            _ => ("TemplateError", "no price for this item".to_owned()),
        };
        let event = json!({
            "level": "error",
            "platform": "other",
            "release": "shop@2.4.1",
            "exception": { "values": [{ "type": kind, "value": value }] },
            "tags": { "page": page },
            "user": { "username": user },
        });
        self.sent("sentry");
        *self.tally().exceptions.entry(kind.to_owned()).or_default() += 1;
        let draft = self.clients.log.metlog("sentry").severity(Severity::Error);
        draft.field("msg", value.as_str()).payload(event.to_string()).send();
    }

    fn audit(&mut self, event: &Audit, user: &str) {
        let Audit { class, name, severity, priority } = event;
        let source = format!("192.0.2.{}", 1 + self.random.below(254));
        let text = format!("CEF:0|example|shop|2.4.1|{class}|{name}|{severity}|suser={user} src={source}");
        let meta =
            json!({ "syslog_facility": "AUTHPRIV", "syslog_priority": priority, "syslog_ident": LOGGER });
        self.sent("cef");
        *self.tally().audited.entry((*name).to_owned()).or_default() += 1;
        let draft = self.clients.log.metlog("cef");
        draft.field("cef_meta", FieldValue::Json(&meta.to_string())).payload(text).send();
    }

    fn report_outage(&mut self, outage: bool) {
        if outage {
            self.log(Severity::Critical, "payment service: circuit open".to_owned());
            self.log(Severity::Emergency, "nobody can pay: paging whoever is on duty".to_owned());
        } else {
            self.log(Severity::Notice, "payment service: back again".to_owned());
        }
    }

    fn say_how_it_goes(&mut self) {
        let workers = 3 + self.random.below(9);
        self.gauge("workers.busy", workers as f64);
        let load = 0.2 + self.random.unit();
        self.gauge("load", (load * 100.0).round() / 100.0);
    }

    fn count(&self, name: &str, count: i64) {
        self.sent("counter");
        *self.tally().counters.entry(format!("{LOGGER}.{name}")).or_default() += count;
        self.clients.metrics.incr_by(name, count);
    }

    fn time(&self, name: &str, elapsed_ms: f64) {
        self.sent("timer");
        self.clients.metrics.timer_send(name, Duration::from_secs_f64(elapsed_ms / 1000.0));
    }

    fn gauge(&self, name: &str, value: f64) {
        self.sent("gauge");
        self.clients.metrics.gauge(name, value);
    }

    fn log(&self, severity: Severity, text: String) {
        self.sent("oldstyle");
        self.clients.log.log(severity, text).send();
    }

    fn sent(&self, kind: &'static str) {
        *self.tally().by_type.entry(kind).or_default() += 1;
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests are due after so many seconds: the rate goes up and down by half.
fn due_requests(seconds: f64) -> f64 {
    let turn = std::f64::consts::TAU / WAVE.as_secs_f64();
    // The integral of 1 + sin(turn * t) / 2.
    REQUESTS_PER_SECOND * (seconds + (1.0 - (turn * seconds).cos()) / (2.0 * turn))
}

#[derive(Debug)]
struct PaymentError {
    cause: ServiceAway,
}

impl fmt::Display for PaymentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot charge the card")
    }
}

impl Error for PaymentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

#[derive(Debug)]
struct ServiceAway;

impl fmt::Display for ServiceAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pay.example:443 does not answer")
    }
}

impl Error for ServiceAway {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_rises_and_falls_around_its_average() {
        let wave = WAVE.as_secs_f64();
        assert!((due_requests(wave) - REQUESTS_PER_SECOND * wave).abs() < 1.0);
        let rate = |at: f64| due_requests(at + 0.5) - due_requests(at - 0.5);
        assert!(rate(wave * 0.25) > 2.5 * rate(wave * 0.75));
    }

    #[test]
    fn the_tally_says_what_the_clients_were_given() {
        let (metrics, metric_messages) = Client::capture();
        let (log, log_messages) = Client::capture();
        let tally = Arc::new(Mutex::new(Tally::default()));
        let clients = Clients { metrics, log };
        let mut desk = Desk { clients: clients.clone(), tally: tally.clone(), random: Random::new(3) };
        (0..300).for_each(|number| desk.serve_request(number % 3 == 0));
        desk.report_outage(true);
        desk.say_how_it_goes();
        clients.metrics.flush(CLOSE_TIMEOUT);
        clients.log.flush(CLOSE_TIMEOUT);
        let sent = sent(&tally, &clients);
        let over_tcp = ["oldstyle", "cef", "sentry"].map(|kind| sent.by_type[kind]);
        assert_eq!(over_tcp.iter().sum::<u64>(), sent.tcp.accepted);
        assert_eq!(sent.audited.values().sum::<u64>(), sent.by_type["cef"]);
        assert_eq!(sent.exceptions.values().sum::<u64>(), sent.by_type["sentry"]);
        assert_eq!(
            sent.by_type["counter"] + sent.by_type["timer"] + sent.by_type["gauge"],
            sent.udp.accepted
        );
        assert!(sent.by_type["timer"] == 300 && sent.counters["shop.request.home"] > 30);
        assert!(metric_messages.messages().iter().any(|message| message.contains("sold.cents")));
        let log_messages = log_messages.messages();
        for part in
            ["\"severity\":0", "\"severity\":4", "\"severity\":7", "exc_type", "CEF:0|", "PaymentError"]
        {
            assert!(log_messages.iter().any(|message| message.contains(part)), "{part}");
        }
    }
}
