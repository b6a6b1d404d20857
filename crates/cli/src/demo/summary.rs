//! The table at the end: what everybody counted, and where to look.

use std::fmt::Write;

use super::{
    folder::{self, Folder},
    screen::shortened,
    snapshot::Snapshot,
    stage,
};
use crate::live::{numbers::count, safe_text::shown, wrap::wrapped};

/// What fits on the narrowest terminal that is in use.
const COLUMNS: usize = 80;

/// What a name may take of them.
const NAME_COLUMNS: usize = 26;

/// The summary as text.
pub fn text(last: &Snapshot, folder: &Folder) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_tables(&mut text, last);
    let _ = write_statsd(&mut text, last);
    let _ = write_events(&mut text, last);
    let _ = write_files(&mut text, last, folder);
    text
}

fn write_tables(text: &mut String, last: &Snapshot) -> std::fmt::Result {
    let sent: Vec<String> =
        last.sent.by_type.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
    writeln!(text, "what flowed in {:.1} s", last.seconds)?;
    let by_shop = last.sent.udp.sent + last.sent.tcp.sent;
    let sent = format!("  the shop sent {} messages: {}", count(by_shop), sent.join(", "));
    writeln!(text, "\n{}", wrapped(&sent, COLUMNS, "    ").join("\n"))?;
    if let Some(service) = &last.service {
        let sent: Vec<String> =
            service.by_type.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
        let sent = format!("  {} sent {} messages: {}", service.name, count(service.sent), sent.join(", "));
        writeln!(text, "{}", wrapped(&shown(&sent, usize::MAX), COLUMNS, "    ").join("\n"))?;
    }
    writeln!(
        text,
        "\n  {:<10}{:>10}{:>10}{:>10}{:>10}{:>8}",
        "input", "received", "routed", "unrouted", "rejected", "lost"
    )?;
    for input in &last.pipeline.inputs {
        let rejected: u64 = input.rejected.values().sum();
        writeln!(
            text,
            "  {:<10}{:>10}{:>10}{:>10}{:>10}{:>8}",
            input.name, input.received, input.routed, input.unrouted, rejected, input.kernel_drops
        )?;
    }
    writeln!(
        text,
        "\n  {:<10}{:>10}{:>10}{:>10}{:>10}{:>8}",
        "endpoint", "enqueued", "delivered", "refused", "dropped", "queued"
    )?;
    for endpoint in &last.pipeline.endpoints {
        let refused: u64 = endpoint.refused.values().sum();
        let dropped: u64 = endpoint.dropped.values().sum();
        writeln!(
            text,
            "  {:<10}{:>10}{:>10}{:>10}{:>10}{:>8}",
            endpoint.name, endpoint.enqueued, endpoint.delivered, refused, dropped, endpoint.queued
        )?;
    }
    Ok(())
}

fn write_statsd(text: &mut String, last: &Snapshot) -> std::fmt::Result {
    writeln!(text, "\n  the statsd server got {} lines", count(last.statsd.lines))?;
    writeln!(text, "  {:<26}{:>12}{:>12}", "counter", "sent", "counted")?;
    for (name, sent) in last.counters() {
        let counted = last.statsd.counters.get(name).copied().unwrap_or(0.0);
        writeln!(text, "  {:<26}{sent:>12}{counted:>12}", shown(name, NAME_COLUMNS))?;
    }
    Ok(())
}

fn write_events(text: &mut String, last: &Snapshot) -> std::fmt::Result {
    for (server, kind, number, sent, received) in [
        ("the syslog server", "CEF event", last.syslog.records, last.audited(), &last.syslog.events),
        ("Sentry", "exception", last.sentry.events(), last.exceptions(), &last.sentry.exceptions),
    ] {
        writeln!(text, "\n  {server} got {} {kind}s", count(number))?;
        writeln!(text, "  {kind:<26}{:>12}{:>12}", "sent", "received")?;
        for (name, sent) in sent {
            let received = received.get(name).copied().unwrap_or(0);
            writeln!(text, "  {:<26}{sent:>12}{received:>12}", shown(name, NAME_COLUMNS))?;
        }
    }
    Ok(())
}

fn write_files(text: &mut String, last: &Snapshot, folder: &Folder) -> std::fmt::Result {
    writeln!(text, "\n  files in {}", folder.path().display())?;
    let files = last.pipeline.endpoints.iter().filter(|endpoint| endpoint.kind == "file");
    for file in files.flat_map(|endpoint| folder.files(stage::files_of(&endpoint.name))) {
        let lines = folder::count_lines(&file).unwrap_or(0);
        writeln!(text, "  {:<26}{lines:>12} lines", folder.relative(&file).to_string())?;
        let sample = folder::last_line(&file).unwrap_or_default();
        // Its colours and the like, if it has any, are not for this terminal.
        writeln!(text, "    {}", shown(&shortened(&sample), COLUMNS - 5))?;
    }
    Ok(())
}
