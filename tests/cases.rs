//! Data-driven cases: `tests/cases/<name>/`. Adding a case is adding a folder.
//!
//! | file | what it is |
//! | --- | --- |
//! | `config.toml` | a configuration with one input, which listens on a port or path of its own |
//! | `input.jsonl` | what is sent to it: over a stream as it is; over datagrams, one for each line |
//! | `expected/…` | every file that there is below `out` afterwards, byte for byte. `<received>` stands for the time of receipt, `<peer>` for the sender's address |
//! | `ledger.json` | numbers of the ledger that this case is about, by component; others are not looked at |

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use metlog_message::Timestamp;
use serde_json::Value;

use crate::support::{Ledger, Setup, messages::tests_folder, senders};

#[test]
fn every_case_gives_what_it_says() {
    let folder = tests_folder().join("cases");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the cases").map(|case| case.expect("a case").path()).collect();
    cases.sort();
    assert!(cases.len() >= 12, "only {} cases in {}", cases.len(), folder.display());
    let problems: Vec<String> =
        cases.iter().filter_map(|case| Some(format!("{}:\n{}", case.display(), run(case).err()?))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

fn run(case: &Path) -> Result<(), String> {
    let read = |name: &str| fs::read_to_string(case.join(name)).map_err(|error| format!("{name}: {error}"));
    let input = fs::read(case.join("input.jsonl")).map_err(|error| format!("input.jsonl: {error}"))?;
    let began = Timestamp::now();
    let router = Setup::new(&read("config.toml")?).start();
    let kind = router.ledger().0["inputs"][0]["kind"].clone();
    let name = router.ledger().0["inputs"][0]["name"].as_str().unwrap_or_default().to_owned();
    let frames: Vec<&[u8]> =
        input.strip_suffix(b"\n").unwrap_or(&input).split(|byte| *byte == b'\n').collect();
    match kind.as_str() {
        Some("tcp") => senders::tcp(router.address(&name), &input),
        Some("udp") => senders::udp(&router, &name, &frames),
        other => return Err(format!("cases do not know how to send to an input of kind {other:?}")),
    }
    let ledger = router.wait_until_delivered(frames.len() as u64);
    if case.join("ledger.json").exists() {
        let expected = serde_json::from_str(&read("ledger.json")?).map_err(|error| error.to_string())?;
        compare_ledger(&expected, &ledger)?;
    }
    let stopped = router.stop();
    let times = (began.seconds - 1)..=Timestamp::now().seconds;
    compare_files(&files_below(&case.join("expected")), &files_below(&stopped.path("out")), |text| {
        Timestamp::parse(text.as_bytes()).is_some_and(|time| times.contains(&time.seconds))
    })
}

/// Every file below a folder, by its path within it.
fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(
                files_below(&path).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)),
            );
        } else {
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
    files
}

fn compare_files(
    expected: &BTreeMap<String, Vec<u8>>,
    actual: &BTreeMap<String, Vec<u8>>,
    is_time_of_receipt: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let (names, found): (Vec<_>, Vec<_>) = (expected.keys().collect(), actual.keys().collect());
    if names != found {
        return Err(format!("expected the files {names:?}, found {found:?}"));
    }
    for (name, text) in expected {
        let (text, found) = (String::from_utf8_lossy(text), String::from_utf8_lossy(&actual[name]));
        if text.lines().count() != found.lines().count() || !found.is_empty() && !found.ends_with('\n') {
            return Err(format!("{name}: expected\n{text}found\n{found}"));
        }
        for (line, found) in text.lines().zip(found.lines()) {
            let is_same = is_like(line, found, &is_time_of_receipt);
            if !is_same {
                return Err(format!("{name}: expected\n{line}\nfound\n{found}"));
            }
        }
    }
    Ok(())
}

/// Whether a line is the expected one; what stands for something else lies between quotes.
fn is_like(expected: &str, found: &str, is_time_of_receipt: &impl Fn(&str) -> bool) -> bool {
    let Some((before, rest)) = expected.split_once("\"<") else { return expected == found };
    let Some((what, behind)) = rest.split_once(">\"") else { return expected == found };
    let Some(found) = found.strip_prefix(before).and_then(|found| found.strip_prefix('"')) else {
        return false;
    };
    let Some((value, found)) = found.split_once('"') else { return false };
    let is_it = match what {
        "received" => is_time_of_receipt(value),
        "peer" => value.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()),
        other => panic!("nobody knows what <{other}> stands for"),
    };
    is_it && is_like(behind, found, is_time_of_receipt)
}

/// `{"in": {"received": 3}}`: the components' names, and the numbers of each that matter.
fn compare_ledger(expected: &Value, ledger: &Ledger) -> Result<(), String> {
    let components =
        ["inputs", "endpoints"].map(|group| ledger.0[group].as_array().cloned().unwrap_or_default());
    for (name, numbers) in expected.as_object().into_iter().flatten() {
        let component = components.iter().flatten().find(|component| component["name"] == **name);
        let component = component.ok_or_else(|| format!("the ledger has no `{name}`"))?;
        for (key, number) in numbers.as_object().into_iter().flatten() {
            if component[key] != *number {
                return Err(format!("{name}: expected {key} = {number}, the ledger says {}", component[key]));
            }
        }
    }
    Ok(())
}
