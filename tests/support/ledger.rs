//! The router's ledger, as its API tells it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use super::wait::PATIENCE;

/// What a router's API answers at this path; `None` if it does not answer.
pub fn ask(api: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(api).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    Some(serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// The ledger at one moment.
#[derive(Debug, Clone)]
pub struct Ledger(pub Value);

impl Ledger {
    /// Asks a router; `None` if it does not answer.
    pub fn read(api: SocketAddr) -> Option<Ledger> {
        ask(api, "/api/v1/pipeline").map(Ledger)
    }

    /// One input's account.
    pub fn input(&self, name: &str) -> &Value {
        self.component("inputs", name)
    }

    /// One endpoint's account.
    pub fn endpoint(&self, name: &str) -> &Value {
        self.component("endpoints", name)
    }

    fn component(&self, group: &str, name: &str) -> &Value {
        let found = self.list(group).iter().find(|component| component["name"] == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {group} of {self:?}"))
    }

    fn list(&self, group: &str) -> &[Value] {
        self.0[group].as_array().map_or(&[], Vec::as_slice)
    }

    /// What an input has received.
    pub fn received(&self, input: &str) -> u64 {
        number(&self.input(input)["received"])
    }

    /// What an endpoint has delivered.
    pub fn delivered(&self, endpoint: &str) -> u64 {
        number(&self.endpoint(endpoint)["delivered"])
    }

    /// What an endpoint has dropped, for every reason.
    pub fn dropped(&self, endpoint: &str) -> u64 {
        sum(&self.endpoint(endpoint)["dropped"])
    }

    /// What waits for all endpoints.
    pub fn queued(&self) -> u64 {
        self.list("endpoints").iter().map(|endpoint| number(&endpoint["queued"])).sum()
    }

    /// What all inputs have received.
    pub fn received_in_all(&self) -> u64 {
        self.list("inputs").iter().map(|input| number(&input["received"])).sum()
    }

    /// Whether the two equations hold for every component; if not, for which one.
    pub fn balances(&self) -> Result<(), String> {
        for input in self.list("inputs") {
            let accounted = number(&input["routed"])
                + number(&input["unrouted"])
                + sum(&input["rejected"])
                + number(&input["blank"]);
            if number(&input["received"]) != accounted {
                return Err(format!("received is not {accounted}: {input}"));
            }
        }
        for endpoint in self.list("endpoints") {
            // When a router has ended there is no queue any more.
            let queued = endpoint["queued"].as_u64().unwrap_or(0);
            let accounted = number(&endpoint["delivered"])
                + sum(&endpoint["refused"])
                + sum(&endpoint["dropped"])
                + queued;
            if number(&endpoint["enqueued"]) != accounted {
                return Err(format!("enqueued is not {accounted}: {endpoint}"));
            }
        }
        Ok(())
    }
}

/// A counter's value.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a counter: {value}"))
}

/// The sum of counters by reason.
#[track_caller]
pub fn sum(value: &Value) -> u64 {
    value.as_object().unwrap_or_else(|| panic!("not counters by reason: {value}")).values().map(number).sum()
}
