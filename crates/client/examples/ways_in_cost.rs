//! What a log line costs the application by each way in: nanoseconds per call, without a destination.
//!
//! ```sh
//! cargo run --release -p metlog --all-features --example ways_in_cost
//! ```
//!
//! Bursts that fit the queue; between them it is emptied. The mean counts everything, the best burst what nothing else
//! on the machine disturbed.

use std::error::Error;
use std::time::{Duration, Instant};

use metlog::{Client, Severity};
use tracing::info_span;
use tracing_subscriber::prelude::*;

const BURSTS: usize = 50;
const CALLS: usize = 10_000;

fn measure(name: &str, client: &Client, call: impl Fn(u64)) {
    let before = client.stats();
    let (mut total, mut best) = (Duration::ZERO, Duration::MAX);
    for burst in 0..=BURSTS {
        let begin = Instant::now();
        for number in 0..CALLS {
            call(number as u64);
        }
        let took = begin.elapsed();
        // The first one touches the queue's memory for the first time.
        if burst > 0 {
            total += took;
            best = best.min(took);
        }
        client.flush(Duration::from_secs(5));
    }
    let per_call = |time: Duration, calls: usize| time.as_nanos() as f64 / calls as f64;
    let after = client.stats();
    println!(
        "{name:<46} {:7.1} ns, best burst {:7.1} ns; sent {}, dropped {}",
        per_call(total, CALLS * BURSTS),
        per_call(best, CALLS),
        after.sent - before.sent,
        after.dropped() - before.dropped(),
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder().logger("shop").queue_bytes(64 << 20).build()?;
    metlog::log::init(client.clone())?;
    let filter = tracing_subscriber::filter::LevelFilter::INFO;
    let layer = metlog::tracing::layer(client.clone()).with_span_timers().with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;

    measure("client.info", &client, |_| client.info("the cart is nearly full"));
    measure("client.log, two fields", &client, |number| {
        client
            .log(Severity::Informational, "the cart is nearly full")
            .field("items", number)
            .field("page", "cart")
            .send();
    });
    measure("log::info!", &client, |_| log::info!("the cart is nearly full"));
    measure("log::info!, two key-values", &client, |number| {
        log::info!(items = number, page = "cart"; "the cart is nearly full");
    });
    measure("tracing::info!", &client, |_| tracing::info!("the cart is nearly full"));
    measure("tracing::info!, two fields", &client, |number| {
        tracing::info!(items = number, page = "cart", "the cart is nearly full");
    });
    {
        let _request = info_span!("request", user = 7).entered();
        let _charge = info_span!("charge", card = "visa").entered();
        measure("tracing::info!, two fields, in two spans", &client, |number| {
            tracing::info!(items = number, page = "cart", "the cart is nearly full");
        });
    }
    measure("a span with one field, sent as a timer", &client, |number| {
        let _span = info_span!("request", user = number).entered();
    });
    let problem: Box<dyn Error> = "no number".into();
    measure("tracing::error! with an error", &client, |_| {
        tracing::error!(error = &*problem, "cannot charge")
    });
    measure("tracing::debug!, which the filter leaves out", &client, |_| tracing::debug!("nobody looks"));
    Ok(())
}
