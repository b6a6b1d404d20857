//! The main job by the programs that people use today, as far as they are installed.
//!
//! Each gets the configuration of its name in `bench/peers/`, a port that the operating system just gave, and its own
//! folder. Their JSON differs from what was sent (other key order, added keys, numbers as text), so that their
//! outputs are held to the right number of lines, not to the bytes.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cases::{peak_mebibytes, tcp_three_files};
use crate::context::{Context, Run, Side, median, source_folder};
use crate::floor::run_of;
use crate::load;
use crate::measure::Process;
use crate::mix::{Mix, OUTPUTS, Variation};
use crate::outputs;
use crate::report::{Bound, Row, Verdict};
use crate::router;

const START_TIMEOUT: Duration = Duration::from_secs(20);

struct Peer {
    /// The program's name on the PATH.
    program: &'static str,
    /// Its configuration in `bench/peers/`.
    config: &'static str,
    bound: Bound,
    /// Starts it in the foreground: program, configuration, folder.
    command: fn(&Path, &Path, &Path) -> Command,
}

const PEERS: [Peer; 4] = [
    Peer {
        program: "rsyslogd",
        config: "rsyslogd.conf",
        bound: Bound::Ratio { must: 1.0 / 8.0, aim: 1.0 / 15.0 },
        command: rsyslogd,
    },
    Peer {
        program: "fluent-bit",
        config: "fluent-bit.conf",
        bound: Bound::Ratio { must: 1.0 / 4.0, aim: 1.0 / 8.0 },
        command: fluent_bit,
    },
    Peer { program: "syslog-ng", config: "syslog-ng.conf", bound: Bound::None, command: syslog_ng },
    Peer { program: "vector", config: "vector.yaml", bound: Bound::None, command: vector },
];

fn rsyslogd(program: &Path, config: &Path, _folder: &Path) -> Command {
    let mut command = with_own_libraries(program);
    command.arg("-n").arg("-iNONE").arg("-f").arg(config);
    if let Some(modules) = own_library_folders(program).into_iter().find(|folder| folder.ends_with("rsyslog"))
    {
        command.arg("-M").arg(modules);
    }
    command
}

fn fluent_bit(program: &Path, config: &Path, _folder: &Path) -> Command {
    let mut command = with_own_libraries(program);
    command.arg("-c").arg(config);
    command
}

fn syslog_ng(program: &Path, config: &Path, folder: &Path) -> Command {
    let mut command = with_own_libraries(program);
    command.arg("-F").arg("--no-caps").arg("-f").arg(config);
    command.arg("-R").arg(folder.join("persist")).arg("-p").arg(folder.join("pid"));
    command.arg("-c").arg(folder.join("control"));
    let version = own_library_folders(program).into_iter().find(|folder| folder.ends_with("syslog-ng"));
    if let Some(modules) = version.and_then(|folder| numbered_folder(&folder)) {
        command.arg(format!("--module-path={}", modules.display()));
    }
    command
}

fn vector(program: &Path, config: &Path, _folder: &Path) -> Command {
    let mut command = with_own_libraries(program);
    command.arg("-q").arg("--config").arg(config);
    command
}

/// Only one syslog daemon of Debian can be installed at a time, but a package may be unpacked into any folder:
/// then its libraries and modules are beside it, and it has to be told so.
fn with_own_libraries(program: &Path) -> Command {
    let mut command = Command::new(program);
    let folders = own_library_folders(program);
    if !folders.is_empty()
        && let Ok(joined) = std::env::join_paths(folders)
    {
        command.env("LD_LIBRARY_PATH", joined);
    }
    command
}

/// The folders that may hold libraries or modules of an unpacked program; none for an installed one.
fn own_library_folders(program: &Path) -> Vec<PathBuf> {
    let prefix = match program.parent().and_then(Path::parent) {
        Some(prefix) if !["/", "/usr", "/usr/local"].iter().any(|system| prefix == Path::new(system)) => {
            prefix
        }
        _ => return Vec::new(),
    };
    let libraries = prefix.join("lib");
    let of_architecture = libraries.join(format!("{}-linux-gnu", std::env::consts::ARCH));
    [
        libraries.join("syslog-ng"),
        of_architecture.join("syslog-ng"),
        of_architecture.join("rsyslog"),
        of_architecture,
        libraries,
    ]
    .into_iter()
    .filter(|folder| folder.is_dir())
    .collect()
}

/// The folder below that is named after a version.
fn numbered_folder(folder: &Path) -> Option<PathBuf> {
    let starts_with_digit = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()))
    };
    fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(starts_with_digit)
}

/// Where a program is on the PATH.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// One row for each peer: the peer in the floor's column.
pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let mix = context.mix(Variation::Plain, context.peer_messages)?;
    let mut rows = Vec::new();
    for peer in &PEERS {
        let name = format!("TCP → three files, against {}", peer.program);
        let Some(program) = find(peer.program) else {
            rows.push(Row::without_figure(
                &name,
                Verdict::Absent(format!("{} is not on the PATH", peer.program)),
            ));
            continue;
        };
        eprintln!("{name}");
        rows.push(match compare(context, peer, &program, &mix, &name) {
            Ok(row) => row,
            Err(error) => Row::without_figure(&name, Verdict::Failed(format!("{error:#}"))),
        });
    }
    Ok(rows)
}

fn compare(context: &Context, peer: &Peer, program: &Path, mix: &Mix, name: &str) -> anyhow::Result<Row> {
    let config = router::config("three-files.toml");
    let mut sides: Vec<Side<'_>> = vec![(peer.program, Box::new(|| one(context, peer, program, mix)))];
    if context.metlog.is_some() {
        let outputs = &tcp_three_files::OUTPUTS;
        sides.push(("router", Box::new(|| Ok(router::tcp_job(context, &config, mix, outputs)?.0))));
    }
    let runs = context.interleave(&mut sides)?;
    let routed = runs.get(1).map_or(&[][..], Vec::as_slice);
    let row = Row::compared(name, &runs[0], routed, peer.bound, None);
    Ok(row.note(format!(
        "the floor's column is {}: {:.0} messages/s, peak {:.0} MiB, {:.3} context switches a message",
        peer.program,
        median(runs[0].iter().map(|run| run.rate)),
        peak_mebibytes(&runs[0]),
        median(runs[0].iter().map(|run| run.switches_per_message))
    )))
}

/// One run of a peer, its outputs counted.
fn one(context: &Context, peer: &Peer, program: &Path, mix: &Mix) -> anyhow::Result<Run> {
    let folder = context.fresh_folder(&format!("peer-{}", peer.program))?;
    let template = fs::read_to_string(source_folder("peers").join(peer.config))
        .with_context(|| format!("read {}", peer.config))?;
    let address = free_address()?;
    let text = template
        .replace("@PORT@", &address.port().to_string())
        .replace("@FOLDER@", &folder.display().to_string());
    let config = folder.join(peer.config);
    fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;

    let mut process = Process::start(peer.program, (peer.command)(program, &config, &folder))?;
    wait_until_listening(&mut process, address)?;
    let begin = Instant::now();
    load::replay(address, &mix.sent)?;
    let files: Vec<(PathBuf, usize)> =
        OUTPUTS.iter().zip(mix.lines).map(|(output, lines)| (folder.join(output), lines)).collect();
    if let Err(error) = outputs::wait_for_lines(&files) {
        bail!("{error:#}; {} printed:\n{}", peer.program, process.transcript());
    }
    let elapsed = begin.elapsed();
    let peak_bytes = process.peak_memory_bytes()?;
    // How it ends is its own affair; what it cost is not.
    let finished = process.terminate()?;
    Ok(Run { peak_bytes, ..run_of(&finished, mix.count(), elapsed) })
}

/// A port that was free a moment ago: none of the peers can say which port it was given.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?)
}

fn wait_until_listening(process: &mut Process, address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(address).is_err() {
        process.check_running()?;
        if Instant::now() > deadline {
            bail!("nothing listens at {address}; it printed:\n{}", process.transcript());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
