//! An application that uses `tracing`: events become log lines, spans become timers, errors become exceptions.
//!
//! ```sh
//! cargo run -p metlog --features tracing --example tracing                      # prints its messages
//! cargo run -p metlog --features tracing --example tracing -- 127.0.0.1:5565    # sends them to a router over TCP
//! ```

use std::error::Error;
use std::time::Duration;

use metlog::{Client, StdoutSender, TcpSender};
use tracing::{debug, error, info, info_span, trace, warn};
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Client::builder().logger("shop");
    let metlog = match std::env::args().nth(1) {
        Some(address) => builder.sender(TcpSender::new(&address)?).build()?,
        None => builder.sender(StdoutSender::new()).build()?,
    };
    // The two lines that an application needs; this one wants timers of its spans as well.
    let layer = metlog::tracing::layer(metlog.clone()).with_span_timers();
    tracing_subscriber::registry().with(layer).init();

    info!(version = "1.2", "started");
    serve(7);
    debug!(open = 0, "no more requests");
    trace!("done");

    // The subscriber keeps the client, so nothing is dropped at the end of `main`.
    if !metlog.close(Duration::from_secs(5)) {
        eprintln!("not everything was sent: {:?}", metlog.stats());
    }
    Ok(())
}

fn serve(user: u64) {
    let _request = info_span!("request", user, status = tracing::field::Empty).entered();
    warn!(items = 31, full = true, "the cart is nearly full");
    charge("twelve");
    tracing::Span::current().record("status", 402);
}

fn charge(amount: &str) {
    let _charge = info_span!("charge", card = "visa").entered();
    if let Err(problem) = amount.parse::<u32>() {
        error!(error = &problem as &dyn Error, "cannot charge");
    }
}
