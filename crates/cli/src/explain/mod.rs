//! What `metlog explain` says of a frame: for people (`text.rs`) and for programs (`json.rs`).

pub mod bytes;
pub mod frames;
pub mod json;
pub mod text;

use metlog_router::{config::Route, topology::Configuration};

/// A route's place, and its name where it has one.
pub fn route_name(route: &Route) -> String {
    match &route.name {
        Some(name) => format!("route {} ({name})", route.number),
        None => format!("route {}", route.number),
    }
}

/// The names of endpoints by their positions.
pub fn endpoint_names<'c>(configuration: &'c Configuration, positions: &[usize]) -> Vec<&'c str> {
    let name = |&position: &usize| Some(configuration.endpoints.get(position)?.name.as_str());
    positions.iter().filter_map(name).collect()
}
