//! The terminal: taken over while the demo is shown, and given back whatever happens.
//!
//! Only the little that is needed: the alternate screen, raw mode (so that keys are not echoed and `q` works), and whole
//! frames in one write. Lines are overwritten in place and never cleared first, which is what would flicker.

use std::{
    io::{self, IsTerminal, Read, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossterm::{
    QueueableCommand, cursor,
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
        EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    },
};

/// Keys that end the demo; in raw mode Ctrl-C and Ctrl-D are keys too.
const QUIT_KEYS: [u8; 4] = [b'q', b'Q', 0x03, 0x04];

/// What a terminal has room for if it does not say.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// Set while the terminal is taken over, so that it is given back once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that is taken over.
#[derive(Debug)]
pub struct Terminal {
    quit: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal over. `quit` is set when a key says so, or a thread panics.
    pub fn take(quit: Arc<AtomicBool>) -> io::Result<Terminal> {
        // Without it (no controlling terminal) keys are echoed and do nothing, which is no reason not to show anything.
        let _ = terminal::enable_raw_mode();
        TAKEN.store(true, Ordering::SeqCst);
        let taken = Terminal { quit };
        let mut out = io::stdout().lock();
        out.queue(EnterAlternateScreen)?.queue(cursor::Hide)?.queue(DisableLineWrap)?.flush()?;
        drop(out);
        taken.watch_panics();
        taken.watch_keys()?;
        Ok(taken)
    }

    /// The message of a panic must not vanish with the alternate screen.
    fn watch_panics(&self) {
        let before = panic::take_hook();
        let quit = self.quit.clone();
        panic::set_hook(Box::new(move |info| {
            give_back();
            quit.store(true, Ordering::Relaxed);
            before(info);
        }));
    }

    /// The thread waits for a key until the process ends.
    fn watch_keys(&self) -> io::Result<()> {
        if !io::stdin().is_terminal() {
            return Ok(());
        }
        let quit = self.quit.clone();
        let watch = move || {
            let mut key = [0];
            while let Ok(1) = io::stdin().read(&mut key) {
                if QUIT_KEYS.contains(&key[0]) {
                    quit.store(true, Ordering::Relaxed);
                }
            }
        };
        thread::Builder::new().name("demo-keys".to_owned()).spawn(watch)?;
        Ok(())
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        let (columns, rows) = terminal::size().unwrap_or(USUAL_SIZE);
        (usize::from(columns), usize::from(rows))
    }

    /// Shows these lines, of which each must fit.
    pub fn show(&self, lines: &[String]) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut frame = Vec::with_capacity(8 * 1024);
        frame.queue(BeginSynchronizedUpdate)?.queue(cursor::MoveTo(0, 0))?;
        for (row, line) in lines.iter().enumerate() {
            if row > 0 {
                frame.write_all(b"\r\n")?;
            }
            frame.write_all(line.as_bytes())?;
            frame.queue(Clear(ClearType::UntilNewLine))?;
        }
        frame.queue(Clear(ClearType::FromCursorDown))?.queue(EndSynchronizedUpdate)?;
        let mut out = io::stdout().lock();
        out.write_all(&frame)?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Nobody is left to tell if the terminal is gone.
    let mut out = io::stdout();
    let _ = out
        .queue(EnableLineWrap)
        .and_then(|out| out.queue(cursor::Show))
        .and_then(|out| out.queue(LeaveAlternateScreen));
    let _ = out.flush();
    let _ = terminal::disable_raw_mode();
}
