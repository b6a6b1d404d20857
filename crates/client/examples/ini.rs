//! An application that keeps the INI file of an original client (metlog-py 0.10).
//!
//! ```sh
//! cargo run -p metlog --example ini                    # with the file that is printed below
//! cargo run -p metlog --example ini -- metlog.ini
//! ```

use std::error::Error;
use std::time::Duration;

use metlog::{Client, Severity};

const EXAMPLE: &str = "\
[metlog]
logger = shop
severity = 5
disabled_timers = noisy
sender_class = metlog.senders.UdpSender
sender_host = ${METLOG_HOST:-127.0.0.1}
sender_port = ${METLOG_PORT:-5565}

[metlog_filter_types]
provider = metlog.filters.type_blacklist_provider
types = gauge
        wsgi
";

fn main() -> Result<(), Box<dyn Error>> {
    let metlog = match std::env::args().nth(1) {
        Some(path) => Client::from_ini_file(path)?,
        None => {
            print!("{EXAMPLE}");
            Client::from_ini(EXAMPLE)?
        }
    };
    metlog.incr("orders");
    metlog.gauge("queue.depth", 17); // the filter leaves it out
    metlog.timer_send("noisy", Duration::from_millis(3)); // disabled
    metlog.timer_send("checkout", Duration::from_millis(350));
    metlog.log(Severity::Warning, "the disk is nearly full").field("percent", 97).send();
    if !metlog.close(Duration::from_secs(5)) {
        eprintln!("not everything was sent: {:?}", metlog.stats());
    }
    Ok(())
}
