//! A forked child sends on its own, under a source of its own, and never hangs.

#![allow(unsafe_code)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use metlog::Client;
use metlog::senders::{Answer, Batch, Sender};
use support::{LONG, Udp};

/// Runs `work` in a child and returns its exit status, or panics if it hangs.
fn in_a_child(work: impl FnOnce() -> bool) {
    // SAFETY: the child runs `work` and leaves by `_exit`. That it may allocate and start threads, although other
    // threads may exist here, is what the C library on Linux promises, and what forking servers rely on.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        let status = if work() { 0 } else { 1 };
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    support::until("the child's exit", || {
        // SAFETY: `status` is valid for writing.
        let ended = unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) };
        assert!(ended >= 0);
        ended == child
    });
    assert_eq!(status, 0, "the child's exit status");
}

#[test]
fn a_child_is_a_source_of_its_own_and_the_parent_goes_on() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    client.info("parent");
    assert!(client.flush(LONG));

    // Other threads keep the queue's locks busy at the moment of the fork.
    let busy = Client::noop();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    busy.incr("busy");
                }
            });
        }
        for _ in 0..20 {
            in_a_child(|| {
                client.info("child");
                busy.incr("busy");
                let patience = LONG / 4;
                let sent = client.flush(patience) && busy.flush(patience);
                sent && client.stats().accepted == 1 && client.close(patience)
            });
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    client.info("parent");
    assert!(client.flush(LONG));

    let mut sources: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for message in udp.messages(22) {
        let text = message["payload"].as_str().unwrap().to_owned();
        let number = message["metlog_seq"].as_u64().unwrap();
        let process = message["metlog_pid"].as_u64().unwrap();
        assert_eq!(text == "parent", process == u64::from(std::process::id()));
        sources.entry(message["metlog_src"].to_string()).or_default().push((text, number));
    }
    assert_eq!(sources.len(), 21);
    for messages in sources.values() {
        let parent = [("parent".to_owned(), 1), ("parent".to_owned(), 2)];
        assert!(messages == &parent || messages == &[("child".to_owned(), 1)], "{messages:?}");
    }
}

#[test]
fn a_child_that_only_drops_the_client_does_not_wait_for_a_thread_that_is_not_there() {
    let client = Client::builder().close_timeout(Duration::from_secs(60)).build().unwrap();
    client.incr("hits");
    let child_handle = client.clone();
    in_a_child(move || {
        drop(child_handle);
        true
    });
    let mut client = Some(client);
    in_a_child(|| {
        drop(client.take());
        true
    });
}

#[test]
fn a_child_that_has_sent_nothing_has_nothing_to_wait_for() {
    struct Mine(u32);
    impl Sender for Mine {
        fn send(&mut self, batch: &Batch<'_>) -> Answer {
            Answer::all(batch)
        }
        fn fresh(&self) -> Box<dyn Sender> {
            assert_eq!(self.0, std::process::id(), "a child starts no sender before its first message");
            Box::new(Mine(self.0))
        }
    }
    let client = Client::builder().sender(Mine(std::process::id())).build().unwrap();
    client.incr("hits");
    in_a_child(|| {
        let flushed = client.flush(Duration::from_secs(60));
        // With a sender that failed to start, both would be counted as dropped.
        flushed && client.stats() == metlog::Stats::default()
    });
}

#[test]
fn a_sender_that_cannot_be_had_in_the_child_costs_messages_and_nothing_else() {
    struct Moody(u32);
    impl Sender for Moody {
        fn send(&mut self, batch: &Batch<'_>) -> Answer {
            Answer::all(batch)
        }
        fn fresh(&self) -> Box<dyn Sender> {
            assert_eq!(self.0, std::process::id(), "as the test wants it");
            Box::new(Moody(self.0))
        }
    }
    let client = Client::builder().sender(Moody(std::process::id())).build().unwrap();
    client.incr("hits");
    assert!(client.flush(LONG));
    in_a_child(|| {
        let call = std::panic::AssertUnwindSafe(|| client.incr("hits"));
        std::panic::catch_unwind(call).is_ok() && client.stats().dropped() == 1
    });
}

/// How many processes and threads this process's user may have.
fn allow_threads(some: bool) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for reading and writing.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &mut limit), 0);
        limit.rlim_cur = if some { limit.rlim_max } else { 0 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
    }
}

/// Runs `work` in a child of a user for whom limits hold.
fn in_a_child_with_limits(work: impl FnOnce() -> bool) {
    in_a_child(|| {
        // SAFETY: these calls change nothing but the child's user, and the limits do not hold for root.
        let limited = unsafe { libc::geteuid() != 0 || libc::setuid(65_534) == 0 };
        limited && work()
    });
}

#[test]
fn a_child_that_gets_no_thread_keeps_its_messages_until_it_gets_one() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    in_a_child_with_limits(|| {
        allow_threads(false);
        client.info("waits");
        client.info("waits, too");
        let waits = !client.flush(Duration::from_millis(100)) && client.stats().queued == 2;
        allow_threads(true);
        // No call of the application's is needed where somebody waits.
        waits && client.flush(LONG) && client.stats().sent == 2
    });
    assert_eq!(udp.messages(2)[1]["payload"], "waits, too");
}

#[test]
fn later_calls_start_what_could_not_be_started() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    in_a_child_with_limits(|| {
        allow_threads(false);
        client.info("early");
        allow_threads(true);
        support::until("the message", || {
            client.info("later");
            client.stats().sent > 0
        });
        true
    });
}

#[test]
fn a_client_that_never_gets_a_thread_ends_in_time_and_counts_what_it_gives_up() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    in_a_child_with_limits(|| {
        allow_threads(false);
        client.info("in vain");
        let in_time = !client.close(Duration::from_millis(100)) && !client.close(LONG);
        allow_threads(true);
        client.info("late");
        let stats = client.stats();
        let (shutdown, closed) = (metlog::DropReason::Shutdown, metlog::DropReason::Closed);
        in_time && stats.queued == 0 && stats.dropped_for(shutdown) == 1 && stats.dropped_for(closed) == 1
    });
}

#[test]
fn each_child_samples_in_its_own_way() {
    let client = Client::noop();
    let sample = || {
        (0..64).fold(0_u64, |bits, _| {
            let before = client.stats().sampled_out;
            client.counter("hits", 1).rate(0.5).send();
            bits << 1 | (client.stats().sampled_out - before)
        })
    };
    sample();
    let folder = tempfile::tempdir().unwrap();
    let path = |child: u8| folder.path().join(child.to_string());
    for child in 0..2 {
        in_a_child(|| std::fs::write(path(child), sample().to_string()).is_ok());
    }
    let choices = [0, 1].map(|child| std::fs::read_to_string(path(child)).unwrap());
    assert_ne!(choices[0], choices[1]);
}
