//! Debian's own logrotate rotates the router's files under load.
//!
//! It is unpacked by `scripts/peers`. Where it is missing a test fails if `CI` is set, and otherwise says so and passes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    Router, messages, receivers,
    router::METLOG,
    senders,
    skipped::skip,
    two_files::{CONFIGURATION, FILES, rotate_under_load},
};

const ROTATIONS: usize = 5;

/// What a router may have read and written without having counted it: one read of 256 KiB, of messages of 150 bytes.
const ONE_READ: usize = 256 * 1024 / 150 + 1;

/// A real logrotate with a configuration and a state of its own.
struct Logrotate {
    configuration: PathBuf,
    state: PathBuf,
    libraries: PathBuf,
    binary: PathBuf,
}

impl Logrotate {
    /// Rotates the router's files by `rules`; `None` where there is no logrotate.
    fn new(router: &Router, rules: &str) -> Option<Logrotate> {
        let unpacked = messages::tests_folder().join("peers/debian");
        let binary = unpacked.join("usr/sbin/logrotate");
        if !binary.is_file() {
            let message = format!("{} is not there; `make peers` installs it", binary.display());
            skip("a real logrotate", &message);
            return None;
        }
        let paths = FILES.map(|(_, path)| router.path(path).display().to_string()).join(" ");
        let configuration = router.path("logrotate.conf");
        let text = format!("{paths} {{\n size 1\n rotate 1000\n sharedscripts\n{rules}\n}}\n");
        fs::write(&configuration, text).expect("write");
        // It trusts no configuration that others may write.
        fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600)).expect("chmod");
        let libraries = unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        Some(Logrotate { configuration, state: router.path("logrotate.state"), libraries, binary })
    }

    fn rotate(&self) {
        let output = Command::new(&self.binary)
            .env("LD_LIBRARY_PATH", &self.libraries)
            .arg("--force")
            .arg("--state")
            .arg(&self.state)
            .arg(&self.configuration)
            .output()
            .expect("run logrotate");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("error"), "logrotate: {said}");
    }
}

/// A file's past and the file itself, oldest first: logrotate gives its numbers from the youngest on.
fn files(path: &Path, suffix: &str) -> Vec<PathBuf> {
    let rotated =
        (1..=ROTATIONS).rev().map(|number| PathBuf::from(format!("{}.{number}{suffix}", path.display())));
    rotated.chain([path.to_owned()]).collect()
}

fn text(path: &Path) -> String {
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let program = if packed { "zcat" } else { "cat" };
    let output = Command::new(program).arg(path).output().expect("read a file");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn with_create_and_metlog_reopen_every_message_is_there_once_and_in_order() {
    let router = Router::start(CONFIGURATION);
    // Compressed at once: the old files are complete when `metlog reopen` has returned.
    let rules = format!(
        " create\n compress\n postrotate\n  {METLOG} reopen --api {} >/dev/null\n endscript",
        router.api()
    );
    let Some(logrotate) = Logrotate::new(&router, &rules) else { return };
    let sent = rotate_under_load(&router, ROTATIONS, |_| logrotate.rotate());
    let stopped = router.stop();
    for (endpoint, path) in FILES {
        let texts: Vec<String> = files(&stopped.path(path), ".gz").iter().map(|path| text(path)).collect();
        assert!(texts.iter().all(|text| text.ends_with('\n') || text.is_empty()));
        let arrived = texts.iter().flat_map(|text| messages::numbers(text.lines()));
        assert!(arrived.eq(0..sent), "{endpoint}: each message once, in order");
        assert_eq!(stopped.ledger.delivered(endpoint), sent as u64);
    }
}

#[test]
fn with_copytruncate_what_is_lost_lies_between_copy_and_truncation_and_nothing_else_is_harmed() {
    let router = Router::start(CONFIGURATION);
    let Some(logrotate) = Logrotate::new(&router, " copytruncate") else { return };
    // How long that takes is the system's affair, and so is how much is lost. What was delivered before a rotation began was
    // copied, though, and what came after it had ended lies behind the truncation.
    let mut amid = Vec::new();
    let sent = rotate_under_load(&router, ROTATIONS, |_| {
        let before = router.ledger();
        logrotate.rotate();
        let after = router.ledger().received("tcp") as usize + ONE_READ;
        amid.push((FILES.map(|(endpoint, _)| before.delivered(endpoint) as usize), after));
    });
    let stopped = router.stop();
    for (position, (endpoint, path)) in FILES.into_iter().enumerate() {
        assert_eq!(stopped.ledger.delivered(endpoint), sent as u64);
        let mut next = 0;
        // How many rotations there were before the last file that holds anything.
        let mut passed = 0;
        let mut lost = 0;
        let files = files(&stopped.path(path), "");
        for (number, file) in files.iter().enumerate() {
            let text = text(file);
            assert!(!text.contains('\0'), "{}: a hole where the file was before", file.display());
            // The copy may end within a line; the file itself begins with one, and ends with one.
            let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            assert!(whole.len() == text.len() || file != files.last().expect("a file"));
            let numbers = messages::numbers(whole.lines());
            let Some(&first) = numbers.first() else { continue };
            assert!(first >= next, "{}: nothing twice, nothing late", file.display());
            let gap = next..first;
            let behind = &amid[passed..number];
            assert!(
                gap.is_empty() || !behind.is_empty(),
                "{endpoint}: {gap:?} is missing before any rotation"
            );
            passed = number;
            if let (false, Some((before, _)), Some((_, after))) =
                (gap.is_empty(), behind.first(), behind.last())
            {
                assert!(
                    gap.start >= before[position] && gap.end <= *after,
                    "{endpoint}: {gap:?} outside of {behind:?}"
                );
            }
            lost += first - next;
            assert!(
                numbers.iter().copied().eq(first..first + numbers.len()),
                "{}: no gap within",
                file.display()
            );
            next = first + numbers.len();
        }
        assert_eq!(next, sent, "the last message is there");
        println!("{endpoint}: copytruncate lost {lost} of {sent} messages in {ROTATIONS} rotations");
    }
}

#[test]
fn with_copytruncate_nothing_is_lost_while_nothing_is_written() {
    let router = Router::start(CONFIGURATION);
    let Some(logrotate) = Logrotate::new(&router, " copytruncate") else { return };
    let lines = messages::numbered("load", 100, 0);
    for part in lines.chunks(20) {
        let before = router.ledger().received("tcp");
        senders::tcp(router.address("tcp"), messages::text_of(part).as_bytes());
        router.wait_until_delivered(before + 20);
        logrotate.rotate();
    }
    let stopped = router.stop();
    for (_, path) in FILES {
        let arrived: Vec<String> =
            files(&stopped.path(path), "").iter().flat_map(|file| receivers::lines(file)).collect();
        assert_eq!(arrived, lines);
    }
}
