//! Whether everything that was sent has arrived: the same question put to everybody who counted.
//!
//! The clients say what they sent, and so does the service beside the shop, the router's ledger what it received and delivered, the statsd server, the syslog server
//! and Sentry what they got, and the files have lines. Any two that disagree are a finding.

use std::collections::BTreeMap;

use super::{
    folder::{self, Folder},
    shop::Sent,
    snapshot::Snapshot,
    stage,
};
use crate::api::pipeline::{Endpoint, Input};

/// What is wrong, in sentences; nothing, if everything arrived.
pub fn findings(last: &Snapshot, folder: &Folder) -> Vec<String> {
    let mut findings = Vec::new();
    clients(&last.sent, &mut findings);
    service(last, &mut findings);
    let (sent, received) = (last.total_sent(), last.total_received());
    if sent != received {
        let drops: u64 = last.pipeline.inputs.iter().map(|input| input.kernel_drops).sum();
        findings.push(format!(
            "{sent} messages were sent, {received} were received ({drops} were dropped by the kernel)"
        ));
    }
    last.pipeline.inputs.iter().for_each(|input| self::input(input, &mut findings));
    for endpoint in &last.pipeline.endpoints {
        self::endpoint(endpoint, &mut findings);
        match endpoint.kind.as_str() {
            "statsd" => arrived(endpoint, "the statsd server got", last.statsd.lines, &mut findings),
            "syslog" => arrived(endpoint, "the syslog server got", last.syslog.records, &mut findings),
            "sentry" => arrived(endpoint, "Sentry got", last.sentry.events(), &mut findings),
            _ => lines_in_files(endpoint, folder, &mut findings),
        }
    }
    counters(&last.counters(), &last.statsd.counters, &mut findings);
    events("audit event", &last.audited(), &last.syslog.events, &mut findings);
    events("exception", &last.exceptions(), &last.sentry.exceptions, &mut findings);
    for (server, nonsense) in [
        ("the statsd server", last.statsd.nonsense),
        ("the syslog server", last.syslog.nonsense),
        ("Sentry", last.sentry.nonsense),
    ] {
        if nonsense > 0 {
            findings.push(format!("{server} could make nothing of {nonsense} things that it got"));
        }
    }
    findings
}

fn arrived(endpoint: &Endpoint, got: &str, number: u64, findings: &mut Vec<String>) {
    if endpoint.delivered != number {
        findings.push(format!("{} delivered {} messages, {got} {number}", endpoint.name, endpoint.delivered));
    }
}

fn clients(sent: &Sent, findings: &mut Vec<String>) {
    for (name, stats) in [("UDP", sent.udp), ("TCP", sent.tcp)] {
        if stats.sent != stats.accepted {
            findings.push(format!(
                "the {name} client was given {} messages and sent {} ({} dropped, {} left behind)",
                stats.accepted,
                stats.sent,
                stats.dropped(),
                stats.queued
            ));
        }
    }
    let given: u64 = sent.by_type.values().sum();
    let accepted = sent.udp.accepted + sent.tcp.accepted;
    if given != accepted {
        findings.push(format!("the shop sent {given} messages, its clients say {accepted}"));
    }
}

fn service(last: &Snapshot, findings: &mut Vec<String>) {
    findings.extend(last.service_problem.clone());
    let Some(said) = &last.service else { return };
    let given: u64 = said.by_type.values().sum();
    if said.sent != said.accepted || said.accepted != given {
        findings.push(format!(
            "{} sent {given} messages, of which its client took {} and sent {}",
            said.name, said.accepted, said.sent
        ));
    }
}

fn input(input: &Input, findings: &mut Vec<String>) {
    let name = &input.name;
    if !input.balances {
        findings.push(format!("the ledger of input {name} does not balance"));
    }
    if !input.rejected.is_empty() {
        findings.push(format!("input {name} rejected messages: {:?}", input.rejected));
    }
    if input.unrouted + input.blank > 0 {
        findings.push(format!("input {name}: {} unrouted, {} blank", input.unrouted, input.blank));
    }
}

fn endpoint(endpoint: &Endpoint, findings: &mut Vec<String>) {
    let name = &endpoint.name;
    if !endpoint.balances {
        findings.push(format!("the ledger of endpoint {name} does not balance"));
    }
    if endpoint.delivered != endpoint.enqueued {
        findings.push(format!(
            "endpoint {name} was to deliver {} messages and delivered {} (refused {:?}, dropped {:?}, {} queued)",
            endpoint.enqueued, endpoint.delivered, endpoint.refused, endpoint.dropped, endpoint.queued
        ));
    }
    if let Some(failure) = &endpoint.failure {
        findings.push(format!("endpoint {name} fails: {}", failure.error));
    }
}

fn lines_in_files(endpoint: &Endpoint, folder: &Folder, findings: &mut Vec<String>) {
    let files = folder.files(stage::files_of(&endpoint.name));
    let lines: Result<Vec<u64>, _> = files.iter().map(|file| folder::count_lines(file)).collect();
    match lines {
        Ok(lines) if lines.iter().sum::<u64>() == endpoint.delivered => {}
        Ok(lines) => findings.push(format!(
            "endpoint {} delivered {} messages, its files have {} lines",
            endpoint.name,
            endpoint.delivered,
            lines.iter().sum::<u64>()
        )),
        Err(error) => {
            findings.push(format!("the files of endpoint {} cannot be read: {error}", endpoint.name))
        }
    }
}

fn counters(sent: &BTreeMap<&str, i64>, received: &BTreeMap<String, f64>, findings: &mut Vec<String>) {
    for (name, count) in sent {
        let counted = received.get(*name).copied().unwrap_or(0.0);
        if (counted - *count as f64).abs() > 0.5 {
            findings.push(format!("{name} was counted {count} times, the statsd server has {counted}"));
        }
    }
}

/// Events of this kind by name.
fn events(
    kind: &str,
    sent: &BTreeMap<&str, u64>,
    received: &BTreeMap<String, u64>,
    findings: &mut Vec<String>,
) {
    for (name, sent) in sent {
        let received = received.get(*name).copied().unwrap_or(0);
        if *sent != received {
            findings.push(format!("the {kind} `{name}` was sent {sent} times and arrived {received} times"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_did_not_arrive_is_named() {
        let sent = BTreeMap::from([("login failed", 3), ("refund", 1)]);
        let mut findings = Vec::new();
        events("audit event", &sent, &BTreeMap::from([("login failed".to_owned(), 3)]), &mut findings);
        assert_eq!(findings, ["the audit event `refund` was sent 1 times and arrived 0 times"]);
    }

    #[test]
    fn a_count_that_is_off_is_named() {
        let sent = BTreeMap::from([("shop.a", 3), ("shop.b", 1)]);
        let mut findings = Vec::new();
        counters(&sent, &BTreeMap::from([("shop.a".to_owned(), 3.0)]), &mut findings);
        assert_eq!(findings, ["shop.b was counted 1 times, the statsd server has 0"]);
    }

    #[test]
    fn what_the_clients_lost_is_named() {
        let mut sent = Sent { by_type: BTreeMap::from([("timer", 2)]), ..Sent::default() };
        sent.tcp.accepted = 2;
        sent.tcp.sent = 1;
        sent.tcp.queued = 1;
        let mut findings = Vec::new();
        clients(&sent, &mut findings);
        assert_eq!(findings, ["the TCP client was given 2 messages and sent 1 (0 dropped, 1 left behind)"]);
    }

    #[test]
    fn an_endpoint_that_lost_a_message_is_named_with_the_reason() {
        let endpoint: Endpoint = serde_json::from_value(serde_json::json!({
            "name": "stats", "kind": "statsd", "enqueued": 5, "delivered": 3, "refused": {},
            "dropped": {"buffer-full": 1}, "queued": 0, "queued_bytes": 0, "buffer_limit_bytes": 100,
            "oldest_undelivered_seconds": null, "retries": 0, "noticed": {},
            "failure": {"error": "nobody is there", "attempts": 2}, "balances": false,
        }))
        .unwrap();
        let mut findings = Vec::new();
        super::endpoint(&endpoint, &mut findings);
        assert_eq!(
            findings,
            [
                "the ledger of endpoint stats does not balance",
                "endpoint stats was to deliver 5 messages and delivered 3 (refused {}, dropped {\"buffer-full\": 1}, \
                 0 queued)",
                "endpoint stats fails: nobody is there",
            ]
        );
    }
}
