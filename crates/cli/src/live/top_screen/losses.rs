//! What was lost, refused or taken by no route, each reason for itself.

use std::{cmp::Reverse, collections::BTreeMap};

use super::SHOWN;
use crate::{
    api::pipeline::Pipeline,
    live::{rates::Looks, safe_text::shown},
};

/// One reason at one component.
pub(super) struct Loss {
    /// Messages or frames since the router started.
    pub(super) number: u64,
    /// Who, and why.
    pub(super) text: String,
    /// How many a second there are now.
    pub(super) speed: f64,
}

/// All of them, the largest first.
pub(super) fn of(looks: &Looks, pipeline: &Pipeline) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut add = |who: &str, what: &str, counts: &BTreeMap<String, u64>, speed: &dyn Fn(&str) -> f64| {
        for (reason, number) in counts {
            let text = format!("{} {what}: {}", shown(who, SHOWN), shown(reason, SHOWN));
            losses.push(Loss { number: *number, text, speed: speed(reason) });
        }
    };
    for endpoint in &pipeline.endpoints {
        let name = &endpoint.name;
        add(name, "dropped", &endpoint.dropped, &|reason| {
            looks.of_endpoint(endpoint, |endpoint| endpoint.dropped.get(reason).copied().unwrap_or(0))
        });
        add(name, "refused", &endpoint.refused, &|reason| {
            looks.of_endpoint(endpoint, |endpoint| endpoint.refused.get(reason).copied().unwrap_or(0))
        });
    }
    for input in &pipeline.inputs {
        let name = &input.name;
        add(name, "rejected", &input.rejected, &|reason| {
            looks.of_input(input, |input| input.rejected.get(reason).copied().unwrap_or(0))
        });
        let others = [("no route took it", input.unrouted), ("dropped by the kernel", input.kernel_drops)];
        let others: BTreeMap<String, u64> =
            others.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| (what.to_owned(), n)).collect();
        add(name, "received", &others, &|reason| match reason {
            "no route took it" => looks.of_input(input, |input| input.unrouted),
            _ => looks.of_input(input, |input| input.kernel_drops),
        });
    }
    losses.sort_by_key(|loss| Reverse(loss.number));
    losses
}
