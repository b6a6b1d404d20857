//! The floors, run for real over a few messages: every byte of their outputs is compared inside.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;

use metlog_bench::context::Context;
use metlog_bench::floor::{self, TcpFloor};
use metlog_bench::mix::Variation;

fn context(work: &Path) -> Context {
    let programs = Path::new(env!("CARGO_BIN_EXE_floor-udp-count")).parent().map(Path::to_path_buf);
    Context {
        rounds: 1,
        messages: 5000,
        peer_messages: 1000,
        udp_seconds: 1,
        metlog: None,
        work: work.to_path_buf(),
        programs: programs.unwrap_or_default(),
        three_file_floor: Cell::new(None),
        plain_mixes: RefCell::new(HashMap::new()),
    }
}

#[test]
fn tcp_floors_write_what_was_sent() {
    let work = tempfile::tempdir().unwrap();
    let context = context(work.path());
    for variation in [Variation::Plain, Variation::Shuffled] {
        let mix = context.mix(variation, context.messages).unwrap();
        for tcp_floor in [TcpFloor::OneFile, TcpFloor::ThreeFiles] {
            let run = floor::tcp(&context, tcp_floor, &mix).unwrap();
            assert!(run.cpu_per_million > 0.0, "{tcp_floor:?}, {variation:?}");
        }
    }
}

#[test]
fn the_udp_floor_counts_every_datagram() {
    let work = tempfile::tempdir().unwrap();
    let context = context(work.path());
    let mix = context.mix(Variation::Plain, 2000).unwrap();
    let run = floor::udp(&context, &mix, 10_000).unwrap();
    assert_eq!(run.kernel_drops, 0);
    // A busy machine may be slower.
    assert!(run.rate > 0.0 && run.rate <= 10_100.0, "{} datagrams/s", run.rate);
}
