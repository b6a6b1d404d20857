//! How fast the ledger's numbers grow: two looks at a router, and the time between them.

use crate::api::pipeline::{Endpoint, Input, Pipeline};

/// The last look and the one before.
#[derive(Debug, Default)]
pub struct Looks {
    before: Option<Pipeline>,
    latest: Option<Pipeline>,
}

impl Looks {
    /// Takes the newest look.
    pub fn add(&mut self, pipeline: Pipeline) {
        self.before = self.latest.replace(pipeline);
        // A router that was started anew counts from zero.
        if let (Some(before), Some(latest)) = (&self.before, &self.latest)
            && before.started_at != latest.started_at
        {
            self.before = None;
        }
    }

    /// The newest.
    pub fn latest(&self) -> Option<&Pipeline> {
        self.latest.as_ref()
    }

    /// How long ago the other one was, in seconds, on the router's clock.
    pub fn seconds(&self) -> Option<f64> {
        let seconds = self.latest.as_ref()?.uptime_seconds - self.before.as_ref()?.uptime_seconds;
        (seconds > 0.0).then_some(seconds)
    }

    /// How much an input's number grew a second. What is new has not grown.
    pub fn of_input(&self, input: &Input, number: impl Fn(&Input) -> u64) -> f64 {
        // One that was removed may have the name of one that was added.
        let is_it = |other: &&Input| other.name == input.name && other.removed == input.removed;
        let find = |look: &Option<Pipeline>| look.as_ref()?.inputs.iter().find(is_it).map(&number);
        self.growth(find(&self.before), find(&self.latest))
    }

    /// How much an endpoint's number grew a second.
    pub fn of_endpoint(&self, endpoint: &Endpoint, number: impl Fn(&Endpoint) -> u64) -> f64 {
        let is_it = |other: &&Endpoint| other.name == endpoint.name && other.removed == endpoint.removed;
        let find = |look: &Option<Pipeline>| look.as_ref()?.endpoints.iter().find(is_it).map(&number);
        self.growth(find(&self.before), find(&self.latest))
    }

    fn growth(&self, before: Option<u64>, latest: Option<u64>) -> f64 {
        match (before, latest, self.seconds()) {
            (Some(before), Some(latest), Some(seconds)) => latest.saturating_sub(before) as f64 / seconds,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A router with one input and two endpoints, of which one is in trouble.
    pub fn pipeline(seconds: f64, received: u64) -> Pipeline {
        let text = format!(
            r#"{{"version":"0.1.0","state":"running","started_at":"2026-11-22T09:00:00Z","uptime_seconds":{seconds},
            "inputs":[{{"name":"tcp","kind":"tcp","address":"127.0.0.1:5565","received":{received},"routed":{received},
              "unrouted":5,"blank":0,"rejected":{{"invalid-json":10,"too-large":2}},"timestamp_unreadable":0,
              "bytes":{bytes},"connections":{{"opened":5,"closed":2,"waiting":false}},"lines_given_up":0,
              "kernel_drops":0,"balances":true}}],
            "routes":[],
            "endpoints":[{{"name":"log","kind":"file","enqueued":{received},"delivered":{received},"refused":{{}},
              "dropped":{{}},"queued":0,"queued_bytes":0,"buffer_limit_bytes":8388608,
              "oldest_undelivered_seconds":null,"retries":0,"noticed":{{}},"failure":null,"balances":true}},
              {{"name":"stats","kind":"statsd","enqueued":1000,"delivered":500,"refused":{{"not-a-number":7}},
              "dropped":{{"buffer-full":93}},"queued":400,"queued_bytes":6291456,"buffer_limit_bytes":8388608,
              "oldest_undelivered_seconds":125.0,"retries":14,"noticed":{{"peer-unreachable":3}},
              "failure":{{"error":"connection\u001b[2J refused","attempts":14,
              "lasts_seconds":126.0,"last_attempt_seconds":0.4}},"balances":true}}]}}"#,
            bytes = received * 300,
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn rates_are_over_the_time_between_two_looks() {
        let (tcp, log) = (pipeline(0.0, 0).inputs.remove(0), pipeline(0.0, 0).endpoints.remove(0));
        let mut looks = Looks::default();
        looks.add(pipeline(100.0, 1000));
        assert_eq!(looks.of_input(&tcp, |input| input.received), 0.0, "one look says nothing of speed");
        looks.add(pipeline(102.0, 1500));
        assert_eq!(looks.of_input(&tcp, |input| input.received), 250.0);
        assert_eq!(looks.of_endpoint(&log, |endpoint| endpoint.delivered), 250.0);
        let new = Input { name: "new".to_owned(), ..tcp.clone() };
        assert_eq!(looks.of_input(&new, |input| input.received), 0.0);
        let removed = Input { removed: true, ..tcp };
        assert_eq!(looks.of_input(&removed, |input| input.received), 0.0, "another one of this name");
    }

    #[test]
    fn a_router_that_was_started_anew_counts_from_zero() {
        let tcp = pipeline(0.0, 0).inputs.remove(0);
        let mut looks = Looks::default();
        looks.add(pipeline(100.0, 1000));
        let mut anew = pipeline(1.0, 10);
        anew.started_at = "2026-11-22T10:00:00Z".to_owned();
        looks.add(anew);
        assert_eq!(looks.of_input(&tcp, |input| input.received), 0.0);
        assert_eq!(looks.seconds(), None);
    }
}
