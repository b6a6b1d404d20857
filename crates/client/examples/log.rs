//! An application that uses the crate `log`: its lines become messages.
//!
//! ```sh
//! cargo run -p metlog --features log --example log                      # prints its messages
//! cargo run -p metlog --features log --example log -- 127.0.0.1:5565    # sends them to a router over TCP
//! ```

use log::{LevelFilter, debug, error, info, trace, warn};
use metlog::{Client, StdoutSender, TcpSender};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Client::builder().logger("shop");
    let metlog = match std::env::args().nth(1) {
        Some(address) => builder.sender(TcpSender::new(&address)?).build()?,
        None => builder.sender(StdoutSender::new()).build()?,
    };
    // `metlog::log::init(metlog)` is enough for most; this one wants more than info, and less of one module.
    metlog::log::Logger::new(metlog)
        .max_level(LevelFilter::Trace)
        .level_for("shop::noisy", LevelFilter::Warn)
        .install()?;

    info!("started");
    warn!(items = 31, full = true; "the cart is nearly full");
    error!(target: "shop::payment", "cannot charge {}", "visa");
    debug!(target: "shop::noisy", "not sent");
    debug!("looking at {:?}", ["a", "b"]);
    trace!("done");

    // The logger keeps the client for as long as the process runs.
    log::logger().flush();
    Ok(())
}
