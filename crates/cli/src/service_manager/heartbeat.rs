//! The router's heartbeat: a thread that asks it whether it works, and says so to the service manager.
//!
//! The main loop has to answer, and then every reader thread and the network runtime. Where one of them hangs the watchdog hears
//! nothing any more, and the service manager starts the router anew. An endpoint that fails, or a full disk, is no such case: there the
//! router does its work, which is to hold the messages, and a restart would lose them.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use metlog_router::latch::Latch;

use super::ServiceManager;
use crate::{
    api::{Observed, pipeline::Pipeline},
    live::{numbers::counted, verdict::Verdict},
};

/// How often the manager is told how it goes, unless the watchdog asks for more.
const INTERVAL: Duration = Duration::from_secs(10);

/// How often it is looked, in one interval, whether the router that does not answer is about to stop.
const LOOKS: u32 = 4;

/// The question whether the router works, for its main loop.
#[derive(Debug)]
pub struct Question(mpsc::Sender<Arc<Latch>>);

impl Question {
    /// The main loop works; the latch opens when the other threads have answered too.
    pub fn answer(self, others: Arc<Latch>) {
        // Who asked may have gone with the router.
        let _ = self.0.send(others);
    }
}

/// Starts the heart, which beats until the router is gone. `ask` puts a question to the main loop, and returns `false` where there is
/// none any more. Without a service manager there is nothing to do.
pub fn start(
    manager: Arc<ServiceManager>,
    observed: Arc<Observed>,
    ask: impl Fn(Question) -> bool + Send + 'static,
) -> io::Result<()> {
    if manager.socket.is_none() {
        return Ok(());
    }
    let interval = manager.watchdog.map_or(INTERVAL, |period| INTERVAL.min(period / 2));
    let heart = Heart { manager, observed, interval };
    thread::Builder::new().name("heartbeat".to_owned()).spawn(move || heart.beat(&ask))?;
    Ok(())
}

struct Heart {
    manager: Arc<ServiceManager>,
    observed: Arc<Observed>,
    interval: Duration,
}

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Works,
    Stopping,
    Gone,
}

impl Heart {
    fn beat(&self, ask: &impl Fn(Question) -> bool) {
        let mut told = String::new();
        loop {
            let begin = Instant::now();
            let answer = if self.is_stopping() { Answer::Stopping } else { self.ask(ask) };
            match answer {
                Answer::Works => {}
                Answer::Stopping => return self.beat_while_stopping(),
                Answer::Gone => return,
            }
            let mut state = "WATCHDOG=1".to_owned();
            let status = status(&self.observed.pipeline());
            if status != told {
                state = format!("{state}\nSTATUS={status}");
            }
            if self.manager.tell(&state) {
                told = status;
            }
            // As much earlier as the answer took: the watchdog's time runs from one word to the next.
            thread::sleep(self.interval.saturating_sub(begin.elapsed()));
        }
    }

    /// Asks, and waits for all answers; says in the log who does not give one.
    fn ask(&self, ask: &impl Fn(Question) -> bool) -> Answer {
        let (question, answer) = mpsc::channel();
        if !ask(Question(question)) {
            return Answer::Gone;
        }
        let asked = Instant::now();
        let mut is_said = false;
        let mut complain = |who: &str| {
            if asked.elapsed() >= self.interval && !std::mem::replace(&mut is_said, true) {
                tracing::error!("{who} not answered for {:?}", self.interval);
            }
        };
        let look = self.interval / LOOKS;
        let others = loop {
            match answer.recv_timeout(look) {
                Ok(others) => break others,
                Err(_) if self.is_stopping() => return Answer::Stopping,
                Err(RecvTimeoutError::Disconnected) => return Answer::Gone,
                Err(RecvTimeoutError::Timeout) => complain("the main loop has"),
            }
        };
        while !others.wait(look) {
            if self.is_stopping() {
                return Answer::Stopping;
            }
            complain("a reader thread, or the network runtime, has");
        }
        Answer::Works
    }

    fn is_stopping(&self) -> bool {
        self.manager.stopping_until().is_some()
    }

    /// A router that stops may take its time, but no longer than it said; the process ends under this thread.
    fn beat_while_stopping(&self) {
        while self.manager.stopping_until().is_some_and(|until| Instant::now() < until) {
            self.manager.tell("WATCHDOG=1");
            thread::sleep(self.interval);
        }
    }
}

/// How it goes, in the line that `systemctl status` shows.
fn status(pipeline: &Pipeline) -> String {
    let verdict = Verdict::of(pipeline, "");
    if !verdict.is_healthy() {
        return format!("in trouble: {}", verdict.problems.join("; "));
    }
    let inputs = pipeline.inputs.iter().filter(|input| !input.removed).count();
    let endpoints = pipeline.endpoints.iter().filter(|endpoint| !endpoint.removed).count();
    format!(
        "healthy: {}, {}",
        counted(inputs as u64, "input", "inputs"),
        counted(endpoints as u64, "endpoint", "endpoints")
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::live::rates::tests::pipeline;

    /// Many beats long.
    const SILENCE: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A heart, and the manager's side of its socket.
    fn heart(folder: &tempfile::TempDir) -> (Heart, UnixDatagram) {
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = ServiceManager::new(Some(path.as_os_str()), Some(Duration::from_millis(40)));
        let observed = Arc::new(Observed::for_tests());
        let heart = Heart { manager: Arc::new(told), observed, interval: Duration::from_millis(20) };
        (heart, manager)
    }

    fn is_told(manager: &UnixDatagram, within: Duration) -> bool {
        manager.set_read_timeout(Some(within)).unwrap();
        manager.recv(&mut [0; 500]).is_ok()
    }

    #[test]
    fn a_thread_that_hangs_stops_the_heart_until_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (heart, manager) = heart(&folder);
        let (asked, questions) = mpsc::channel();
        let beating = thread::spawn(move || heart.beat(&|question| asked.send(question).is_ok()));
        let question = questions.recv_timeout(PATIENCE).unwrap();
        let hanging = Arc::new(Latch::new(2));
        hanging.count_down();
        question.answer(hanging.clone());
        assert!(!is_told(&manager, SILENCE), "one of two threads has not answered");
        hanging.count_down();
        assert!(is_told(&manager, PATIENCE), "both have");
        drop(questions);
        beating.join().unwrap();
    }

    #[test]
    fn a_status_that_the_manager_did_not_take_is_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let (heart, manager) = heart(&folder);
        drop(manager);
        let path = folder.path().join("notify");
        std::fs::remove_file(&path).unwrap();
        let (asked, questions) = mpsc::channel();
        let beating = thread::spawn(move || heart.beat(&|question| asked.send(question).is_ok()));
        let answer_next = || questions.recv_timeout(PATIENCE).unwrap().answer(Arc::new(Latch::new(0)));
        answer_next();
        // When it is asked again, nobody has taken what was told before.
        let question = questions.recv_timeout(PATIENCE).unwrap();
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        question.answer(Arc::new(Latch::new(0)));
        let next = || {
            let mut buffer = [0; 500];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert!(next().starts_with("WATCHDOG=1\nSTATUS="));
        answer_next();
        assert_eq!(next(), "WATCHDOG=1", "what is known is not told again");
        drop(questions);
        beating.join().unwrap();
    }

    #[test]
    fn a_main_loop_that_hangs_stops_the_heart() {
        let folder = tempfile::tempdir().unwrap();
        let (heart, manager) = heart(&folder);
        let (asked, questions) = mpsc::channel();
        let beating = thread::spawn(move || heart.beat(&|question| asked.send(question).is_ok()));
        let question = questions.recv_timeout(PATIENCE).unwrap();
        assert!(!is_told(&manager, SILENCE), "it has not answered");
        question.answer(Arc::new(Latch::new(0)));
        assert!(is_told(&manager, PATIENCE), "it has");
        drop(questions);
        beating.join().unwrap();
    }

    #[test]
    fn a_router_that_stops_is_given_the_time_that_it_said_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (heart, manager) = heart(&folder);
        let service_manager = heart.manager.clone();
        let stopping_until = |until| *service_manager.stopping_until.lock().unwrap() = Some(until);
        stopping_until(Instant::now() + PATIENCE);
        // Nobody answers any more.
        let beating = thread::spawn(move || heart.beat(&|_| true));
        assert!(is_told(&manager, PATIENCE) && is_told(&manager, PATIENCE));
        stopping_until(Instant::now());
        beating.join().unwrap();
    }

    #[test]
    fn the_status_is_one_line_that_says_what_is_wrong() {
        let mut pipeline = pipeline(100.0, 1000);
        let troubled = status(&pipeline);
        assert!(troubled.starts_with("in trouble: endpoint `stats` fails: connection"), "{troubled}");
        assert!(!troubled.contains(char::is_control), "{troubled}");
        for endpoint in &mut pipeline.endpoints {
            endpoint.failure = None;
            endpoint.oldest_undelivered_seconds = None;
        }
        let healthy = status(&pipeline);
        assert!(healthy.starts_with("healthy: ") && healthy.contains(" endpoint"), "{healthy}");
    }
}
