//! A call of your own on the client: `client.cef(…)`, as another crate would add it.
//!
//! ```sh
//! cargo run -p metlog --example extend                      # prints its messages
//! cargo run -p metlog --example extend -- 127.0.0.1:5565    # sends them to a router over TCP
//! ```

use std::time::Duration;

use cef::{Cef, CefCalls as _};
use metlog::{Client, StdoutSender, TcpSender};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Client::builder().logger("shop");
    let metlog = match std::env::args().nth(1) {
        Some(address) => builder.sender(TcpSender::new(&address)?).build()?,
        None => builder.sender(StdoutSender::new()).build()?,
    };
    metlog.extend(Cef { vendor: "Example".to_owned(), product: "shop".to_owned(), facility: "AUTH" })?;

    metlog.cef("login-failed", "wrong password", 5, &[("suser", "vera"), ("src", "192.0.2.7")]);
    metlog.cef("login", "signed in", 1, &[("suser", "vera=1")]);

    if !metlog.close(Duration::from_secs(5)) {
        eprintln!("not everything was sent: {:?}", metlog.stats());
    }
    Ok(())
}

/// What would be a crate of its own: a type for the settings, and a trait for the calls.
mod cef {
    use std::fmt::Write as _;

    use metlog::{Client, FieldValue, Severity};

    /// What the calls need to know.
    pub struct Cef {
        pub vendor: String,
        pub product: String,
        pub facility: &'static str,
    }

    /// Security events in the Common Event Format.
    pub trait CefCalls {
        /// Sends an event: its name for machines, its name for people, how bad it is (0 to 10), and what else there is to say.
        fn cef(&self, signature: &str, name: &str, severity: u8, extension: &[(&str, &str)]);
    }

    impl CefCalls for Client {
        fn cef(&self, signature: &str, name: &str, severity: u8, extension: &[(&str, &str)]) {
            // A client that was not extended sends nothing; a call never fails.
            let Some(Cef { vendor, product, facility }) = self.extension() else { return };
            let head = [vendor, product, "1.0", signature, name].map(|part| escaped(part, '|'));
            let mut line = format!("CEF:0|{}|{severity}|", head.join("|"));
            for (number, (key, value)) in extension.iter().enumerate() {
                let space = if number > 0 { " " } else { "" };
                let _ = write!(line, "{space}{key}={}", escaped(value, '='));
            }
            let meta = format!(r#"{{"syslog_facility":"{facility}","syslog_ident":"shop"}}"#);
            self.metlog("cef")
                .severity(if severity > 6 { Severity::Warning } else { Severity::Informational })
                .payload(line)
                .field("cef_meta", FieldValue::Json(&meta))
                .send();
        }
    }

    fn escaped(text: &str, special: char) -> String {
        text.replace('\\', r"\\").replace(special, &format!("\\{special}")).replace(['\r', '\n'], " ")
    }
}
