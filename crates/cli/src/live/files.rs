//! Is it keeping up, and which file stands still and why? What an input says of its files, in words.

use super::{
    numbers::{bytes, count, counted, span},
    safe_text::shown,
};
use crate::api::pipeline::{File, Files, Input};

/// Files that are named; the others are counted.
const NAMED: usize = 5;

/// Characters of a path or an error that are shown.
const SHOWN: usize = 300;

/// The files that are not read although they are meant to be: how many, one of them, and why. Compressed ones are told below the
/// input: patterns often match those too.
pub fn unread(files: &Files) -> Option<String> {
    let left_alone = files.left_alone.iter().filter(|left| left.reason != "file-compressed");
    let unreadable = files.list.iter().filter(|file| file.state == "unreadable");
    let mut unread = left_alone
        .map(|left| (&left.path, Some(&left.why)))
        .chain(unreadable.map(|file| (&file.path, file.detail.as_ref())));
    let (path, why) = unread.next()?;
    let others = unread.count() as u64;
    let mut text = format!("cannot read {}", shown(path, SHOWN));
    if let Some(why) = why {
        text += &format!(" ({})", shown(why, SHOWN));
    }
    if others > 0 {
        text += &format!(" and {}", counted(others, "other file", "other files"));
    }
    Some(text)
}

/// What is not acknowledged of all files of these inputs; `None` if none of them reads files.
pub fn behind_bytes(inputs: &[Input]) -> Option<u64> {
    let files = inputs.iter().filter_map(|input| input.files.as_ref());
    files.map(|files| files.behind_bytes).reduce(|one, other| one + other)
}

/// How many files there are and how far they are behind; then those that are, and those that are not read.
pub fn lines(files: &Files) -> Vec<String> {
    let mut sum = format!("{} followed", counted(files.followed, "file", "files"));
    if files.behind_bytes > 0 {
        sum += &format!(", {} behind", bytes(files.behind_bytes));
    }
    if files.held_up > 0 {
        sum += &format!(", {} held up", count(files.held_up));
    }
    let mut lines = vec![sum];
    let (mut held_up, others): (Vec<_>, Vec<_>) = files.list.iter().partition(|file| file.held_up);
    held_up.extend(others.into_iter().filter(|file| file.behind_bytes > 0));
    lines.extend(held_up.iter().take(NAMED).map(|file| line(file)));
    let left_alone = files.left_alone.iter();
    lines.extend(
        left_alone
            .take(NAMED)
            .map(|left| format!("  {}: not read: {}", shown(&left.path, SHOWN), shown(&left.why, SHOWN))),
    );
    let unnamed = held_up.len().saturating_sub(NAMED) + files.left_alone.len().saturating_sub(NAMED);
    if unnamed > 0 {
        lines.push(format!("  … {} more: --json", count(unnamed as u64)));
    }
    lines
}

fn line(file: &File) -> String {
    let gone = if file.gone { " (renamed or deleted)" } else { "" };
    let since = span(file.state_seconds);
    let detail = file.detail.as_deref().map(|detail| shown(detail, SHOWN)).unwrap_or_default();
    let state = match file.state.as_str() {
        "reading" => "being read".to_owned(),
        "at-end" => "read to its end, and not acknowledged yet".to_owned(),
        "unfinished-line" => format!("the rest has no line end, for {since}"),
        "waits-for-endpoint" => format!("waits for endpoint `{detail}`, for {since}"),
        "waits-for-older-file" => format!("waits until the file before it is read, for {since}"),
        "waits-to-be-opened" => format!("waits to be opened (`max_open`), for {since}"),
        "waits-for-memory" => format!("waits for memory (`limits.memory`), for {since}"),
        "unreadable" => format!("cannot be read for {since}: {detail}"),
        other => shown(other, SHOWN),
    };
    format!("  {}{gone}: {} behind, {state}", shown(&file.path, SHOWN), bytes(file.behind_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pipeline::LeftAlone;

    fn file(path: &str, behind_bytes: u64, state: &str, detail: Option<&str>) -> File {
        File {
            path: path.to_owned(),
            gone: path.ends_with(".1"),
            size_bytes: 10_000,
            read_bytes: 10_000,
            acknowledged_bytes: 10_000 - behind_bytes,
            behind_bytes,
            state: state.to_owned(),
            detail: detail.map(str::to_owned),
            state_seconds: 90.0,
            held_up: !["reading", "at-end", "unfinished-line"].contains(&state),
        }
    }

    #[test]
    fn what_stands_still_is_named_with_the_reason() {
        let files = Files {
            followed: 5,
            behind_bytes: 9_216,
            held_up: 3,
            list: vec![
                file("busy.log", 5_000, "reading", None),
                file("app.log.1", 3_000, "waits-for-endpoint", Some("archive")),
                file("app.log", 1_216, "waits-for-older-file", None),
                file("quiet.log", 0, "at-end", None),
                file("secret.log", 0, "unreadable", Some("permission\u{1b} denied")),
            ],
            left_alone: vec![LeftAlone {
                path: "old.gz".to_owned(),
                reason: "file-compressed".to_owned(),
                why: "it is compressed (gzip)".to_owned(),
            }],
        };
        assert_eq!(
            lines(&files),
            [
                "5 files followed, 9.0 KiB behind, 3 held up",
                "  app.log.1 (renamed or deleted): 2.9 KiB behind, waits for endpoint `archive`, for 1 min 30 s",
                "  app.log: 1.2 KiB behind, waits until the file before it is read, for 1 min 30 s",
                "  secret.log: 0 B behind, cannot be read for 1 min 30 s: permission\\u{1b} denied",
                "  busy.log: 4.9 KiB behind, being read",
                "  old.gz: not read: it is compressed (gzip)",
            ]
        );
    }

    #[test]
    fn what_is_meant_to_be_read_and_is_not_is_told_in_one_line_and_compressed_files_are_not() {
        let left = |path: &str, reason: &str| LeftAlone {
            path: path.to_owned(),
            reason: reason.to_owned(),
            why: "Permission\u{1b} denied".to_owned(),
        };
        let mut files = Files {
            followed: 1,
            behind_bytes: 0,
            held_up: 0,
            list: vec![file("busy.log", 1, "reading", None)],
            left_alone: vec![left("old.gz", "file-compressed")],
        };
        assert_eq!(unread(&files), None);
        files.left_alone.push(left("secret.log", "file-unreadable"));
        assert_eq!(unread(&files).as_deref(), Some("cannot read secret.log (Permission\\u{1b} denied)"));
        files.list.push(file("disk.log", 0, "unreadable", Some("Input/output error")));
        let expected = "cannot read secret.log (Permission\\u{1b} denied) and 1 other file";
        assert_eq!(unread(&files).as_deref(), Some(expected));
    }

    #[test]
    fn files_that_keep_up_are_one_line_and_many_that_do_not_are_counted() {
        let quiet = file("quiet.log", 0, "at-end", None);
        let few =
            Files { followed: 1, behind_bytes: 0, held_up: 0, list: vec![quiet], left_alone: Vec::new() };
        assert_eq!(lines(&few), ["1 file followed"]);
        let slow = file("slow.log", 1, "reading", None);
        let many = Files { followed: 20, behind_bytes: 20, list: vec![slow; 20], ..few };
        assert_eq!(lines(&many).len(), 1 + NAMED + 1);
        assert_eq!(lines(&many).last().map(String::as_str), Some("  … 15 more: --json"));
    }
}
