//! `GET /metrics`: the ledger for Prometheus.
//!
//! The reasons for rejects and drops that can occur are there from the start, as zeros: a series that begins
//! with its first event hides that event from `rate()`.

use std::{collections::BTreeMap, fs, sync::Arc, time::SystemTime};

use axum::{extract::State, http::header, response::IntoResponse};
use metlog_message::Reason;

use super::{
    Observed,
    exposition::{CONTENT_TYPE, Exposition, MetricType},
    health::is_failing,
    pipeline::{Endpoint, Files, Input, Pipeline},
};

/// `GET /metrics`.
pub async fn metrics(State(observed): State<Arc<Observed>>) -> impl IntoResponse {
    let mut page = Exposition::default();
    let pipeline = observed.pipeline();
    process(&mut page, &pipeline, observed.started_at);
    let shown = newest(&pipeline.inputs, |input| &input.name, |input| input.removed);
    inputs(&mut page, &shown);
    let shown = newest(&pipeline.endpoints, |endpoint| &endpoint.name, |endpoint| endpoint.removed);
    endpoints(&mut page, &shown);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page.into_text())
}

/// Names tell the series apart. Where a removed component's name is in use again, the removed one is left out.
fn newest<T: Clone>(components: &[T], name_of: fn(&T) -> &str, is_removed: fn(&T) -> bool) -> Vec<T> {
    let is_shadowed = |position: usize, component: &T| {
        let others = components.iter().enumerate().filter(|(other, _)| *other != position);
        let is_newer = |(other, one): (usize, &T)| !is_removed(one) || other > position;
        is_removed(component) && others.filter(|(_, one)| name_of(one) == name_of(component)).any(is_newer)
    };
    let of_interest =
        components.iter().enumerate().filter(|(position, component)| !is_shadowed(*position, component));
    of_interest.map(|(_, component)| component.clone()).collect()
}

fn process(page: &mut Exposition, pipeline: &Pipeline, started_at: SystemTime) {
    page.family("metlog_build_info", MetricType::Gauge, "Always 1; the label says which version runs.")
        .sample(&[("version", &pipeline.version)], 1);
    let started = started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    page.family("process_start_time_seconds", MetricType::Gauge, "When the router started, as Unix time.")
        .sample(&[], started.as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        page.family("process_resident_memory_bytes", MetricType::Gauge, "Memory that the process occupies.")
            .sample(&[], bytes);
    }
}

/// What the kernel says in /proc; elsewhere nothing.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A metric that is one number per component.
type Single<T> = (&'static str, MetricType, &'static str, fn(&T) -> f64);

/// A metric that has a number per component and reason.
type ByReason<T> =
    (&'static str, &'static str, &'static str, fn(&T) -> Vec<String>, fn(&T) -> &BTreeMap<String, u64>);

const INPUT_METRICS: &[Single<Input>] = &[
    (
        "metlog_input_received_total",
        MetricType::Counter,
        "Frames taken from the transport: routed + unrouted + blank + rejected.",
        |input| input.received as f64,
    ),
    ("metlog_input_received_bytes_total", MetricType::Counter, "Bytes taken from the transport.", |input| {
        input.bytes as f64
    }),
    (
        "metlog_input_routed_total",
        MetricType::Counter,
        "Messages that matched at least one route.",
        |input| input.routed as f64,
    ),
    ("metlog_input_unrouted_total", MetricType::Counter, "Messages that matched no route.", |input| {
        input.unrouted as f64
    }),
    ("metlog_input_blank_total", MetricType::Counter, "Frames of nothing but white space.", |input| {
        input.blank as f64
    }),
    (
        "metlog_input_timestamp_unreadable_total",
        MetricType::Counter,
        "Messages whose timestamp is no date.",
        |input| input.timestamp_unreadable as f64,
    ),
    (
        "metlog_input_kernel_drops_total",
        MetricType::Counter,
        "Datagrams that the kernel dropped before they could be read; not part of received.",
        |input| input.kernel_drops as f64,
    ),
    ("metlog_input_connections", MetricType::Gauge, "Open connections.", |input| {
        input.connections.opened.saturating_sub(input.connections.closed) as f64
    }),
    ("metlog_input_connections_opened_total", MetricType::Counter, "Connections accepted.", |input| {
        input.connections.opened as f64
    }),
    (
        "metlog_input_connections_waiting",
        MetricType::Gauge,
        "1 while connections wait to be accepted because as many are open as limits.connections allows.",
        |input| f64::from(u8::from(input.connections.waiting)),
    ),
    (
        "metlog_input_lines_given_up_total",
        MetricType::Counter,
        "Unfinished lines given up because their memory was used up; part of rejected.",
        |input| input.lines_given_up as f64,
    ),
];

const INPUT_REASONS: &[ByReason<Input>] = &[
    (
        "metlog_input_rejected_total",
        "reason",
        "Frames that could not be used.",
        |_| Reason::all().map(|reason| reason.to_string()).collect(),
        |input| &input.rejected,
    ),
    (
        "metlog_input_noticed_total",
        "what",
        "What is worth knowing but no message's fate.",
        |_| Vec::new(),
        |input| &input.noticed,
    ),
];

const ENDPOINT_METRICS: &[Single<Endpoint>] = &[
    (
        "metlog_endpoint_enqueued_total",
        MetricType::Counter,
        "Messages offered to the buffer: delivered + refused + dropped + queued.",
        |endpoint| endpoint.enqueued as f64,
    ),
    ("metlog_endpoint_delivered_total", MetricType::Counter, "Messages delivered.", |endpoint| {
        endpoint.delivered as f64
    }),
    (
        "metlog_endpoint_retries_total",
        MetricType::Counter,
        "Deliveries that failed and were tried again.",
        |endpoint| endpoint.retries as f64,
    ),
    ("metlog_endpoint_queued", MetricType::Gauge, "Messages that wait in the buffer.", |endpoint| {
        endpoint.queued as f64
    }),
    (
        "metlog_endpoint_queued_bytes",
        MetricType::Gauge,
        "Bytes of memory that the buffer is charged.",
        |endpoint| endpoint.queued_bytes as f64,
    ),
    (
        "metlog_endpoint_buffer_limit_bytes",
        MetricType::Gauge,
        "Bytes that the buffer may be charged at most.",
        |endpoint| endpoint.buffer_limit_bytes as f64,
    ),
    (
        "metlog_endpoint_oldest_undelivered_seconds",
        MetricType::Gauge,
        "Age of the oldest message that waits; 0 when none does. The endpoint's health.",
        |endpoint| endpoint.oldest_undelivered_seconds.unwrap_or(0.0),
    ),
    (
        "metlog_endpoint_up",
        MetricType::Gauge,
        "0 while deliveries fail; 1 when the last one worked, none was tried yet, or none waits and none was tried for a minute.",
        |endpoint| f64::from(u8::from(!is_failing(endpoint))),
    ),
];

const ENDPOINT_REASONS: &[ByReason<Endpoint>] = &[
    (
        "metlog_endpoint_refused_total",
        "reason",
        "Messages that the endpoint will never take.",
        |_| Vec::new(),
        |endpoint| &endpoint.refused,
    ),
    (
        "metlog_endpoint_dropped_total",
        "reason",
        "Messages given up before delivery.",
        |endpoint| endpoint.drop_reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        |endpoint| &endpoint.dropped,
    ),
    (
        "metlog_endpoint_noticed_total",
        "what",
        "What is worth knowing but no message's fate.",
        |_| Vec::new(),
        |endpoint| &endpoint.noticed,
    ),
];

fn inputs(page: &mut Exposition, inputs: &[Input]) {
    let mut info =
        page.family("metlog_input_info", MetricType::Gauge, "Always 1; the labels say what it is.");
    for input in inputs {
        info.sample(&[("input", &input.name), ("kind", &input.kind), ("address", &input.address)], 1);
    }
    components(page, "input", inputs, |input| &input.name, INPUT_METRICS, INPUT_REASONS);
    files(page, inputs);
}

/// A metric of inputs that read files.
type OfFiles = (&'static str, &'static str, fn(&Files) -> u64);

const FILES_METRICS: &[OfFiles] = &[
    ("metlog_input_files", "Files that are followed.", |files| files.followed),
    ("metlog_input_files_held_up", "Files that cannot be read on.", |files| files.held_up),
    ("metlog_input_files_left_alone", "Files that the patterns match and that are not read.", |files| {
        files.left_alone.len() as u64
    }),
    (
        "metlog_input_behind_bytes",
        "Bytes of followed files that are not acknowledged: still in a file, or on their way.",
        |files| files.behind_bytes,
    ),
];

fn files(page: &mut Exposition, inputs: &[Input]) {
    for (name, help, read) in FILES_METRICS {
        let mut family = page.family(name, MetricType::Gauge, help);
        for input in inputs {
            if let Some(files) = &input.files {
                family.sample(&[("input", &input.name)], read(files));
            }
        }
    }
}

fn endpoints(page: &mut Exposition, endpoints: &[Endpoint]) {
    let mut info =
        page.family("metlog_endpoint_info", MetricType::Gauge, "Always 1; the labels say what it is.");
    for endpoint in endpoints {
        info.sample(&[("endpoint", &endpoint.name), ("kind", &endpoint.kind)], 1);
    }
    components(page, "endpoint", endpoints, |endpoint| &endpoint.name, ENDPOINT_METRICS, ENDPOINT_REASONS);
}

fn components<T>(
    page: &mut Exposition,
    label: &str,
    components: &[T],
    name_of: fn(&T) -> &str,
    singles: &[Single<T>],
    by_reason: &[ByReason<T>],
) {
    for (name, kind, help, read) in singles {
        let mut family = page.family(name, *kind, help);
        for component in components {
            family.sample(&[(label, name_of(component))], read(component));
        }
    }
    for (name, reason_label, help, known, read) in by_reason {
        let mut family = page.family(name, MetricType::Counter, help);
        for component in components {
            let mut counts: BTreeMap<String, u64> =
                known(component).into_iter().map(|reason| (reason, 0)).collect();
            counts.extend(read(component).clone());
            for (reason, count) in counts {
                family.sample(&[(label, name_of(component)), (reason_label, &reason)], count);
            }
        }
    }
}
