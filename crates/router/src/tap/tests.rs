use std::task::Waker;

use super::*;
use crate::{
    acknowledgement::Ack,
    config::conditions,
    testing::{ManualClock, RECEIVED, batch_of, buffer, lines},
};

fn filter(condition: &str) -> Filter {
    Filter {
        matcher: Matcher::compile(&conditions::parse(condition).unwrap()).unwrap(),
        input: None,
        rejects: ShowRejects::No,
        sample: 1,
        max_per_second: 1_000_000,
    }
}

fn outlet(name: &str) -> Outlet {
    Outlet { name: name.into(), buffer: buffer(1 << 20), counters: Arc::default(), ack: Ack::Queued }
}

/// Shows messages that came in by `tcp`; the first goes to `log` and `rest`, the others to `rest`.
fn show(tap: &Tap, lines: &[String]) {
    let (batch, outlets) = (batch_of(lines), [outlet("log"), outlet("rest")]);
    let selections = [vec![0], (0..lines.len() as u32).collect()];
    let passing = Passing { input: &"tcp".into(), batch: &batch, selections: &selections, outlets: &outlets };
    tap.show(passing, &mut Allowance::default(), &ManualClock::default());
}

fn reject(tap: &Tap) {
    let rejected = Rejected {
        input: &"tcp".into(),
        reason: Reason::InvalidJson,
        received: RECEIVED,
        to: &[outlet("rejects")],
    };
    tap.show_reject(rejected, || b"{}".to_vec());
}

fn take(subscription: &Subscription) -> Vec<Tapped> {
    let mut all = Vec::new();
    while let Poll::Ready(taken) = subscription.poll_take(&mut Context::from_waker(Waker::noop()), 1) {
        all.extend(taken);
    }
    all
}

fn payloads(subscription: &Subscription) -> Vec<String> {
    let payload = |tapped: &Tapped| {
        let message: serde_json::Value = serde_json::from_slice(&tapped.message).unwrap();
        message["payload"].as_str().unwrap().to_owned()
    };
    take(subscription).iter().map(payload).collect()
}

#[test]
fn what_matches_is_shown_with_its_input_and_its_endpoints() {
    let tap = Arc::new(Tap::default());
    let subscription = tap.subscribe(filter("{ payload = { glob = '*000[02]' } }")).unwrap();
    show(&tap, &lines(5));
    let taken = take(&subscription);
    let names = |tapped: &Tapped| tapped.to.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(taken.iter().map(names).collect::<Vec<_>>(), [vec!["log", "rest"], vec!["rest"]]);
    assert_eq!(&*taken[1].input, "tcp");
    assert_eq!(&*taken[1].message, lines(5)[2].trim_end().as_bytes());
    assert_eq!(subscription.missed(), Missed::default());
}

#[test]
fn another_inputs_messages_are_not_shown() {
    let tap = Arc::new(Tap::default());
    let other = tap.subscribe(Filter { input: Some("udp".to_owned()), ..filter("{}") }).unwrap();
    show(&tap, &lines(5));
    assert_eq!(take(&other), []);
}

#[test]
fn rejects_are_shown_to_who_asked_for_them() {
    let tap = Arc::new(Tap::default());
    let of = |rejects| tap.subscribe(Filter { rejects, ..filter("{}") }).unwrap();
    let (no, also, only) = (of(ShowRejects::No), of(ShowRejects::Also), of(ShowRejects::Only));
    show(&tap, &lines(1));
    reject(&tap);
    let reasons = |subscription| take(subscription).iter().map(|tapped| tapped.reject).collect::<Vec<_>>();
    assert_eq!(reasons(&no), [None]);
    assert_eq!(reasons(&also), [None, Some(Reason::InvalidJson)]);
    assert_eq!(reasons(&only), [Some(Reason::InvalidJson)]);
}

#[test]
fn a_watcher_that_does_not_take_misses_what_does_not_fit_and_is_told_how_much() {
    let tap = Arc::new(Tap::default());
    let subscription = tap.subscribe(filter("{}")).unwrap();
    let shown = 100 * 200;
    (0..200).for_each(|_| show(&tap, &lines(100)));
    let missed = subscription.missed().queue_full;
    let taken = take(&subscription).len() as u64;
    assert!(missed > 0 && taken > 0);
    assert_eq!(taken + missed, shown);
    show(&tap, &lines(1));
    assert_eq!(take(&subscription).len(), 1, "there is room again");
}

#[test]
fn no_more_than_the_limit_are_shown_in_a_second() {
    let tap = Arc::new(Tap::default());
    let limited = Filter { max_per_second: 3, rejects: ShowRejects::Also, ..filter("{}") };
    let subscription = tap.subscribe(limited).unwrap();
    show(&tap, &lines(10));
    assert_eq!(take(&subscription).len(), 3);
    reject(&tap);
    assert_eq!(take(&subscription).len(), 1, "messages do not crowd rejects out");
    assert_eq!(subscription.missed(), Missed { over_rate: 7, ..Missed::default() });
}

#[test]
fn a_sample_is_every_nth_across_batches() {
    let tap = Arc::new(Tap::default());
    let subscription = tap.subscribe(Filter { sample: 4, ..filter("{}") }).unwrap();
    show(&tap, &lines(6));
    show(&tap, &lines(6));
    assert_eq!(payloads(&subscription), ["message 0000", "message 0004", "message 0002"]);
    assert_eq!(subscription.missed(), Missed::default(), "what is left out on request is not missed");
}

#[test]
fn without_allowance_nothing_is_looked_at_and_that_is_counted() {
    let tap = Arc::new(Tap::default());
    let subscription = tap.subscribe(filter("{}")).unwrap();
    let (batch, mut allowance) = (batch_of(&lines(5)), Allowance::default());
    allowance.is_left(std::time::Duration::ZERO);
    allowance.spend(std::time::Duration::from_secs(1));
    let passing = Passing { input: &"tcp".into(), batch: &batch, selections: &[], outlets: &[] };
    tap.show(passing, &mut allowance, &ManualClock::default());
    assert_eq!(take(&subscription), []);
    assert_eq!(subscription.missed().unexamined, 5);
}

#[test]
fn places_are_bounded_and_free_again_when_a_watcher_goes() {
    let tap = Arc::new(Tap::default());
    assert!(!tap.is_open());
    let mut subscriptions: Vec<_> = (0..SUBSCRIBERS).map(|_| tap.subscribe(filter("{}")).unwrap()).collect();
    assert!(tap.is_open());
    assert_eq!(tap.subscribe(filter("{}")).unwrap_err(), TooMany);
    subscriptions.pop();
    subscriptions.push(tap.subscribe(filter("{}")).unwrap());
    subscriptions.clear();
    assert!(!tap.is_open());
}

#[test]
fn rejects_of_before_are_there_for_who_asks() {
    let tap = Tap::default();
    let rejected = Rejected {
        input: &"tcp".into(),
        reason: Reason::InvalidJson,
        received: RECEIVED,
        to: &[outlet("rejects")],
    };
    for number in 0..10 {
        if tap.remembers(Reason::InvalidJson, RECEIVED) {
            tap.remember(rejected, format!("{{\"n\":{number}}}").into_bytes());
        }
    }
    let remembered = tap.remembered(None);
    assert_eq!(remembered.len(), REMEMBERED);
    assert_eq!(
        (&*remembered[0].message, remembered[0].reject),
        (&b"{\"n\":0}"[..], Some(Reason::InvalidJson))
    );
    assert_eq!(remembered[0].to, ["rejects".into()]);
    assert_eq!(tap.remembered(Some("udp")), []);
}
