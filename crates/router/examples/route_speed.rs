//! What routing costs: nanoseconds per message for tables of growing size.
//!
//! `cargo run --release -p metlog-router --example route_speed [-- WORDS]`, where only tables with WORDS in their
//! name are measured.
//!
//! The messages are the benchmark mix (40 % counters, 30 % timers, 24 % log lines …), decoded beforehand; what is
//! timed is the table's answer and the caller's bookkeeping, a message number pushed on a list per endpoint. The
//! best of several runs is printed, because whatever else runs on the machine can only add.

use std::{error::Error, hint::black_box, time::Instant};

use metlog_message::{Decoded, Decoder, Index, Path, Timestamp};
use metlog_router::routes::{
    condition::{Condition, Scalar, Test},
    table::{RouteSpec, RouteTable, Scratch},
};

/// About what a decoder's batches keep warm.
const MESSAGES: usize = 4096;
const ROUNDS: usize = 50;
const RUNS: usize = 15;
const ENDPOINTS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<58} {:>8} {:>8}", "table, messages", "ns", "taken");
    let mix = messages(|random| kind_of_mix(random.below(100)), |_| "syncstorage".to_owned())?;
    for count in [1, 10, 100, 1000] {
        measure(&format!("{count} routes on types, the mix"), types(count)?, &mix)?;
    }
    for count in [1, 10, 100, 1000] {
        let spread = messages(|random| type_name(random.below(count)), |_| "syncstorage".to_owned())?;
        measure(&format!("{count} routes on types, each type as often"), types(count)?, &spread)?;
    }
    for count in [1, 10, 100] {
        let logger = |random: &mut Random| logger_name(random.below(count), random);
        let spread = messages(|random| kind_of_mix(random.below(100)), logger)?;
        measure(&format!("{count} routes on loggers, equal or beginning"), loggers(count)?, &spread)?;
    }
    for count in [10, 1000] {
        let mut routes = types(count)?;
        routes.insert(0, route(Condition::All(vec![]), 7));
        measure(&format!("{count} routes on types and one for everything"), routes, &mix)?;
    }
    let mut routes = types(100)?;
    routes.extend(loggers(100)?);
    let logger = |random: &mut Random| logger_name(random.below(100), random);
    let both = messages(|random| kind_of_mix(random.below(100)), logger)?;
    measure("100 routes on types and 100 on loggers", routes, &both)?;
    let mut routes = types(10)?;
    let test = Test::Range { min: None, max: Some("4".to_owned()) };
    routes.push(route(Condition::Test(path("severity")?, test), 7));
    measure("10 routes on types and one on severity", routes, &mix)?;
    let mut routes = types(10)?;
    routes.push(route(equals("fields.name", "sync.put")?, 7));
    measure("10 routes on types and one on fields.name", routes, &mix)?;
    for count in [10, 1000] {
        let named = |number: usize| {
            let parts =
                vec![equals("type", "counter")?, equals("fields.name", &format!("sync.get.{number}"))?];
            Ok(route(Condition::All(parts), number % 7))
        };
        let routes = (0..count).map(named).collect::<Result<_, Box<dyn Error>>>()?;
        measure(&format!("{count} routes on one type and different fields.name"), routes, &mix)?;
    }
    Ok(())
}

struct Message {
    start: usize,
    end: usize,
    index: Index,
}

struct Messages {
    slab: Vec<u8>,
    entries: Vec<Message>,
}

fn measure(name: &str, routes: Vec<RouteSpec>, messages: &Messages) -> Result<(), Box<dyn Error>> {
    if !std::env::args().nth(1).is_none_or(|words| name.contains(&words)) {
        return Ok(());
    }
    let table = RouteTable::compile(routes, ENDPOINTS)?;
    let mut scratch = Scratch::default();
    let mut selections = vec![Vec::<u32>::new(); ENDPOINTS];
    let mut best = f64::INFINITY;
    let mut taken = 0_usize;
    for _ in 0..RUNS {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            taken = 0;
            selections.iter_mut().for_each(Vec::clear);
            for (number, message) in messages.entries.iter().enumerate() {
                let text = &messages.slab[message.start..message.end];
                if let Some(endpoints) = table.route(text, &message.index, &mut scratch) {
                    taken += 1;
                    for &endpoint in endpoints {
                        selections[endpoint].push(number as u32);
                    }
                }
            }
            black_box(&selections);
        }
        best = best.min(started.elapsed().as_nanos() as f64 / (ROUNDS * messages.entries.len()) as f64);
    }
    println!("{name:<58} {best:>8.1} {:>7.1}%", 100.0 * taken as f64 / messages.entries.len() as f64);
    Ok(())
}

fn messages(
    kind: impl Fn(&mut Random) -> String,
    logger: impl Fn(&mut Random) -> String,
) -> Result<Messages, Box<dyn Error>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut messages = Messages { slab: Vec::new(), entries: Vec::new() };
    for number in 0..MESSAGES {
        let kind = kind(&mut random);
        let (payload, fields) = match kind.as_str() {
            "oldstyle" => ("GET /1.1/storage/tabs took too long ".repeat(2 + number % 4), String::new()),
            "sentry" => ("eJztWG1v2zYQ".repeat(125), String::new()),
            _ => ("1".to_owned(), format!(r#""name":"sync.get.{number}","rate":1.0,"id":{number}"#)),
        };
        let text = format!(
            r#"{{"type":"{kind}","timestamp":"2026-11-22T09:05:24.990410Z","logger":"{}","severity":6,"payload":"{payload}","fields":{{{fields}}},"env_version":"0.8","metlog_pid":4711,"metlog_hostname":"web{}.example.com"}}"#,
            logger(&mut random),
            number % 16,
        );
        let received = Timestamp { seconds: 0, nanoseconds: 0 };
        let decoded = Decoder::default().decode(text.as_bytes(), received);
        let Ok(Decoded::InPlace { start, end, index }) = decoded else {
            return Err(format!("not decoded in place: {text}").into());
        };
        let offset = messages.slab.len();
        messages.slab.extend_from_slice(text.as_bytes());
        messages.entries.push(Message { start: offset + start, end: offset + end, index });
    }
    Ok(messages)
}

fn kind_of_mix(percent: usize) -> String {
    match percent {
        0..40 => type_name(0),
        40..70 => type_name(1),
        70..94 => type_name(2),
        94..96 => type_name(3),
        96 => type_name(4),
        _ => "procinfo".to_owned(),
    }
}

fn type_name(number: usize) -> String {
    match ["counter", "timer", "oldstyle", "sentry", "cef"].get(number) {
        Some(name) => (*name).to_owned(),
        None => format!("type-{number}"),
    }
}

/// Every other logger is routed by its beginning, and then has a worker's name behind it.
fn logger_name(number: usize, random: &mut Random) -> String {
    match number % 2 {
        0 => format!("service-{number}"),
        _ => format!("{}worker-{}", logger_beginning(number), random.below(1000)),
    }
}

fn logger_beginning(number: usize) -> String {
    format!("group-{number}.")
}

fn types(count: usize) -> Result<Vec<RouteSpec>, Box<dyn Error>> {
    (0..count).map(|number| Ok(route(equals("type", &type_name(number))?, number % 7))).collect()
}

fn loggers(count: usize) -> Result<Vec<RouteSpec>, Box<dyn Error>> {
    let condition = |number: usize| match number % 2 {
        0 => equals("logger", &format!("service-{number}")),
        _ => Ok(Condition::Test(path("logger")?, Test::Prefix(logger_beginning(number)))),
    };
    (0..count).map(|number| Ok(route(condition(number)?, number % 7))).collect()
}

fn route(condition: Condition, endpoint: usize) -> RouteSpec {
    RouteSpec { condition, to: vec![endpoint], is_final: false, unrouted: false }
}

fn equals(name: &str, text: &str) -> Result<Condition, Box<dyn Error>> {
    Ok(Condition::Test(path(name)?, Test::OneOf(vec![Scalar::String(text.to_owned())])))
}

fn path(text: &str) -> Result<Path, Box<dyn Error>> {
    Path::parse(text).map_err(|_| format!("not a path: {text}").into())
}

/// A small generator with a fixed seed (xorshift), so that every run sees the same messages.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
