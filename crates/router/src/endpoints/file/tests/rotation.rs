//! Rotation: no line is lost, repeated, torn or out of order, whatever happens in between.

use std::{
    fs::{self, File},
    time::SystemTime,
};

use proptest::prelude::*;

use super::*;
use crate::{endpoints::file::compression, testing::ManualClock};

const DAY: u64 = 86_400;

/// A message with this number, of about `bytes`.
fn line(number: usize, bytes: usize) -> String {
    let filling = "x".repeat(bytes);
    format!("{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"payload\":\"{number} {filling}\"}}\n")
}

/// The past of the file at `path` and the file itself, in the order in which they were written.
fn files(path: &Path) -> Vec<Vec<u8>> {
    let past = rotated::find(path).unwrap();
    past.iter().map(|rotated| &*rotated.path).chain([path]).map(compression::content).collect()
}

/// Waits until something is so; the housekeeper has a thread of its own.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_file_never_grows_beyond_its_size_and_each_message_is_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut endpoint = endpoint(&format!("path = '{}'\nrotate = {{ size = '1KiB' }}", path.display()));
    let sent: Vec<String> = (0..300).map(|number| line(number, number)).collect();
    for lines in sent.chunks(70) {
        assert_eq!(endpoint.deliver(&work_of(lines)), Answer::delivered(lines.len()));
    }
    let files = files(&path);
    assert!(files.len() > 40, "{}", files.len());
    assert!(files.iter().all(|file| file.len() <= 1024 && file.ends_with(b"\n")));
    assert_eq!(files.concat(), sent.concat().into_bytes());
}

#[test]
fn a_restart_goes_on_in_the_file_that_is_there_and_in_the_order_of_its_past() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let body = format!("path = '{}'\nrotate = {{ size = '400B' }}", path.display());
    let sent: Vec<String> = (0..20).map(|number| line(number, 100)).collect();
    for (number, lines) in sent.chunks(1).enumerate() {
        // A clock that stands still, or goes back from one start to the next, changes nothing.
        let clock = Arc::new(ManualClock::default());
        clock.set(Duration::from_secs(1000 - number as u64));
        assert_eq!(endpoint_at(clock, &body).deliver(&work_of(lines)), Answer::delivered(1));
    }
    let files = files(&path);
    assert_eq!(files.len(), 10, "two fit into one");
    assert_eq!(files.concat(), sent.concat().into_bytes());
}

#[test]
fn at_the_end_of_a_day_the_file_gives_way_even_if_nothing_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let clock = Arc::new(ManualClock::default());
    let body = format!("path = '{}'\nrotate = {{ every = '1d' }}", path.display());
    let mut endpoint = endpoint_at(clock.clone(), &body);
    endpoint.tick(Duration::ZERO);
    endpoint.deliver(&work_of(&[line(1, 0)]));
    let soon = endpoint.next_tick().unwrap();
    assert!(soon <= Duration::from_secs(60), "the clock may be set");
    endpoint.tick(soon);
    assert_eq!(files(&path).len(), 1, "the day is not over");
    // It was 21:13 when the clock began.
    clock.set(Duration::from_secs(DAY / 8));
    endpoint.tick(clock.monotonic());
    assert_eq!(files(&path), [line(1, 0).into_bytes(), vec![]]);
    clock.set(Duration::from_secs(DAY * 5));
    endpoint.tick(clock.monotonic());
    assert_eq!(files(&path).len(), 2, "an empty file is no past");
    endpoint.deliver(&work_of(&[line(2, 0)]));
    clock.set(Duration::from_secs(DAY * 6));
    endpoint.deliver(&work_of(&[line(3, 0)]));
    assert_eq!(files(&path), [line(1, 0), line(2, 0), line(3, 0)].map(String::into_bytes));
}

#[test]
fn what_an_earlier_run_wrote_on_an_earlier_day_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, line(1, 0)).unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(DAY);
    File::options().append(true).open(&path).unwrap().set_modified(yesterday).unwrap();
    let body = format!("path = '{}'\nrotate = {{ every = '1d' }}", path.display());
    endpoint(&body).deliver(&work_of(&[line(2, 0)]));
    assert_eq!(files(&path), [line(1, 0), line(2, 0)].map(String::into_bytes));
    endpoint(&body).deliver(&work_of(&[line(3, 0)]));
    assert_eq!(files(&path).len(), 2, "today's file is");
}

#[test]
fn files_closed_at_the_bound_on_open_files_go_on_where_they_were_and_keep_is_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let body = format!(
        "path = '{}/{{logger}}.log'\nrotate = {{ size = '1KiB', keep = 2, compress = 'gzip' }}",
        folder.path().display()
    );
    let mut endpoint = endpoint(&body);
    endpoint.tick(Duration::ZERO);
    let loggers = ["a", "b", "c", "d", "e"];
    for number in 0..50 {
        let sent = loggers.map(|logger| {
            line(number, 100).replace("\"type\"", &format!("\"logger\":\"{logger}\",\"type\""))
        });
        assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(loggers.len()));
    }
    for logger in loggers {
        let path = folder.path().join(format!("{logger}.log"));
        let names = || -> Vec<bool> {
            rotated::find(&path)
                .unwrap()
                .iter()
                .map(|rotated| rotated.form == rotated::Form::Compressed)
                .collect()
        };
        wait_until("two are kept, compressed", || names() == [true, true]);
        let files = files(&path);
        let text = String::from_utf8(files.concat()).unwrap();
        let numbers: Vec<usize> = text
            .lines()
            .map(|line| {
                line.split("\"payload\":\"").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
            })
            .collect();
        assert!(numbers.iter().copied().eq(50 - numbers.len()..50), "{logger}: {numbers:?}");
        assert!(files[..2].iter().all(|file| (800..=1024).contains(&file.len())), "{logger}");
    }
}

#[test]
fn a_message_cannot_choose_a_file_that_has_given_way() {
    let folder = tempfile::tempdir().unwrap();
    let body =
        format!("path = '{}/{{logger}}'\nrotate = {{ size = '1KiB', keep = 0 }}", folder.path().display());
    let name = "shop.20120718T000000.000Z";
    let message = line(1, 0).replace("\"type\"", &format!("\"logger\":\"{name}\",\"type\""));
    endpoint(&body).deliver(&work_of(&[&message]));
    assert_eq!(read(folder.path().join(format!("{name}_"))), message);
}

#[test]
fn a_name_that_is_changed_still_has_room_for_all_that_a_rotation_adds() {
    let folder = tempfile::tempdir().unwrap();
    let body = format!(
        "path = '{}/{{logger}}'\nrotate = {{ size = '100B', compress = 'zstd' }}",
        folder.path().display()
    );
    // As long as a name may be, and like that of a rotated file.
    let longest = 255 - ".20120718T000000.000Z.zst.part".len();
    let past = ".20120718T000000.000Z";
    let name = "x".repeat(longest - past.len()) + past;
    let message = line(1, 0).replace("\"type\"", &format!("\"logger\":\"{name}\",\"type\""));
    let mut endpoint = endpoint(&body);
    endpoint.tick(Duration::ZERO);
    assert_eq!(endpoint.deliver(&work_of(&[&message, &message])), Answer::delivered(2));
    wait_until("the first one is compressed", || {
        let mut names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        names.any(|name| name.extension().is_some_and(|extension| extension == "zst"))
    });
}

#[test]
fn max_age_removes_what_the_endpoint_has_made_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let body = format!("path = '{}/{{logger}}.log'\nrotate = {{ max_age = '1h' }}", folder.path().display());
    for name in ["dpkg.log", "nginx.log"] {
        fs::write(folder.path().join(name), "of somebody else\n").unwrap();
    }
    let of = |logger: &str| line(1, 0).replace("\"type\"", &format!("\"logger\":\"{logger}\",\"type\""));
    // What the endpoint appends to is not its own by that.
    endpoint(&body).deliver(&work_of(&["shop", "nginx"].map(of)));
    for entry in fs::read_dir(folder.path()).unwrap() {
        let file = File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    }
    let mut next = endpoint(&body);
    wait_until("the old file is gone", || {
        next.tick(Duration::ZERO);
        !folder.path().join("shop.log").exists()
    });
    for name in ["dpkg.log", "nginx.log"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_file_that_was_moved_from_outside_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut endpoint = endpoint(&format!("path = '{}'\nrotate = {{ size = '500B' }}", path.display()));
    endpoint.deliver(&work_of(&[line(1, 300)]));
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    endpoint.deliver(&work_of(&[line(2, 300)]));
    assert_eq!(read(folder.path().join("elsewhere")), line(1, 300));
    assert_eq!(files(&path), [line(2, 300).into_bytes()]);
}

#[test]
fn a_file_that_was_truncated_from_outside_has_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut endpoint = endpoint(&format!("path = '{}'\nrotate = {{ size = '500B' }}", path.display()));
    endpoint.deliver(&work_of(&[line(1, 300)]));
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    endpoint.deliver(&work_of(&[line(2, 300)]));
    assert_eq!(files(&path), [line(2, 300).into_bytes()], "from its beginning, without a gap");
}

#[test]
fn what_is_no_file_is_not_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut endpoint = endpoint(&format!("path = '{}'\nrotate = {{ size = '200B' }}", link.display()));
    let sent: Vec<String> = (0..9).map(|number| line(number, 100)).collect();
    assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(9));
    assert_eq!(read(&target), sent.concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_folder_that_takes_no_new_name_does_not_hold_messages_up() {
    let folder = tempfile::tempdir().unwrap();
    // The name has no room for a stamp, and the operator's own path is not shortened.
    let path = folder.path().join("x".repeat(250));
    let mut endpoint = endpoint(&format!("path = '{}'\nrotate = {{ size = '200B' }}", path.display()));
    let sent: Vec<String> = (0..9).map(|number| line(number, 100)).collect();
    assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(9));
    assert_eq!(read(&path), sent.concat(), "it grows, and the router says so");
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<u16>),
    Restart,
    Reopen,
    Tick,
    /// A logger that takes the place of the others at the bound on open files.
    Elsewhere(u8),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(0u16..900, 1..30).prop_map(Step::Write),
        1 => Just(Step::Restart),
        1 => Just(Step::Reopen),
        1 => Just(Step::Tick),
        1 => (0u8..4).prop_map(Step::Elsewhere),
        2 => (0u32..5_000_000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn after_anything_every_line_is_in_exactly_one_file_in_order(
        steps in prop::collection::vec(step(), 1..40),
        size in 300u64..4000,
        every in prop::option::of(Just("1h")),
        compress in prop::sample::select(vec!["none", "zstd", "gzip"]),
        text in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let every = every.map_or(String::new(), |every| format!(", every = '{every}'"));
        let format = if text { "format = 'text'\ntemplate = \"{payload}\\nend\"" } else { "" };
        let body = format!(
            "path = '{}/{{logger}}.log'\nrotate = {{ size = {size}, compress = '{compress}'{every} }}\n{format}",
            folder.path().display()
        );
        let path = folder.path().join("main.log");
        let clock = Arc::new(ManualClock::default());
        let mut endpoint = endpoint_at(clock.clone(), &body);
        let (mut number, mut expected, mut largest) = (0, String::new(), 0);
        for step in &steps {
            match step {
                Step::Write(lengths) => {
                    let mut sent = Vec::new();
                    for length in lengths {
                        let message = line(number, usize::from(*length));
                        let message = message.replace("\"type\"", "\"logger\":\"main\",\"type\"");
                        let written = match text {
                            true => format!("{number} {}\nend\n", "x".repeat(usize::from(*length))),
                            false => message.clone(),
                        };
                        largest = largest.max(written.len());
                        expected.push_str(&written);
                        sent.push(message);
                        number += 1;
                    }
                    prop_assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(sent.len()));
                }
                Step::Restart => {
                    drop(endpoint);
                    endpoint = endpoint_at(clock.clone(), &body);
                }
                Step::Reopen => endpoint.reopen().unwrap(),
                Step::Tick => endpoint.tick(clock.monotonic()),
                Step::Elsewhere(name) => {
                    let message = line(0, 10).replace("\"type\"", &format!("\"logger\":\"{name}\",\"type\""));
                    endpoint.deliver(&work_of(&[message]));
                }
                Step::Pass(milliseconds) => {
                    clock.set(clock.monotonic() + Duration::from_millis(u64::from(*milliseconds)));
                }
            }
        }
        // Stops the compression that is under way.
        drop(endpoint);
        if number > 0 {
            let files = files(&path);
            prop_assert_eq!(String::from_utf8(files.concat()).unwrap(), expected);
            let most = (size as usize).max(largest);
            prop_assert!(files.iter().all(|file| file.len() <= most));
            let mut names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            prop_assert!(!names.any(|name| name.to_str().unwrap().ends_with(".part")));
        }
    }
}
