//! Sends one message of each sort. Start a router first, or look at them with `nc -lu 5565`:
//!
//! ```sh
//! cargo run -p metlog --example hello
//! cargo run -p metlog --example hello -- stdout
//! ```

use std::time::Duration;

use metlog::senders::{StdoutSender, UdpSender};
use metlog::{Client, Severity};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Client::builder().logger("hello");
    let metlog = match std::env::args().nth(1).as_deref() {
        Some("stdout") => builder.sender(StdoutSender::new()).build()?,
        address => builder.sender(UdpSender::new(address.unwrap_or("127.0.0.1:5565"))?).build()?,
    };

    metlog.incr("hits");
    metlog.counter("bytes", 1500).rate(1.0).field("interface", "eth0").send();
    metlog.gauge("load", 0.25);
    let answer = metlog.time("compute", || (1..=1_000_000_u64).sum::<u64>());
    metlog.info(format!("the answer is {answer}"));
    metlog.log(Severity::Error, "card refused").field("user", 7).field("amount", 12.5).send();
    if let Err(error) = "twelve".parse::<u32>() {
        metlog.exception(&error);
    }
    metlog.metlog("wsgi").payload("GET /cart").field("status", 200).send();

    if !metlog.close(Duration::from_secs(2)) {
        eprintln!("not everything was sent");
    }
    eprintln!("{:?}", metlog.stats());
    Ok(())
}
