//! Small stories here; `simulation` plays long ones by a seed.

mod simulation;

use std::sync::atomic::{AtomicUsize, Ordering};

use metlog_message::Key;

use super::*;
use crate::{
    acknowledgement::Acknowledgement,
    clock::SystemClock,
    endpoints::{Delivery, Refusals},
    ledger::EndpointLedger,
    testing::{batch_of, lines_of},
};

const SECOND: Duration = Duration::from_secs(1);

/// A message's lane is its logger; those of `nobody` are refused.
fn by_logger(message: &Message<'_>, key: &mut Vec<u8>) -> Result<(), &'static str> {
    let logger = message.index.text(message.bytes, Key::Logger);
    key.extend_from_slice(logger.as_bytes());
    if logger == "nobody" { Err("no-lane") } else { Ok(()) }
}

fn payload(message: &Message<'_>) -> usize {
    message.index.text(message.bytes, Key::Payload).parse().unwrap()
}

fn numbers(work: &Work) -> Vec<usize> {
    work.messages().map(|message| payload(&message)).collect()
}

fn retry_after(settled: usize, after: Option<Duration>) -> Answer {
    Answer { settled, refused: Refusals::default(), then: Then::Retry { error: "limited".to_owned(), after } }
}

struct Stage {
    lanes: Lanes,
    buffer: Arc<Buffer<Handover>>,
    counters: Arc<EndpointCounters>,
    control: Arc<Control>,
    pushed: usize,
}

impl Stage {
    fn new(limit_bytes: usize, when_full: WhenFull, most_lanes: usize) -> Stage {
        let buffer = Arc::new(Buffer::new(limit_bytes, when_full));
        let (counters, control) = (Arc::<EndpointCounters>::default(), Arc::<Control>::default());
        let lanes = Lanes::new("test", buffer.clone(), counters.clone(), control.clone(), most_lanes, 1);
        Stage { lanes, buffer, counters, control, pushed: 0 }
    }

    /// Puts another endpoint behind the same buffer.
    fn succeed(&mut self, most_lanes: usize) {
        let (buffer, counters) = (self.buffer.clone(), self.counters.clone());
        let asked = self.lanes.take_asked();
        self.lanes = Lanes::new("test", buffer, counters, self.control.clone(), most_lanes, 2);
        self.lanes.heed(asked);
    }

    fn roomy() -> Stage {
        Stage::new(1 << 20, WhenFull::DropNewest, 100)
    }

    fn push(&mut self, loggers: &[&str]) {
        let batch = Arc::new(batch_of(&lines_of(loggers, self.pushed)));
        self.pushed += loggers.len();
        self.counters.enqueued.add(loggers.len() as u64);
        let pushed = self.buffer.push(Handover::all(&batch), Duration::ZERO, None);
        assert_eq!(pushed, metlog_buffer::Pushed::Accepted);
    }

    fn next(&mut self, now: Duration) -> Step {
        loop {
            match self.lanes.next(now, Waker::noop(), by_logger) {
                // There is nobody else here.
                Step::Yield => {}
                step => return step,
            }
        }
    }

    /// The next delivery: its lane and the numbers of its messages.
    fn delivery(&mut self, now: Duration) -> (LaneKey, Vec<usize>) {
        match self.next(now) {
            Step::Deliver(key, work) => (key, numbers(&work)),
            step => panic!("no delivery but {step:?}"),
        }
    }

    fn ledger(&self) -> EndpointLedger {
        let ledger = self.counters.read(&self.buffer, Duration::ZERO);
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }
}

impl PartialEq for Handover {
    fn eq(&self, other: &Handover) -> bool {
        self.len() == other.len()
    }
}

#[test]
fn lanes_go_in_parallel_and_each_in_order() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b", "a", "nobody", "b"]);
    stage.push(&["a"]);
    let (a, b) = (stage.delivery(SECOND), stage.delivery(SECOND));
    assert_eq!((&*a.0, a.1), (&b"a"[..], vec![0, 2]));
    assert_eq!((&*b.0, b.1), (&b"b"[..], vec![1, 4]));
    assert!(matches!(stage.next(SECOND), Step::AwaitWork), "both lanes are busy");
    stage.lanes.answered(SECOND, &b.0, Answer::delivered(2));
    stage.lanes.answered(SECOND, &a.0, Answer::delivered(1));
    assert_eq!(stage.delivery(SECOND).1, [2], "the rest of the piece goes first");
    stage.lanes.answered(SECOND, &a.0, Answer::delivered(1));
    assert_eq!(stage.delivery(SECOND).1, [5]);
    stage.lanes.answered(SECOND, &a.0, Answer::delivered(1));
    let ledger = stage.ledger();
    assert_eq!((ledger.delivered, ledger.refused["no-lane"], ledger.queued), (5, 1, 0));
    assert_eq!(ledger.queued_bytes, 0);
}

#[test]
fn a_lane_that_is_told_to_wait_holds_up_no_other() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b"]);
    let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &a, retry_after(0, Some(SECOND * 60)));
    stage.lanes.answered(SECOND, &b, Answer::delivered(1));
    stage.push(&["a", "b"]);
    assert_eq!(stage.delivery(SECOND * 2).1, [3]);
    stage.lanes.answered(SECOND * 2, &b, Answer::delivered(1));
    assert!(matches!(stage.next(SECOND * 3), Step::SleepUntil(moment) if moment == SECOND * 61));
    assert_eq!(stage.delivery(SECOND * 61).1, [0], "the limited lane goes on where it was");
    stage.ledger();
}

#[test]
fn the_failure_that_is_shown_says_that_it_is_not_the_only_one() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b", "c"]);
    let [a, b, c] = [(); 3].map(|()| stage.delivery(SECOND).0);
    let error = |stage: &Stage| stage.ledger().failure.unwrap().error;
    stage.lanes.answered(SECOND, &a, retry_after(0, Some(SECOND * 60)));
    assert_eq!(error(&stage), "limited");
    for (lane, shown) in [(&b, "limited (and 1 more)"), (&c, "limited (and 2 more)")] {
        stage.lanes.answered(SECOND, lane, retry_after(0, Some(SECOND * 30)));
        assert_eq!(error(&stage), shown);
    }
    let next = stage.delivery(SECOND * 31).0;
    stage.lanes.answered(SECOND * 31, &next, Answer::delivered(1));
    assert_eq!(error(&stage), "limited (and 1 more)");
}

#[test]
fn a_wish_to_be_left_alone_counts_also_when_nothing_is_waiting() {
    let mut stage = Stage::roomy();
    stage.push(&["a"]);
    let a = stage.delivery(SECOND).0;
    stage.lanes.answered(SECOND, &a, retry_after(1, Some(SECOND * 60)));
    stage.push(&["a"]);
    assert!(matches!(stage.next(SECOND * 2), Step::SleepUntil(moment) if moment == SECOND * 61));
    assert_eq!(stage.delivery(SECOND * 61).1, [1]);
}

#[test]
fn a_lane_that_waits_for_something_has_not_failed() {
    let mut stage = Stage::roomy();
    stage.push(&["a"]);
    for round in 1..20 {
        let a = stage.delivery(SECOND * round).0;
        let then = Then::Wait { until: "told to go on".to_owned(), longest: SECOND };
        stage.lanes.answered(SECOND * round, &a, Answer { then, ..Answer::delivered(0) });
        assert_eq!(stage.ledger().failure.unwrap().error, "told to go on");
    }
    assert_eq!(stage.ledger().retries, 0);
}

#[test]
fn a_limit_is_a_failure_only_while_it_holds_something_up() {
    let mut stage = Stage::roomy();
    let limited = |settled| {
        let then = Then::Wait { until: "limited".to_owned(), longest: SECOND * 60 };
        Answer { then, ..Answer::delivered(settled) }
    };
    stage.push(&["a"]);
    let a = stage.delivery(SECOND).0;
    stage.lanes.answered(SECOND, &a, limited(1));
    assert_eq!((stage.ledger().failure, stage.ledger().retries), (None, 0), "nothing waits for it");
    stage.next(SECOND * 61);
    assert_eq!(stage.ledger().failure, None);

    stage.push(&["a"]);
    let a = stage.delivery(SECOND * 100).0;
    stage.lanes.answered(SECOND * 100, &a, limited(1));
    stage.push(&["a"]);
    assert!(matches!(stage.next(SECOND * 101), Step::SleepUntil(moment) if moment == SECOND * 160));
    assert_eq!(stage.ledger().failure.unwrap().error, "limited");
    assert_eq!(stage.delivery(SECOND * 160).1, [2]);
    stage.lanes.answered(SECOND * 160, &a, Answer::delivered(1));
    assert_eq!(stage.ledger().failure, None);

    stage.push(&["a"]);
    let a = stage.delivery(SECOND * 200).0;
    stage.lanes.answered(SECOND * 200, &a, retry_after(1, Some(SECOND * 60)));
    stage.next(SECOND * 260);
    assert_eq!(stage.ledger().failure, None, "its last message was taken, and the wait is over");
}

#[test]
fn the_failure_that_is_shown_is_one_that_lasts() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b"]);
    let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &a, Answer::retry(0, "a is down"));
    stage.lanes.answered(SECOND, &b, Answer::retry(0, "b is down"));
    assert_eq!(stage.ledger().failure.unwrap().error, "b is down (and 1 more)");
    let mut now = SECOND * 2;
    for (back, shown) in [(&b, Some("a is down")), (&a, None)] {
        loop {
            let (key, _) = stage.delivery(now);
            now += SECOND;
            if key == *back {
                stage.lanes.answered(now, &key, Answer::delivered(1));
                break;
            }
            stage.lanes.answered(now, &key, Answer::retry(0, "a is down"));
        }
        let failure = stage.ledger().failure;
        assert_eq!(failure.as_ref().map(|failure| failure.error.as_str()), shown);
        now += SECOND * 30;
    }
}

#[test]
fn a_lane_that_is_held_up_takes_a_quarter_of_the_buffer_and_no_more() {
    let mut stage = Stage::new(64 << 10, WhenFull::DropNewest, 100);
    stage.push(&["a"]);
    let a = stage.delivery(SECOND).0;
    stage.lanes.answered(SECOND, &a, retry_after(0, Some(SECOND * 600)));
    // Always together with messages of a lane that works: their memory is not kept by those that wait.
    for _ in 0..500 {
        stage.push(&["a", "b", "b"]);
        let (b, work) = stage.delivery(SECOND);
        assert_eq!(work.len(), 2);
        stage.lanes.answered(SECOND, &b, Answer::delivered(2));
    }
    let ledger = stage.ledger();
    assert_eq!(ledger.delivered, 1000);
    assert_eq!(ledger.queued + ledger.dropped["lane-full"], 501);
    assert_eq!(ledger.dropped_last_minute, ledger.dropped, "it is in trouble");
    assert!(ledger.queued_bytes <= 16 << 10 && ledger.queued > 5, "{ledger:?}");
}

#[test]
fn under_block_a_lane_may_fill_the_buffer_and_loses_nothing() {
    let mut stage = Stage::new(64 << 10, WhenFull::Block, 100);
    let mut pushed = 0;
    while stage.buffer.status().bytes < 60 << 10 {
        stage.push(&["a"]);
        pushed += 1;
        if pushed == 1 {
            let a = stage.delivery(SECOND).0;
            stage.lanes.answered(SECOND, &a, retry_after(0, Some(SECOND * 600)));
        } else {
            stage.next(SECOND);
        }
    }
    assert_eq!(stage.ledger().queued, pushed);
}

#[test]
fn the_number_of_lanes_is_bounded_and_idle_ones_make_room() {
    let mut stage = Stage::new(1 << 20, WhenFull::DropNewest, 2);
    stage.push(&["a"]);
    let a = stage.delivery(SECOND).0;
    stage.lanes.answered(SECOND, &a, Answer::delivered(1));
    stage.push(&["b"]);
    let b = stage.delivery(SECOND * 2).0;
    stage.lanes.answered(SECOND * 2, &b, Answer::retry(0, "down"));
    stage.push(&["c"]);
    let c = stage.delivery(SECOND * 2).0;
    assert_eq!(&*c, b"c", "in the place of a");
    stage.push(&["d"]);
    stage.next(SECOND * 2);
    assert_eq!(stage.ledger().dropped["too-many-lanes"], 1);
    assert_eq!(stage.ledger().dropped_last_minute["too-many-lanes"], 1, "it is in trouble");
    stage.lanes.answered(SECOND * 2, &c, retry_after(1, Some(SECOND * 60)));
    stage.push(&["d"]);
    assert_eq!(
        &*stage.delivery(SECOND * 2).0,
        b"d",
        "a lane that waits without work goes when there is no other"
    );
}

#[test]
fn stopping_gives_failing_lanes_a_chance_and_does_not_wait_for_what_cannot_come() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b"]);
    let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    let mut now = SECOND;
    stage.lanes.answered(now, &b, retry_after(0, Some(SECOND * 3600)));
    for _ in 0..12 {
        stage.lanes.answered(now, &a, Answer::retry(0, "down"));
        now += SECOND * 60;
        assert_eq!(stage.delivery(now).0, a);
    }
    stage.lanes.answered(now, &a, Answer::retry(0, "down"));
    assert!(matches!(stage.next(now), Step::SleepUntil(moment) if moment > now + SECOND * 10));
    stage.control.stop_by(now + SECOND * 8);
    assert_eq!(stage.delivery(now).0, a, "at once");
    stage.lanes.answered(now, &a, Answer::retry(0, "still down"));
    assert!(matches!(stage.next(now), Step::SleepUntil(moment) if moment <= now + SECOND * 2));
    stage.buffer.close();
    let a = stage.delivery(now + SECOND * 2).0;
    assert!(matches!(stage.next(now + SECOND * 3), Step::SleepUntil(moment) if moment == now + SECOND * 8));
    stage.lanes.answered(now + SECOND * 4, &a, Answer::delivered(1));
    assert!(matches!(stage.next(now + SECOND * 4), Step::Finished), "b wants to be left alone for longer");
    let ledger = stage.ledger();
    assert_eq!((ledger.delivered, ledger.dropped["shutdown"], ledger.queued), (1, 1, 0));
}

#[test]
fn what_is_answered_after_the_deadline_is_counted_once() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "a"]);
    let a = stage.delivery(SECOND).0;
    stage.control.stop_by(SECOND * 2);
    assert!(matches!(stage.next(SECOND * 2), Step::Finished));
    stage.lanes.answered(SECOND * 2, &a, Answer::delivered(2));
    assert_eq!(stage.ledger().dropped["shutdown"], 2);
}

#[test]
fn another_endpoint_goes_on_where_this_one_ends_between_two_deliveries() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b", "a"]);
    stage.push(&["b", "a"]);
    let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &b, retry_after(0, None));
    stage.control.make_way();
    assert!(
        matches!(stage.next(SECOND), Step::SleepUntil(until) if until == SECOND + MAKE_WAY_TIME),
        "a delivery is under way"
    );
    stage.lanes.answered(SECOND, &a, Answer::delivered(1));
    assert!(matches!(stage.next(SECOND), Step::MakeWay));
    assert_eq!(stage.ledger().queued, 4);
    stage.control.has_made_way();
    stage.succeed(100);
    for expected in [vec![1], vec![2], vec![3], vec![4]] {
        let (key, numbers) = stage.delivery(SECOND);
        assert_eq!(numbers, expected);
        stage.lanes.answered(SECOND, &key, Answer::delivered(1));
    }
    assert_eq!(stage.ledger().queued_bytes, 0);
}

#[test]
fn what_a_peer_asked_for_is_heeded_by_the_next_endpoint_and_by_the_one_after() {
    let mut stage = Stage::roomy();
    let limited = |settled, seconds| Answer {
        then: Then::Wait { until: "limited".to_owned(), longest: SECOND * seconds },
        ..Answer::delivered(settled)
    };
    stage.push(&["a", "b", "c"]);
    let [a, b, c] = [(); 3].map(|()| stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &a, limited(0, 60));
    stage.lanes.answered(SECOND, &b, limited(1, 30));
    stage.lanes.answered(SECOND, &c, retry_after(0, None));
    for _ in 0..2 {
        stage.control.make_way();
        assert!(matches!(stage.next(SECOND), Step::MakeWay));
        stage.control.has_made_way();
        stage.counters.set_failure(None);
        stage.succeed(100);
    }
    assert_eq!(stage.delivery(SECOND).1, [2], "nobody asked to leave it alone");
    stage.lanes.answered(SECOND, &c, Answer::delivered(1));
    assert_eq!(stage.ledger().failure.unwrap().error, "limited");
    stage.push(&["b"]);
    assert!(matches!(stage.next(SECOND), Step::SleepUntil(moment) if moment == SECOND * 31));
    assert_eq!(stage.delivery(SECOND * 31).1, [3]);
    stage.lanes.answered(SECOND * 31, &b, Answer::delivered(1));
    assert!(matches!(stage.next(SECOND * 60), Step::SleepUntil(moment) if moment == SECOND * 61));
    assert_eq!(stage.delivery(SECOND * 61).1, [0]);
    stage.lanes.answered(SECOND * 61, &a, Answer::delivered(1));
    assert_eq!((stage.ledger().failure, stage.ledger().queued_bytes), (None, 0));
}

#[test]
fn where_there_may_be_fewer_lanes_the_longest_waits_are_heeded() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b"]);
    let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &a, retry_after(1, Some(SECOND * 30)));
    stage.lanes.answered(SECOND, &b, retry_after(1, Some(SECOND * 60)));
    stage.control.make_way();
    assert!(matches!(stage.next(SECOND), Step::MakeWay));
    stage.control.has_made_way();
    stage.succeed(1);
    stage.push(&["b"]);
    assert!(matches!(stage.next(SECOND), Step::SleepUntil(moment) if moment == SECOND * 61));
}

#[test]
fn a_delivery_that_hangs_is_broken_off_for_another_endpoint_and_loses_nothing() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b", "a"]);
    let (a, _) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.control.make_way();
    assert!(matches!(stage.next(SECOND), Step::SleepUntil(_)));
    stage.lanes.answered(SECOND, &a, Answer::delivered(1));
    assert!(matches!(stage.next(SECOND + MAKE_WAY_TIME), Step::MakeWay));
    assert_eq!(stage.ledger().queued, 2);
    stage.control.has_made_way();
    stage.succeed(100);
    for expected in [vec![1], vec![2]] {
        let (key, numbers) = stage.delivery(SECOND);
        assert_eq!(numbers, expected);
        stage.lanes.answered(SECOND, &key, Answer::delivered(1));
    }
    assert_eq!((stage.ledger().delivered, stage.ledger().queued_bytes), (3, 0));
}

#[test]
fn what_another_endpoint_left_is_kept_however_small_the_bounds_have_become() {
    for policy in [WhenFull::DropNewest, WhenFull::Block] {
        let mut stage = Stage::new(1 << 20, policy, 100);
        for round in 0..200 {
            stage.push(&["a", "b", "c"]);
            for _ in 0..3 {
                if let Step::Deliver(key, _) = stage.next(SECOND) {
                    stage.lanes.answered(SECOND, &key, retry_after(0, Some(SECOND * 600)));
                }
            }
            assert_eq!(stage.ledger().queued, 3 * (round + 1));
        }
        stage.control.make_way();
        assert!(matches!(stage.next(SECOND), Step::MakeWay));
        stage.control.has_made_way();
        stage.buffer.set_bound(16 << 10, policy);
        stage.succeed(1);
        let mut delivered = 0;
        let waited = SECOND * 601;
        while let Step::Deliver(key, work) = stage.next(waited) {
            delivered += work.len();
            stage.lanes.answered(waited, &key, Answer::delivered(work.len()));
        }
        assert_eq!(delivered, 600, "{policy:?}: {:?}", stage.ledger());
    }
}

#[test]
fn an_endpoint_without_lanes_finds_what_is_left_in_the_order_in_which_it_came() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b", "a", "nobody", "b", "a"]);
    stage.push(&["b", "a", "b"]);
    let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &a, retry_after(1, Some(SECOND * 60)));
    stage.lanes.answered(SECOND, &b, retry_after(0, Some(SECOND * 60)));
    stage.control.make_way();
    assert!(matches!(stage.next(SECOND), Step::MakeWay));
    let mut found = Vec::new();
    let mut work = Vec::new();
    let cursor = stage.buffer.begin(usize::MAX, &mut work, Waker::noop());
    found.extend(numbers(&Work::new(work, cursor)));
    assert_eq!(found, [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(stage.ledger().queued, 7);
}

/// Counts what it is asked, and wants none of it.
struct Counts(AtomicUsize);

impl LaneEndpoint for Counts {
    fn lane(&self, _: &Message<'_>, _: &mut Vec<u8>) -> Result<(), &'static str> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err("no-lane")
    }

    fn deliver<'a>(&'a self, _: &'a [u8], work: &'a Work) -> Delivery<'a> {
        Box::pin(async { Answer::delivered(work.len()) })
    }
}

#[tokio::test]
async fn others_get_their_turn_while_much_is_sorted() {
    const PUSHED: usize = 100;
    let mut stage = Stage::new(64 << 20, WhenFull::Block, 100);
    let batch = vec!["a"; PUSHED];
    for _ in 0..200 {
        stage.push(&batch);
    }
    stage.buffer.close();
    let endpoint = Arc::new(Counts(AtomicUsize::new(0)));
    let (mut lanes, driven_endpoint) = (stage.lanes, endpoint.clone());
    let clock = Arc::new(SystemClock::default());
    let driven = tokio::spawn(async move { drive_lanes(&mut lanes, driven_endpoint, clock).await });
    let (mut before, mut most) = (0, 0);
    while !driven.is_finished() {
        tokio::task::yield_now().await;
        let sorted = endpoint.0.load(Ordering::Relaxed);
        most = most.max(sorted - before);
        before = sorted;
    }
    assert_eq!(before, 200 * PUSHED);
    assert!(most < SORTED_AT_ONCE + PUSHED, "{most} without a pause");
}

#[test]
fn an_endpoint_that_leaves_ends_when_it_is_empty_and_counts_what_it_could_not_deliver_as_removed() {
    for is_limited in [false, true] {
        let mut stage = Stage::roomy();
        stage.push(&["a", "a"]);
        let a = stage.delivery(SECOND).0;
        stage.counters.remove();
        stage.control.leave_by(SECOND * 10);
        if is_limited {
            stage.lanes.answered(SECOND, &a, retry_after(1, Some(SECOND * 5)));
            assert!(matches!(stage.next(SECOND), Step::SleepUntil(moment) if moment == SECOND * 6));
            assert!(matches!(stage.next(SECOND * 10), Step::Finished));
            assert_eq!(stage.ledger().dropped["removed"], 1);
        } else {
            stage.lanes.answered(SECOND, &a, Answer::delivered(2));
            assert!(matches!(stage.next(SECOND), Step::Finished));
            assert_eq!(stage.ledger().delivered, 2);
        }
        assert!(stage.buffer.is_closed());
    }
}

#[test]
fn a_part_of_a_batch_is_waited_for_and_never_acknowledged_when_the_router_ends() {
    for is_delivered in [true, false] {
        let mut stage = Stage::roomy();
        let (handle, acknowledged) = Acknowledgement::new(Waker::noop().clone());
        let batch = Arc::new(batch_of(&lines_of(&["a", "b", "b"], 0)));
        let handover = Handover::all(&batch).acknowledged_by(Some(handle));
        stage.buffer.push(handover, Duration::ZERO, None);
        let (a, b) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
        stage.lanes.answered(SECOND, &b, Answer::delivered(2));
        assert!(!acknowledged.is_complete());
        if is_delivered {
            stage.lanes.answered(SECOND, &a, Answer::delivered(1));
        }
        // However it ends: nobody has told it to stop.
        drop(stage);
        assert_eq!(acknowledged.is_complete(), is_delivered);
    }
}

#[test]
fn an_endpoint_that_is_gone_gives_everything_up() {
    let mut stage = Stage::roomy();
    stage.push(&["a", "b"]);
    let (a, _) = (stage.delivery(SECOND).0, stage.delivery(SECOND).0);
    stage.lanes.answered(SECOND, &a, Answer::gone(1, "gone"));
    let ledger = stage.ledger();
    assert_eq!((ledger.delivered, ledger.dropped["shutdown"]), (1, 1));
    assert!(stage.buffer.is_closed());
}
