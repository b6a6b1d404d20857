//! The statsd endpoint, driven as the router drives it, against the original statsd server: what the server makes of the
//! lines is exactly what the messages said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is missing"
)]

use std::{collections::BTreeSet, sync::Arc};

use metlog_buffer::{Buffer, Pushed, WhenFull};
use metlog_message::{Decoded, Decoder, Timestamp};
use metlog_router::{
    batch::{Batch, Entry, Handover},
    clock::{Clock, SystemClock},
    control::Control,
    endpoints::{EndpointContext, Opened, registry::KINDS},
    ledger::{EndpointCounters, EndpointLedger},
    runner::{Runner, drive_network},
    slab_pool::SlabPool,
};
#[path = "../../../tests/support/statsd.rs"]
mod statsd;

use statsd::{DEADLINE, Server, Totals};

/// Delivers messages as the router does: from a buffer, through the runner, until all is settled.
fn deliver(body: &str, messages: &[String]) -> EndpointLedger {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let counters = Arc::<EndpointCounters>::default();
    let context = EndpointContext {
        name: "stats".to_owned(),
        clock: clock.clone(),
        counters: counters.clone(),
        open_files: 1,
    };
    let settings = KINDS.iter().find(|kind| kind.name == "statsd").unwrap().read_body(body).unwrap();
    let Opened::Network(mut endpoint) = settings.open(context).unwrap() else {
        panic!("a statsd endpoint is driven by a task");
    };

    let buffer = Arc::new(Buffer::new(256 << 20, WhenFull::Block));
    for messages in messages.chunks(1000) {
        counters.enqueued.add(messages.len() as u64);
        let pushed = buffer.push(Handover::all(&Arc::new(batch_of(messages))), clock.monotonic(), None);
        assert!(matches!(pushed, Pushed::Accepted));
    }
    buffer.close();
    let mut runner = Runner::new(
        "stats",
        buffer.clone(),
        counters.clone(),
        Arc::<Control>::default(),
        settings.linger(),
        7,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, drive_network(&mut runner, &mut *endpoint, clock.clone()))
            .await
            .expect("it ends");
    });
    let ledger = counters.read(&buffer, clock.monotonic());
    assert!(ledger.balances() && ledger.queued == 0, "{ledger:?}");
    assert_eq!((ledger.retries, &ledger.failure, ledger.noticed.len()), (0, &None, 0));
    ledger
}

fn batch_of(messages: &[String]) -> Batch {
    let received = Timestamp { seconds: 0, nanoseconds: 0 };
    let mut slab = SlabPool::new(1 << 20).take(messages.iter().map(|message| message.len() + 1).sum());
    let mut entries = Vec::new();
    for message in messages {
        let Ok(Decoded::InPlace { index, .. }) = Decoder::default().decode(message.as_bytes(), received)
        else {
            panic!("not a message: {message}");
        };
        let start = slab.len() as u32;
        slab.extend(message.as_bytes());
        entries.push(Entry { start, end: slab.len() as u32, number: entries.len() as u32, index });
        slab.extend(b"\n");
    }
    Batch::new(slab, entries, received)
}

fn message(kind: &str, name: &str, payload: &str, rate: &str) -> String {
    format!(
        r#"{{"type":"{kind}","timestamp":"2012-07-18T21:13:25Z","logger":"shop","payload":"{payload}","fields":{{"name":"{name}","rate":{rate}}}}}"#
    )
}

/// Sums that only come out right if every line arrives once and is understood.
fn check_sums(body: &str, server: &Server, count: u64) {
    let mut messages = Vec::new();
    for number in 1..=count {
        messages.push(message("counter", "plain", &number.to_string(), "1.0"));
        messages.push(message("counter", "half", &number.to_string(), "0.5"));
        messages.push(message("counter", "tenth", "1", "\"0.1\""));
        messages.push(message("timer", "time", &format!("{number}.25"), "0.25"));
        messages.push(message("set", "users", &format!("user {}@a:b|c", number % 7), "1"));
        messages.push(message("gauge", "depth", &number.to_string(), "1"));
        messages.push(message("gauge", "below", &format!("-{number}"), "1"));
    }
    let delivered = deliver(body, &messages).delivered;
    assert_eq!(delivered, 7 * count);

    let totals = server.totals(8 * count);
    let sum = (count * (count + 1) / 2) as f64;
    let counters = Totals::of_others(&totals.counters);
    let expected =
        [("shop.half", &(2.0 * sum)), ("shop.plain", &sum), ("shop.tenth", &(10.0 * count as f64))];
    assert_eq!(counters, expected.into());
    let times: Vec<f64> = (1..=count).map(|number| number as f64 + 0.25).collect();
    assert_eq!(Totals::of_others(&totals.timers), [("shop.time", &times)].into());
    assert_eq!(totals.timer_counts, [("shop.time".to_owned(), 4.0 * count as f64)].into());
    let members: BTreeSet<String> = (0..7).map(|user| format!("user%20{user}@a%3Ab%7Cc")).collect();
    assert_eq!(Totals::of_others(&totals.sets), [("shop.users", &members)].into());
    let gauges = Totals::of_others(&totals.gauges);
    assert_eq!(gauges, [("shop.below", &-(count as f64)), ("shop.depth", &(count as f64))].into());
    assert_eq!((totals.received(), totals.own("bad_lines_seen")), (8 * count, 0));
}

#[test]
fn sums_are_exact_over_udp() {
    let Some(server) = Server::start() else { return };
    // Few enough for the socket's own buffer: what statsd has no room for, UDP loses.
    check_sums(&format!("address = \"127.0.0.1:{}\"", server.udp_port), &server, 200);
}

#[test]
fn sums_are_exact_over_tcp() {
    let Some(server) = Server::start() else { return };
    check_sums(&format!("transport = \"tcp\"\naddress = \"127.0.0.1:{}\"", server.tcp_port), &server, 5000);
}

#[test]
fn the_messages_of_the_old_clients_are_understood() {
    let Some(server) = Server::start() else { return };
    let messages: Vec<String> =
        include_str!("../../../tests/data/metlog-0.8.jsonl").lines().map(str::to_owned).collect();
    let lines: Vec<&str> = include_str!("../../../tests/data/metlog-0.8.statsd")
        .lines()
        .filter(|line| !line.starts_with("refused: "))
        .collect();
    let ledger = deliver(&format!("address = \"127.0.0.1:{}\"", server.udp_port), &messages);
    assert_eq!(ledger.delivered as usize, lines.len());
    assert_eq!(ledger.refused["statsd-name"], 1);
    assert_eq!(ledger.refused["statsd-value"], 1, "the timer below zero");
    assert_eq!(ledger.refused["statsd-type"] as usize, messages.len() - lines.len() - 2);

    let totals = server.totals(lines.len() as u64);
    assert_eq!((totals.received() as usize, totals.own("bad_lines_seen")), (lines.len(), 0));
    let names = |suffix: &str| -> BTreeSet<&str> {
        let of_type = lines.iter().filter(|line| line.split('|').nth(1) == Some(suffix));
        of_type.map(|line| line.split(':').next().unwrap()).collect()
    };
    assert_eq!(Totals::of_others(&totals.counters).into_keys().collect::<BTreeSet<_>>(), names("c"));
    assert_eq!(Totals::of_others(&totals.timers).into_keys().collect::<BTreeSet<_>>(), names("ms"));
    assert_eq!(Totals::of_others(&totals.gauges).into_keys().collect::<BTreeSet<_>>(), names("g"));
    assert_eq!(totals.gauges["psutil.busy.vm.22871.pcnt"], 0.07680938215630269);
    assert!(totals.timers["vectors.req_time"].contains(&1e-9));
}

#[test]
fn no_message_can_speak_for_another() {
    let Some(server) = Server::start() else { return };
    // Over TCP the server drops the highest bit of each byte, which makes a line break of the second of U+010A.
    let names =
        [r"x:1|c\nevil:1|c", r"x\r\nevil:1|g", "Ċevil:1|c", r"x\u010aevil:1|ms", r"x|c|#evil:1", "x;evil=1"];
    let harmless = [
        "shop._evil_1_c",
        "shop.x_1_c_evil_1_c",
        "shop.x__evil_1_g",
        "shop.x_c__evil_1",
        "shop.x_evil_1",
        "shop.x_evil_1_ms",
    ];
    let messages: Vec<String> = names
        .iter()
        .flat_map(|name| ["counter", "gauge", "set"].map(|kind| message(kind, name, "1", "1")))
        .collect();
    for body in [
        format!("address = \"127.0.0.1:{}\"", server.udp_port),
        format!("transport = \"tcp\"\naddress = \"127.0.0.1:{}\"", server.tcp_port),
    ] {
        assert_eq!(deliver(&body, &messages).delivered as usize, messages.len());
        let totals = server.totals(messages.len() as u64);
        assert_eq!((totals.received() as usize, totals.own("bad_lines_seen")), (messages.len(), 0));
        let counters = Totals::of_others(&totals.counters);
        assert_eq!(counters, harmless.map(|name| (name, &1.0)).into());
        assert_eq!(Totals::of_others(&totals.gauges), counters);
        assert!(Totals::of_others(&totals.sets).into_keys().eq(counters.into_keys()));
        assert!(totals.timers.is_empty());
    }
}
