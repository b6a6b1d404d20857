//! `metlog top`: live rates, buffers and losses of a running router in the terminal.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::{
    api::pipeline::Pipeline,
    api_client::{ApiArguments, ApiClient},
    live::{
        rates::Looks,
        top_screen::{Order, Screen},
    },
};

/// Columns where there is no terminal to ask.
const PLAIN_COLUMNS: u16 = 100;

/// How long a key or a signal waits for its effect at most.
const RESPONSE: Duration = Duration::from_millis(100);

/// Show rates, buffers and losses of a running router, live
///
/// Rates are over the last interval, counts since the router started. `q` ends it, `s` sorts differently. Where standard
/// output is no terminal, the same is printed as text once an interval.
///
/// Exit status 1 when a router that is printed does not answer any more; on a terminal its last numbers stay, and it is
/// asked again.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    api: ApiArguments,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// Print text instead of taking over the terminal
    #[arg(long)]
    plain: bool,
    /// Print one picture, with the rates of one interval, and end
    #[arg(long)]
    once: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0.1 to 3600".to_owned()),
    }
}

type Look = anyhow::Result<Pipeline>;

/// Exit status 0 when the user ended it.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = ApiClient::new(&arguments.api)?;
    let address = client.address().to_owned();
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, over.clone()).context("cannot watch signals")?;
    }
    let can_draw = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|name| name != "dumb");
    // The first answer is asked for before the terminal is taken over: a wrong address is said as any error is.
    let mut looks = Looks::default();
    looks.add(look(&client)?);
    let answers = watch(client, Duration::from_secs_f64(arguments.interval))?;
    let view = View { address, looks, answers, over };
    if arguments.once || arguments.plain || !can_draw {
        return view.print(arguments.once);
    }
    let mut terminal = ratatui::try_init().context("cannot take over the terminal")?;
    let drawn = view.draw(&mut terminal);
    ratatui::restore();
    drawn.map(|()| ExitCode::SUCCESS)
}

fn look(client: &ApiClient) -> Look {
    client.pipeline()
}

/// Asks on a thread of its own, so that keys work while a router thinks.
fn watch(client: ApiClient, interval: Duration) -> anyhow::Result<Receiver<Look>> {
    let (send, answers) = mpsc::channel();
    let watching = move || {
        loop {
            thread::sleep(interval);
            if send.send(look(&client)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("top-looks".to_owned()).spawn(watching).context("cannot start a thread")?;
    Ok(answers)
}

struct View {
    address: String,
    looks: Looks,
    answers: Receiver<Look>,
    over: Arc<AtomicBool>,
}

impl View {
    fn print(mut self, once: bool) -> anyhow::Result<ExitCode> {
        while !self.over.load(Ordering::Relaxed) {
            match self.answers.recv_timeout(RESPONSE) {
                Ok(pipeline) => self.looks.add(pipeline?),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let screen = self.screen(None, Order::default(), false);
            let text = screen.plain(PLAIN_COLUMNS).join("\n") + if once { "\n" } else { "\n\n" };
            // Whoever reads may have gone.
            if io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_err() || once {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn draw(mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let (mut order, mut failure) = (Order::default(), None);
        while !self.over.load(Ordering::Relaxed) {
            while let Ok(answer) = self.answers.try_recv() {
                match answer {
                    Ok(pipeline) => {
                        self.looks.add(pipeline);
                        failure = None;
                    }
                    Err(error) => failure = Some(format!("{error:#}")),
                }
            }
            let screen = self.screen(failure.as_deref(), order, true);
            terminal.draw(|frame| screen.draw(frame)).context("cannot write to the terminal")?;
            if !event::poll(RESPONSE).context("cannot read keys")? {
                continue;
            }
            if let Event::Key(key) = event::read().context("cannot read keys")?
                && key.kind == KeyEventKind::Press
            {
                match key.code {
                    KeyCode::Char('q' | 'Q') | KeyCode::Esc => break,
                    KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => break,
                    KeyCode::Char('s') => order = order.next(),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn screen<'s>(&'s self, failure: Option<&'s str>, order: Order, has_keys: bool) -> Screen<'s> {
        let color = has_keys && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { address: &self.address, looks: &self.looks, failure, order, color, has_keys }
    }
}
