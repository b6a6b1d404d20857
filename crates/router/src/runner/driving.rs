//! The two loops that drive an endpoint: one on an OS thread, one as a task.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use super::{MAKE_WAY_TIME, Runner, Step};
use crate::{
    clock::Clock,
    control::Control,
    endpoints::{Answer, Delivery, Endpoint, NetworkEndpoint},
};

/// How driving an endpoint came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// After [`Step::Finished`].
    Finished,
    /// After [`Step::MakeWay`].
    MakesWay,
}

/// Unparks a thread; remembers having done so, because a park may end for no reason.
#[derive(Debug)]
struct Unpark {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Drives an endpoint on the calling thread until its buffer is closed and empty, the deadline for stopping passes, or it
/// makes way for another.
pub fn drive_blocking(runner: &mut Runner, endpoint: &mut dyn Endpoint, clock: &dyn Clock) -> Driven {
    let unpark = Arc::new(Unpark { thread: thread::current(), rung: AtomicBool::new(false) });
    let waker = Waker::from(unpark.clone());
    loop {
        let now = clock.monotonic();
        unpark.rung.store(false, Ordering::Release);
        if let Some(request) = runner.reopen_asked() {
            runner.reopened(request, endpoint.reopen());
        }
        let tick = endpoint.next_tick();
        if tick.is_some_and(|tick| now >= tick) {
            endpoint.tick(now);
            continue;
        }
        let wake_at = match runner.next(now, &waker) {
            Step::Deliver => {
                let answer = endpoint.deliver(runner.work());
                runner.answered(clock.monotonic(), answer);
                continue;
            }
            Step::Begin => {
                let outcome = endpoint.begin();
                runner.began(clock.monotonic(), outcome);
                continue;
            }
            Step::Finished => return Driven::Finished,
            Step::MakeWay => return Driven::MakesWay,
            Step::SleepUntil(moment) => Some(tick.map_or(moment, |tick| moment.min(tick))),
            Step::AwaitWork => tick,
        };
        if !unpark.rung.load(Ordering::Acquire) {
            match wake_at {
                Some(moment) => thread::park_timeout(moment.saturating_sub(now)),
                None => thread::park(),
            }
        }
    }
}

/// Drives an endpoint as a task; the same loop as [`drive_blocking`].
pub async fn drive_network(
    runner: &mut Runner,
    endpoint: &mut dyn NetworkEndpoint,
    clock: Arc<dyn Clock>,
) -> Driven {
    loop {
        let now = clock.monotonic();
        if let Some(request) = runner.reopen_asked() {
            // It has no files; whoever asks wants to know when all is done.
            runner.reopened(request, Ok(()));
        }
        // Inside `poll_fn` because the buffer keeps this task's own waker.
        match poll_fn(|context| Poll::Ready(runner.next(now, context.waker()))).await {
            Step::Deliver => {
                match unless_broken_off(endpoint.deliver(runner.work()), &runner.control, MAKE_WAY_TIME).await
                {
                    Some(answer) => runner.answered(clock.monotonic(), answer),
                    None => runner.broken_off(),
                }
            }
            Step::SleepUntil(moment) => {
                let _ = tokio::time::timeout(moment.saturating_sub(now), woken()).await;
            }
            // It has nothing to begin with.
            Step::Begin => runner.began(now, Ok(())),
            Step::AwaitWork => woken().await,
            Step::Finished => return Driven::Finished,
            Step::MakeWay => return Driven::MakesWay,
        }
    }
}

/// The answer of a delivery; none if another endpoint has waited for it for `longest`. Runs in the task whose waker the control
/// has, so that it hears of the other.
pub(super) async fn unless_broken_off(
    mut delivery: Delivery<'_>,
    control: &Control,
    longest: Duration,
) -> Option<Answer> {
    let mut patience = None;
    poll_fn(|context| {
        if let Poll::Ready(answer) = delivery.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        if !control.makes_way() {
            return Poll::Pending;
        }
        let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        patience.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Ends when the task's waker rings, whoever rings it. A ring between taking the waker and waiting here is not lost:
/// the task is then polled again at once.
fn woken() -> impl Future<Output = ()> {
    let mut waited = false;
    poll_fn(move |_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending })
}
