//! Long runs in simulated time: random lanes, servers that are slow, fail, refuse and limit, buffers that overflow, and reloads
//! that put another endpoint in its place, and a stop somewhere. Checked all the time: the ledger, one delivery per lane, the order within it, waits that are kept, and the
//! bound on memory.

use std::collections::BTreeMap;

use metlog_buffer::Pushed;

use super::*;

const LOGGERS: [&str; 6] = ["a", "b", "c", "d", "e", "nobody"];
const LIMIT_BYTES: usize = 48 << 10;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[derive(Default)]
struct Server {
    under_way: Option<Vec<usize>>,
    not_before: Duration,
    last_settled: Option<usize>,
}

fn run(seed: u64) -> EndpointLedger {
    let mut random = Random(seed * 2 + 1);
    let policy = [WhenFull::DropNewest, WhenFull::Block][random.below(2) as usize];
    let most_lanes = 2 + random.below(6) as usize;
    let mut stage = Stage::new(LIMIT_BYTES, policy, most_lanes);
    let mut servers: BTreeMap<LaneKey, Server> = BTreeMap::new();
    let mut now = SECOND;
    let stop_at = 300 + random.below(1500);
    let mut closed = false;
    let mut makes_way_since: Option<Duration> = None;
    for event in 0..4000 {
        now += Duration::from_millis(random.below(200));
        if event == stop_at {
            stage.control.stop_by(now + SECOND * 10);
        }
        if event == stop_at + 20 {
            stage.buffer.close();
            closed = true;
        }
        if random.below(400) == 0 {
            stage.control.make_way();
            makes_way_since.get_or_insert(now);
        }
        match random.below(4) {
            0 if !closed => {
                let count = 1 + random.below(12);
                let loggers: Vec<&str> =
                    (0..count).map(|_| LOGGERS[random.below(LOGGERS.len() as u64) as usize]).collect();
                let batch = Arc::new(batch_of(&lines_of(&loggers, stage.pushed)));
                stage.pushed += loggers.len();
                stage.counters.enqueued.add(loggers.len() as u64);
                match stage.buffer.push(Handover::all(&batch), now, None) {
                    Pushed::Accepted => {}
                    Pushed::Full(back) => stage.counters.drop_messages(DropReason::BufferFull, back.len()),
                    other => panic!("{other:?}"),
                }
            }
            1 | 2 => {
                let busy: Vec<LaneKey> = servers
                    .iter()
                    .filter(|(_, server)| server.under_way.is_some())
                    .map(|(key, _)| key.clone())
                    .collect();
                if !busy.is_empty() {
                    let key = &busy[random.below(busy.len() as u64) as usize];
                    answer(&mut stage, &mut random, key, servers.get_mut(key).unwrap(), now);
                }
            }
            _ => {}
        }
        loop {
            match stage.next(now) {
                Step::Deliver(key, work) => {
                    let server = servers.entry(key).or_default();
                    let numbers = numbers(&work);
                    assert!(server.under_way.is_none(), "two deliveries in one lane");
                    // A lane that made room for another has forgotten its wait.
                    assert!(now >= server.not_before || most_lanes < 5, "a wait was cut short");
                    assert!(!numbers.is_empty() && numbers.is_sorted());
                    assert!(
                        server.last_settled.is_none_or(|last| numbers[0] > last),
                        "out of order, or twice"
                    );
                    server.under_way = Some(numbers);
                }
                Step::Finished => {
                    assert_eq!(stage.ledger().queued, 0);
                    assert_eq!(stage.ledger().queued_bytes, 0);
                    return stage.ledger();
                }
                Step::MakeWay => {
                    for server in servers.values_mut() {
                        let broken_off = server.under_way.take().is_some();
                        let has_waited = makes_way_since.is_some_and(|since| now >= since + MAKE_WAY_TIME);
                        assert!(!broken_off || has_waited, "in the middle of a delivery");
                    }
                    makes_way_since = None;
                    stage.control.has_made_way();
                    stage.succeed(most_lanes);
                    // The next one knows nothing of waits.
                    servers.values_mut().for_each(|server| server.not_before = Duration::ZERO);
                }
                Step::Yield | Step::SleepUntil(_) | Step::AwaitWork => break,
            }
        }
        let ledger = stage.ledger();
        assert!(ledger.queued_bytes as usize <= LIMIT_BYTES * 3 / 2, "{ledger:?}");
    }
    panic!("it never ends");
}

fn answer(stage: &mut Stage, random: &mut Random, key: &LaneKey, server: &mut Server, now: Duration) {
    let numbers = server.under_way.take().unwrap();
    let settled = random.below(numbers.len() as u64 + 1) as usize;
    if settled > 0 {
        server.last_settled = Some(numbers[settled - 1]);
    }
    let mut answer = match random.below(8) {
        // Lanes differ: some work, some hardly ever do.
        kind if kind <= u64::from(key[0] - b'a') => {
            let after = (random.below(2) == 0).then(|| SECOND * random.below(30) as u32);
            if let Some(after) = after {
                server.not_before = now + after;
            }
            retry_after(settled, after)
        }
        _ => Answer::delivered(settled.max(1)),
    };
    if answer.then == Then::Done {
        server.last_settled = Some(numbers[answer.settled - 1]);
    }
    if answer.settled > 0 && random.below(5) == 0 {
        answer.refused.add("refused");
    }
    stage.lanes.answered(now, key, answer);
}

#[test]
fn seeded_runs_keep_every_promise_and_see_every_fate() {
    let mut fates = BTreeMap::new();
    for seed in 0..100 {
        let ledger = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|problem| {
            eprintln!("it was seed {seed}");
            std::panic::resume_unwind(problem)
        });
        for (reason, count) in ledger.dropped.into_iter().chain(ledger.refused) {
            *fates.entry(reason).or_insert(0) += count;
        }
    }
    for fate in ["lane-full", "too-many-lanes", "shutdown", "no-lane", "refused"] {
        assert!(fates.contains_key(fate), "no run saw {fate}: {fates:?}");
    }
}
