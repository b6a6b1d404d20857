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
    /// Whether these were messages that should have been delivered. What is no message, or what no route wants, may be harmless.
    is_loss: bool,
    /// Who, and why.
    pub(super) text: String,
    /// How many a second there are now.
    pub(super) speed: f64,
}

/// All of them: real losses before what is unusable or unused, and the largest first.
pub(super) fn of(looks: &Looks, pipeline: &Pipeline) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut add = |who: &str,
                   what: &str,
                   is_loss: bool,
                   counts: &BTreeMap<String, u64>,
                   speed: &dyn Fn(&str) -> f64| {
        for (reason, number) in counts {
            let text = format!("{} {what}: {}", shown(who, SHOWN), shown(reason, SHOWN));
            losses.push(Loss { number: *number, is_loss, text, speed: speed(reason) });
        }
    };
    for endpoint in &pipeline.endpoints {
        let name = &endpoint.name;
        add(name, "dropped", true, &endpoint.dropped, &|reason| {
            looks.of_endpoint(endpoint, |endpoint| endpoint.dropped.get(reason).copied().unwrap_or(0))
        });
        add(name, "refused", true, &endpoint.refused, &|reason| {
            looks.of_endpoint(endpoint, |endpoint| endpoint.refused.get(reason).copied().unwrap_or(0))
        });
    }
    for input in &pipeline.inputs {
        let name = &input.name;
        add(name, "rejected", false, &input.rejected, &|reason| {
            looks.of_input(input, |input| input.rejected.get(reason).copied().unwrap_or(0))
        });
        let one = |what: &str, number: u64| -> BTreeMap<String, u64> {
            (number > 0).then(|| (what.to_owned(), number)).into_iter().collect()
        };
        add(name, "received", true, &one("dropped by the kernel", input.kernel_drops), &|_| {
            looks.of_input(input, |input| input.kernel_drops)
        });
        add(name, "received", false, &one("no route took it", input.unrouted), &|_| {
            looks.of_input(input, |input| input.unrouted)
        });
    }
    losses.sort_by_key(|loss| Reverse((loss.is_loss, loss.number)));
    losses
}
