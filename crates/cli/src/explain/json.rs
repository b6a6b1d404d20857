//! A frame's fate for programs: one JSON object a line.

use base64::{Engine, prelude::BASE64_STANDARD};
use metlog_router::{
    config::WhenFull,
    endpoints::Preview,
    rehearsal::{Fate, Journey, RouteFate, Stop},
    topology::Configuration,
};
use serde_json::{Value, json};

use super::endpoint_names;

/// The frame's fate as JSON.
pub fn of(configuration: &Configuration, place: &str, fate: &Fate) -> Value {
    match fate {
        Fate::Blank => json!({ "place": place, "fate": "blank" }),
        Fate::Rejected { rejection, told } => json!({
            "place": place,
            "fate": "rejected",
            "reason": rejection.reason.to_string(),
            "position": rejection.position,
            "problem": rejection.problem,
            "help": rejection.help,
            "to": endpoint_names(configuration, told),
        }),
        Fate::Routed(journey) => json!({
            "place": place,
            "fate": if journey.is_unrouted() { "unrouted" } else { "routed" },
            // It was validated, so it is JSON; but no number that does not fit into Rust's is to be lost.
            "message": String::from_utf8_lossy(&journey.text),
            "changes": journey.changes,
            "routes": routes(configuration, journey),
            "endpoints": journey.stops.iter().map(|stop| endpoint(configuration, stop)).collect::<Vec<Value>>(),
        }),
    }
}

fn routes(configuration: &Configuration, journey: &Journey) -> Vec<Value> {
    let number = |position: &usize| configuration.routes.get(*position).map(|route| route.number);
    let route = |(route, fate): (&metlog_router::config::Route, &RouteFate)| {
        let mut value = json!({ "route": route.number, "name": route.name });
        let more = match fate {
            RouteFate::Takes(because) => json!({
                "takes": true,
                "because": because,
                "to": endpoint_names(configuration, &route.to),
                "final": route.is_final,
                "catch_all": route.unrouted,
            }),
            RouteFate::Leaves(because) => json!({ "takes": false, "because": because }),
            RouteFate::NotAsked { after } => json!({ "takes": false, "not_asked_after": number(after) }),
            RouteFate::NotNeeded { after } => json!({ "takes": false, "not_needed_after": number(after) }),
        };
        merge(&mut value, more);
        value
    };
    configuration.routes.iter().zip(&journey.routes).map(route).collect()
}

fn endpoint(configuration: &Configuration, stop: &Stop) -> Value {
    let Some(endpoint) = configuration.endpoints.get(stop.endpoint) else { return Value::Null };
    let mut value = json!({
        "name": endpoint.name,
        "kind": endpoint.kind,
        "ack": endpoint.acknowledges().as_str(),
        "when_full": WhenFull::from(endpoint.when_full()).as_str(),
    });
    let more = match &stop.preview {
        Preview::Sends { to, bytes } => match std::str::from_utf8(bytes) {
            Ok(text) => json!({ "does": "send", "to": to, "bytes": bytes.len(), "text": text }),
            Err(_) => {
                json!({ "does": "send", "to": to, "bytes": bytes.len(), "base64": BASE64_STANDARD.encode(bytes) })
            }
        },
        Preview::Refuses { reason, what } => {
            json!({ "does": "refuse", "reason": reason, "why": endpoint.settings.refusal(reason), "what": what })
        }
        Preview::Keeps => json!({ "does": "keep" }),
        Preview::Obeys { order } => json!({ "does": "obey", "order": order }),
    };
    merge(&mut value, more);
    value
}

fn merge(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}
