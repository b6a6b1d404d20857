//! Endpoints that follow one another in the same files, over reloads that rename them, swap them, or remove them and add them
//! again: no two of them ever write at the same time, so that nothing is lost in a file that the other has rotated.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
};

use crate::support::{Ledger, Router, Setup, messages, receivers, rotated, senders, wait};

const TCP: &str = "shutdown_timeout = \"60s\"\n[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n";

/// A file of about 400 messages before it gives way to the next one.
const ROTATE: &str = "rotate = { size = \"64KiB\", compress = \"gzip\" }\n";

fn endpoint(name: &str, path: &str, rotate: &str) -> String {
    format!("[endpoints.{name}]\nkind = \"file\"\npath = \"{path}\"\n{rotate}[[routes]]\nto = [\"{name}\"]\n")
}

/// One TCP input, one rotated file, everything there.
fn rotated_by(name: &str) -> String {
    format!("{TCP}{}", endpoint(name, "logs/all.jsonl", ROTATE))
}

#[test]
fn a_rotating_endpoint_that_is_renamed_again_and_again_under_load_loses_nothing_and_keeps_the_order() {
    const RENAMES: usize = 20;
    let name = |number: usize| format!("name-{number}");
    let router = Router::start(&rotated_by(&name(0)));
    let (sent, ()) = senders::under_load(router.address("tcp"), || {
        for number in 1..=RENAMES {
            router.wait("messages flow", |ledger| ledger.delivered(&name(number - 1)) > 500);
            let said = router.reload(&rotated_by(&name(number)));
            let expected = format!("added {}, removed {}\n", name(number), name(number - 1));
            assert!(said.contains(&expected), "{said}");
        }
    });
    router.wait("everything is delivered by one or the other", |ledger| {
        (0..=RENAMES).map(|number| ledger.delivered(&name(number))).sum::<u64>() == sent as u64
    });
    let stopped = router.stop();
    let arrived = rotated::numbers(&stopped.path("logs/all.jsonl"));
    assert!(arrived.into_iter().eq(0..sent), "each message once, and in order over all files");
}

#[test]
fn an_endpoint_that_is_removed_and_added_again_at_once_under_load_loses_nothing_and_keeps_the_order() {
    let elsewhere = format!("{TCP}{}", endpoint("elsewhere", "elsewhere.jsonl", ""));
    let router = Router::start(&rotated_by("log"));
    let (sent, ()) = senders::under_load(router.address("tcp"), || {
        let mut received = 0;
        for _ in 0..10 {
            received = router
                .wait("messages come", |ledger| ledger.received("tcp") > received + 500)
                .received("tcp");
            router.reload(&elsewhere);
            router.reload(&rotated_by("log"));
        }
    });
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    let numbers = rotated::numbers(&stopped.path("logs/all.jsonl"));
    assert!(numbers.is_sorted(), "in order over all files");
    let mut all = [numbers, messages::numbers(receivers::lines(&stopped.path("elsewhere.jsonl")))].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..sent), "each message once");
}

#[test]
fn two_rotating_endpoints_that_swap_their_files_under_load_lose_nothing() {
    const FILES: [&str; 2] = ["logs/one.jsonl", "logs/two.jsonl"];
    let with = |[one, two]: [&str; 2]| {
        format!("{TCP}{}{}", endpoint("one", one, ROTATE), endpoint("two", two, ROTATE))
    };
    let router = Router::start(&with(FILES));
    let (sent, ()) = senders::under_load(router.address("tcp"), || {
        for round in 0..20 {
            let before = router.ledger();
            router.wait("messages flow", |ledger| {
                ["one", "two"].iter().all(|name| ledger.delivered(name) > before.delivered(name) + 500)
            });
            let said = router.reload(&with(if round % 2 == 0 { [FILES[1], FILES[0]] } else { FILES }));
            assert!(said.contains("endpoints  changed one two\n"), "{said}");
        }
    });
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    // Which of its messages an endpoint has delivered when it moves is its own affair.
    let mut times: HashMap<usize, usize> = HashMap::new();
    for number in FILES.iter().flat_map(|file| rotated::numbers(&stopped.path(file))) {
        *times.entry(number).or_default() += 1;
    }
    assert!((0..sent).all(|number| times.get(&number) == Some(&2)), "each message once by either endpoint");
    assert_eq!(times.len(), sent);
}

/// An endpoint `old` hangs, as its pipe is full, while `after` has another one write there. That one waits, which is shown,
/// and the pipe gets the messages of both in order.
fn waits_for_one_that_hangs(before: &str, after: &[&str]) {
    let setup = Setup::new(before);
    let pipe = setup.path("pipe");
    let full = receivers::make_full_pipe(&pipe);
    let router = setup.start();
    let lines = messages::numbered("pipe", 200, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines[..100]).as_bytes());
    let others = before.contains("[endpoints.other]");
    router.wait("`old` hangs with them, and nobody else does", |ledger| {
        ledger.endpoint("old")["queued"] == 100 && (!others || ledger.delivered("other") == 100)
    });
    for configuration in after {
        router.reload(configuration);
    }
    senders::tcp(router.address("tcp"), messages::text_of(&lines[100..]).as_bytes());
    router.wait_for_log(
        "it begins when endpoint `old` of before, which still writes the same files, has ended",
    );
    let failing = |ledger: &Ledger| ledger.0.to_string().contains("it begins when endpoint `old`");
    assert!(failing(&router.ledger()));
    // Open for writing, too: it does not end between the two.
    let reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let arrived = BufReader::new(reader).lines().map(|line| line.unwrap());
    let arrived = arrived.filter(|line| !line.is_empty()).take(200);
    assert_eq!(messages::numbers(arrived), (0..200).collect::<Vec<_>>());
    let ledger = router.wait_until_delivered(200);
    drop(full);
    assert!(!failing(&ledger));
    let stopped = router.stop();
    if others {
        let moved = messages::numbers(receivers::lines(&stopped.path("file.jsonl")));
        assert_eq!(moved, (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn a_renamed_endpoint_waits_for_the_one_of_before_that_hangs() {
    let [old, new] = ["old", "new"].map(|name| format!("{TCP}{}", endpoint(name, "pipe", "")));
    waits_for_one_that_hangs(&old, &[&new]);
}

#[test]
fn an_endpoint_that_was_removed_and_added_again_waits_for_the_one_of_before_that_hangs() {
    let old = format!("{TCP}{}", endpoint("old", "pipe", ""));
    waits_for_one_that_hangs(&old, &[TCP, &old]);
}

#[test]
fn an_endpoint_that_takes_the_file_of_another_one_that_hangs_waits_for_it() {
    let [before, after] = [["pipe", "file.jsonl"], ["file.jsonl", "pipe"]]
        .map(|[old, other]| format!("{TCP}{}{}", endpoint("old", old, ""), endpoint("other", other, "")));
    waits_for_one_that_hangs(&before, &[&after]);
}

#[test]
fn a_router_that_stops_while_an_endpoint_waits_for_another_one_accounts_for_the_messages_of_both() {
    let to_pipe = |name: &str| format!("{}{}", TCP.replace("60s", "300ms"), endpoint(name, "pipe", ""));
    let setup = Setup::new(&to_pipe("old"));
    let _full = receivers::make_full_pipe(&setup.path("pipe"));
    let router = setup.start();
    let text = messages::text_of(&messages::numbered("pipe", 100, 0));
    senders::tcp(router.address("tcp"), text.as_bytes());
    router.wait("the old one hangs with them", |ledger| ledger.endpoint("old")["queued"] == 100);
    router.reload(&to_pipe("new"));
    senders::tcp(router.address("tcp"), text.as_bytes());
    router.wait("the new one has messages", |ledger| ledger.endpoint("new")["queued"] == 100);
    wait::until("the old one is left behind", || (router.ledger().dropped("old") == 100).then_some(()));
    let stopped = router.stop();
    assert_eq!(stopped.ledger.endpoint("new")["dropped"]["shutdown"], 100);
}
