//! Reader threads with a source that does what none should.

use std::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    time::Instant,
};

use metlog_message::Limits;
use mio::Registry;

use super::*;
use crate::{
    clock::SystemClock,
    decoders::{FrameDecoder, line::LineDecoder},
    rejects::Rejects,
    routes::table::RouteTable,
    slab_pool::SlabPool,
};

/// A source whose read does not return before the test lets it.
#[derive(Debug)]
struct Hanging {
    begun: Sender<()>,
    released: Mutex<Receiver<()>>,
}

impl Source for Hanging {
    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read(&mut self, _: &mut Flow<'_>) -> Progress {
        self.begun.send(()).unwrap();
        let _ = self.released.lock().unwrap().recv_timeout(Duration::from_secs(30));
        Progress::Ended
    }

    fn stop(&mut self) {}
}

fn pipeline(clock: &Arc<dyn Clock>) -> Pipeline {
    let outlets = Arc::new(Outlets {
        table: RouteTable::compile(Vec::new(), 0).unwrap(),
        outlets: Vec::new(),
        rejects: Rejects::new(Vec::new(), 0),
        tap: Arc::default(),
    });
    let decoder = FrameDecoder::Line(LineDecoder::new("", 6, Limits::default()));
    Pipeline::new("hanging", decoder, outlets, Arc::default(), clock.clone(), SlabPool::new(0))
}

#[test]
fn a_thread_that_hangs_in_a_read_does_not_hold_up_the_end() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let readers = Readers::start(2, &clock, Waker::noop().clone()).unwrap();
    readers.serve(0, || pipeline(&clock));
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    readers.adopt(Box::new(Hanging { begun, released: Mutex::new(released) }), 0);
    has_begun.recv_timeout(Duration::from_secs(30)).unwrap();
    let asked = Instant::now();
    readers.stop(clock.monotonic() + Duration::from_millis(50));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    drop(release);
}
