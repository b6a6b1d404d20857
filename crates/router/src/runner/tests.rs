//! What a runner does next, whatever the endpoint answers.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use super::{driving::unless_broken_off, *};
use crate::{
    clock::SystemClock,
    endpoints::Refusals,
    network::NetworkRuntime,
    testing::{Taking, batch_of, buffer, lines},
};

fn runner(linger: Duration) -> (Runner, Arc<Buffer<Handover>>, Arc<Control>) {
    let buffer = buffer(1 << 20);
    let control = Arc::new(Control::default());
    let runner = Runner::new("test", buffer.clone(), Arc::default(), control.clone(), linger, 1);
    (runner, buffer, control)
}

fn push(buffer: &Buffer<Handover>, messages: usize) {
    buffer.push(Handover::all(&Arc::new(batch_of(&lines(messages)))), Duration::ZERO, None);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_a_peer_asked_for_is_heeded_by_a_successor_and_what_was_backed_off_is_not() {
    let waker = Waker::noop();
    let busy = |after| Answer {
        settled: 0,
        refused: Refusals::default(),
        then: Then::Retry { error: "busy".to_owned(), after },
    };
    let (mut before, buffer, _control) = runner(Duration::ZERO);
    push(&buffer, 1);
    assert_eq!(before.next(SECOND, waker), Step::Deliver);
    before.answered(SECOND, busy(Some(SECOND * 60)));
    let asked = before.take_asked().expect("the peer asked");

    let (mut after, buffer, _control) = runner(Duration::ZERO);
    push(&buffer, 1);
    after.heed(SECOND * 2, asked.clone());
    assert_eq!(after.next(SECOND * 2, waker), Step::SleepUntil(SECOND * 61));
    let failure = after.counters.read(&buffer, SECOND * 2).failure.expect("it is shown");
    assert_eq!((failure.error.as_str(), failure.since), ("busy", SECOND));
    assert_eq!(after.take_asked(), Some(asked.clone()), "also for the one after that");
    assert_eq!(after.next(SECOND * 61, waker), Step::Deliver);
    after.answered(SECOND * 61, Answer::delivered(1));
    assert_eq!(after.counters.read(&buffer, SECOND * 61).failure, None);

    let (mut late, buffer, _control) = runner(Duration::ZERO);
    push(&buffer, 1);
    late.heed(SECOND * 61, asked);
    assert_eq!(late.next(SECOND * 61, waker), Step::Deliver, "it is over");
    late.answered(SECOND * 61, busy(None));
    assert_eq!(late.take_asked(), None);
}

#[test]
fn an_endpoint_that_cannot_begin_fails_without_any_message_until_it_can() {
    let waker = Waker::noop();
    let (mut runner, buffer, control) = runner(Duration::ZERO);
    let failure = |runner: &Runner, now| runner.counters.read(&runner.buffer, now).failure;
    let mut now = SECOND;
    for attempt in 1..=10 {
        runner.began(now, Err("no folder".to_owned()));
        let shown = failure(&runner, now).expect("it is shown");
        assert_eq!((shown.error.as_str(), shown.attempts, shown.since), ("no folder", attempt, SECOND));
        assert!(shown.tried_idle);
        assert_eq!(runner.counters.read(&buffer, now).retries, 0, "no delivery failed");
        let Step::SleepUntil(again) = runner.next(now, waker) else { panic!("it waits") };
        assert!(again > now && again <= now + BEGIN_AGAIN);
        now = again;
        assert_eq!(runner.next(now, waker), Step::Begin);
    }
    runner.began(now, Ok(()));
    assert_eq!(failure(&runner, now), None);
    assert_eq!(runner.next(now, waker), Step::AwaitWork);

    // A message is a reason to try, too; then it is a delivery that fails or works.
    runner.began(now, Err("no folder".to_owned()));
    push(&buffer, 2);
    assert_eq!(runner.next(now + BEGIN_AGAIN, waker), Step::Deliver);
    runner.answered(now + BEGIN_AGAIN, Answer::delivered(2));
    assert_eq!((failure(&runner, now), runner.has_begun()), (None, true));

    // Nothing is begun at the end: nobody waits for that.
    runner.began(now, Err("no folder".to_owned()));
    control.stop_by(now + SECOND * 60);
    assert_eq!(runner.next(now, waker), Step::AwaitWork);
    buffer.close();
    assert_eq!(runner.next(now, waker), Step::Finished);
}

#[test]
fn when_the_router_stops_a_failing_endpoint_gets_another_chance_at_once() {
    let (mut runner, buffer, control) = runner(Duration::ZERO);
    let waker = Waker::noop();
    push(&buffer, 10);
    let mut now = SECOND;
    for _ in 0..12 {
        assert_eq!(runner.next(now, waker), Step::Deliver);
        runner.answered(now, Answer::retry(0, "down"));
        now += SECOND * 60;
    }
    now -= SECOND * 60;
    assert!(matches!(runner.next(now, waker), Step::SleepUntil(moment) if moment > now + SECOND * 10));
    control.stop_by(now + SECOND * 8);
    assert_eq!(runner.next(now, waker), Step::Deliver);
    runner.answered(now, Answer::retry(0, "still down"));
    assert!(matches!(runner.next(now, waker), Step::SleepUntil(moment) if moment <= now + SECOND * 2));
}

#[test]
fn a_peers_own_wish_to_be_left_alone_is_honoured_even_then() {
    let (mut runner, buffer, control) = runner(Duration::ZERO);
    push(&buffer, 10);
    assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
    runner.answered(
        SECOND,
        Answer {
            then: Then::Retry { error: "busy".to_owned(), after: Some(SECOND * 5) },
            ..Answer::delivered(0)
        },
    );
    control.stop_by(SECOND * 9);
    assert_eq!(runner.next(SECOND * 2, Waker::noop()), Step::SleepUntil(SECOND * 6));
}

#[test]
fn an_endpoint_that_was_told_to_wait_is_asked_again_soon_with_all_that_has_come() {
    let (mut runner, buffer, _) = runner(Duration::ZERO);
    let waker = Waker::noop();
    let mut now = SECOND;
    for round in 1..=20 {
        push(&buffer, 10);
        assert_eq!(runner.next(now, waker), Step::Deliver);
        assert_eq!(runner.work().len(), round * 10, "no breaker makes it less");
        let then = Then::Wait { until: "told to go on".to_owned(), longest: SECOND };
        runner.answered(now, Answer { then, ..Answer::delivered(0) });
        assert_eq!(runner.next(now, waker), Step::SleepUntil(now + SECOND), "no back-off makes it more");
        now += SECOND;
    }
    assert!(runner.counters.read(&buffer, now).failure.is_some(), "the operator sees why nothing moves");
    assert_eq!(runner.next(now, waker), Step::Deliver);
    runner.answered(now, Answer::delivered(200));
    assert_eq!(runner.counters.read(&buffer, now).failure, None);
}

#[test]
fn an_answer_that_comes_after_its_messages_were_given_up_counts_nothing() {
    let (mut runner, buffer, _) = runner(Duration::ZERO);
    push(&buffer, 10);
    assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
    buffer.close();
    abandon(&buffer, &runner.counters);
    let mut answer = Answer::delivered(10);
    answer.refused.add_many("late", 3);
    runner.answered(SECOND, answer);
    let ledger = runner.counters.read(&buffer, SECOND);
    assert_eq!((ledger.delivered, ledger.refused_total(), ledger.dropped_total()), (0, 0, 10));
    assert_eq!(runner.next(SECOND, Waker::noop()), Step::Finished);
}

/// Pushes one message, lets the driver come to rest, and pushes more than a delivery is to wait for; the endpoint must
/// have it long before the linger ends.
fn is_delivered_while_it_lingers(buffer: &Buffer<Handover>, taken: &AtomicUsize) {
    let deadline = Instant::now() + SECOND * 20;
    push(buffer, 1);
    for _ in 0..20 {
        push(buffer, 400);
        thread::yield_now();
    }
    while taken.load(Ordering::SeqCst) < 4001 {
        assert!(Instant::now() < deadline, "it lingers beside a full buffer: {:?}", buffer.status());
        thread::sleep(Duration::from_millis(1));
    }
    buffer.close();
}

#[test]
fn a_blocking_driver_that_lingers_goes_on_when_a_delivery_is_full() {
    let (runner, buffer, _) = runner(SECOND * 3600);
    let taken = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        let mut endpoint = Taking(taken.clone());
        let mut runner = runner;
        scope.spawn(move || drive_blocking(&mut runner, &mut endpoint, &SystemClock::new()));
        is_delivered_while_it_lingers(&buffer, &taken);
    });
}

#[test]
fn a_network_driver_that_lingers_goes_on_when_a_delivery_is_full() {
    let (runner, buffer, _) = runner(SECOND * 3600);
    let taken = Arc::new(AtomicUsize::new(0));
    let network = NetworkRuntime::start().unwrap();
    let mut endpoint = Taking(taken.clone());
    network.handle().spawn(async move {
        let mut runner = runner;
        drive_network(&mut runner, &mut endpoint, Arc::new(SystemClock::new())).await
    });
    is_delivered_while_it_lingers(&buffer, &taken);
    network.stop();
}

#[test]
fn a_delivery_that_hangs_is_broken_off_for_another_endpoint_and_its_messages_are_kept() {
    let (mut runner, buffer, control) = runner(Duration::ZERO);
    push(&buffer, 10);
    assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
    let network = NetworkRuntime::start().unwrap();
    let patience = SECOND / 100;
    let asking = control.clone();
    let answer = network.handle().spawn(async move {
        let hangs = Box::pin(std::future::pending());
        asking.make_way();
        unless_broken_off(hangs, &asking, patience).await
    });
    assert_eq!(network.handle().block_on(answer).unwrap(), None);
    runner.broken_off();
    assert_eq!(runner.next(SECOND, Waker::noop()), Step::MakeWay);
    let mut work = Vec::new();
    assert_eq!((buffer.begin(usize::MAX, &mut work, Waker::noop()), work.len()), (0, 1));
    assert_eq!(buffer.status().messages, 10);
    network.stop();
}

#[test]
fn a_full_delivery_does_not_linger() {
    let (mut runner, buffer, _) = runner(SECOND);
    push(&buffer, 1);
    assert!(matches!(runner.next(SECOND, Waker::noop()), Step::SleepUntil(_)));
    push(&buffer, 4000);
    assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
}
