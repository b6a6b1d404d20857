//! What `metlog top` shows: rates, buffers and losses of every component, for 80 columns and 24 rows or more.

mod layout;
mod losses;

use std::cmp::Reverse;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use self::{
    layout::{Section, Styles, allot, below, cut, place},
    losses::Loss,
};
use super::{
    numbers::{bytes, count, rate, share, span},
    rates::Looks,
    safe_text::shown,
    verdict::{Verdict, name_of},
};
use crate::api::{
    is_in_trouble,
    pipeline::{Endpoint, Input, Pipeline},
};

/// Problems that are listed; `metlog status` shows them all.
const PROBLEMS: usize = 3;

/// Characters of a name or an error that are shown at most.
const SHOWN: usize = 200;

/// By what endpoints and inputs are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// What is in trouble first, then what is fastest.
    #[default]
    Trouble,
    /// The fastest first.
    Rate,
    /// The most that waits first.
    Waiting,
    /// By name.
    Name,
}

impl Order {
    /// The one after this.
    pub fn next(self) -> Order {
        match self {
            Order::Trouble => Order::Rate,
            Order::Rate => Order::Waiting,
            Order::Waiting => Order::Name,
            Order::Name => Order::Trouble,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Order::Trouble => "trouble",
            Order::Rate => "rate",
            Order::Waiting => "waiting",
            Order::Name => "name",
        }
    }
}

/// Everything that is on the screen.
#[derive(Debug)]
pub struct Screen<'s> {
    /// Where the router is.
    pub address: &'s str,
    /// What it said.
    pub looks: &'s Looks,
    /// Why it does not answer at the moment.
    pub failure: Option<&'s str>,
    /// How components are sorted.
    pub order: Order,
    /// Whether to use colours.
    pub color: bool,
    /// Whether keys can be pressed.
    pub has_keys: bool,
}

impl Screen<'_> {
    /// Draws it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        self.render(frame.area(), frame.buffer_mut());
    }

    /// The same as lines of text, as many as it needs.
    pub fn plain(&self, columns: u16) -> Vec<String> {
        let area = Rect::new(0, 0, columns, 10 + self.components() as u16 * 4);
        let mut buffer = Buffer::empty(area);
        self.render(area, &mut buffer);
        let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        let mut lines: Vec<String> = (0..area.height).map(row).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    fn components(&self) -> usize {
        self.looks.latest().map_or(0, |pipeline| pipeline.inputs.len() + pipeline.endpoints.len()).min(1000)
    }

    fn render(&self, area: Rect, buffer: &mut Buffer) {
        let mut head = self.head();
        let Some(pipeline) = self.looks.latest() else {
            head.push(Line::raw(" waiting for the first answer"));
            place(&head, area, buffer);
            return;
        };
        head.push(self.totals(pipeline));
        let used = place(&head, area, buffer);
        let foot = u16::from(self.has_keys);
        let sections = [self.endpoints(pipeline), self.inputs(pipeline)];
        let losses = self.losses(pipeline);
        // A blank line and a heading for each part.
        let fixed =
            used as usize + usize::from(foot) + 2 * (sections.len() + usize::from(!losses.is_empty()));
        let room = usize::from(area.height).saturating_sub(fixed);
        let [endpoints, inputs] = &sections;
        let rows = allot(room, [endpoints.rows.len(), inputs.rows.len(), losses.len()]);
        let styles = Styles { heading: self.bold(), aside: self.dim() };
        let mut y = area.y + used;
        for (section, rows) in sections.iter().zip(rows) {
            y = section.draw(rows, y + 1, area, buffer, &styles);
        }
        if !losses.is_empty() {
            let heading = Line::styled(" LOST OR UNUSED SINCE THE START", self.bold());
            y += 1 + place(&[heading], below(area, y + 1), buffer);
            place(&cut(losses, rows[2]), below(area, y), buffer);
        }
        if self.has_keys && area.height > 0 {
            let keys = format!(" q quit   s sorted by {}", self.order.word());
            let last = below(area, area.bottom().saturating_sub(1));
            place(&[Line::styled(keys, self.dim())], last, buffer);
        }
    }

    fn head(&self) -> Vec<Line<'static>> {
        let address = shown(self.address, SHOWN);
        let Some(pipeline) = self.looks.latest() else {
            let failure =
                self.failure.map(|failure| Line::styled(format!(" {}", shown(failure, SHOWN)), self.bad()));
            return [Line::styled(format!(" metlog at {address}"), self.bold())]
                .into_iter()
                .chain(failure)
                .collect();
        };
        let verdict = Verdict::of(pipeline, "");
        let health = match (self.failure, verdict.is_healthy()) {
            (Some(_), _) => Span::styled("does not answer", self.bad()),
            (None, true) => Span::styled("healthy", self.good()),
            (None, false) => Span::styled("in trouble", self.bad()),
        };
        let up = format!("   up {}", span(pipeline.uptime_seconds.floor()));
        let version = shown(&pipeline.version, 20);
        let mut lines = vec![Line::from(vec![
            Span::styled(format!(" metlog {version} at {address}   "), self.bold()),
            health,
            Span::styled(up, self.dim()),
        ])];
        if let Some(failure) = self.failure {
            lines.push(Line::styled(format!(" {}", shown(failure, SHOWN)), self.bad()));
        }
        let problems = verdict.problems.iter().take(PROBLEMS);
        lines.extend(problems.map(|problem| Line::styled(format!(" {problem}"), self.bad())));
        if verdict.problems.len() > PROBLEMS {
            let more = format!(" … {} more: metlog status", verdict.problems.len() - PROBLEMS);
            lines.push(Line::styled(more, self.bad()));
        }
        lines
    }

    /// What is lost stands first: a narrow terminal cuts the end.
    fn totals(&self, pipeline: &Pipeline) -> Line<'static> {
        let inputs = |number: fn(&Input) -> u64| -> f64 {
            pipeline.inputs.iter().map(|input| self.looks.of_input(input, number)).sum()
        };
        let endpoints = |number: fn(&Endpoint) -> u64| -> f64 {
            pipeline.endpoints.iter().map(|endpoint| self.looks.of_endpoint(endpoint, number)).sum()
        };
        let waiting = pipeline.endpoints.iter().map(|endpoint| endpoint.queued).sum();
        Line::raw(format!(
            " dropped {}/s   rejected {}/s   in {}/s, {}/s   out {}/s   waiting {}",
            rate(endpoints(dropped)),
            rate(inputs(rejected)),
            rate(inputs(|input| input.received)),
            bytes(inputs(|input| input.bytes) as u64),
            rate(endpoints(|endpoint| endpoint.delivered)),
            count(waiting),
        ))
    }

    fn inputs(&self, pipeline: &Pipeline) -> Section {
        let mut inputs: Vec<&Input> = pipeline.inputs.iter().collect();
        let speed = |input: &Input| self.looks.of_input(input, |input| input.received);
        match self.order {
            Order::Name => inputs.sort_by(|a, b| a.name.cmp(&b.name)),
            _ => inputs.sort_by(|a, b| speed(b).total_cmp(&speed(a))),
        }
        let row = |input: &Input| {
            let per_second = |number: fn(&Input) -> u64| rate(self.looks.of_input(input, number));
            let bytes_per_second = self.looks.of_input(input, |input| input.bytes);
            let open = input.connections.opened.saturating_sub(input.connections.closed);
            let cells = [
                name_of(&input.name, input.removed),
                shown(&input.kind, SHOWN),
                per_second(|input| input.received),
                format!("{}/s", bytes(bytes_per_second as u64)),
                per_second(rejected),
                per_second(|input| input.unrouted),
                match &input.files {
                    Some(files) => bytes(files.behind_bytes),
                    None => count(open),
                },
            ];
            let loses = self.looks.of_input(input, rejected) > 0.0;
            let is_held_up = input.files.as_ref().is_some_and(|files| files.held_up > 0);
            (cells, if loses || is_held_up { self.bad() } else { Style::new() })
        };
        let are_any_files = pipeline.inputs.iter().any(|input| input.files.is_some());
        let last = if are_any_files { "OPEN/LAG" } else { "OPEN" };
        Section {
            header: ["INPUT", "KIND", "IN/s", "BYTES/s", "REJECTED/s", "UNROUTED/s", last],
            widths: [8, 12, 10, 10, 10],
            rows: inputs.into_iter().map(row).collect(),
        }
    }

    fn endpoints(&self, pipeline: &Pipeline) -> Section {
        let mut endpoints: Vec<&Endpoint> = pipeline.endpoints.iter().collect();
        let speed = |endpoint: &Endpoint| self.looks.of_endpoint(endpoint, |endpoint| endpoint.delivered);
        match self.order {
            Order::Trouble => endpoints
                .sort_by(|a, b| is_in_trouble(b).cmp(&is_in_trouble(a)).then(speed(b).total_cmp(&speed(a)))),
            Order::Rate => endpoints.sort_by(|a, b| speed(b).total_cmp(&speed(a))),
            Order::Waiting => endpoints.sort_by_key(|endpoint| Reverse(endpoint.queued)),
            Order::Name => endpoints.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        let row = |endpoint: &Endpoint| {
            let cells = [
                name_of(&endpoint.name, endpoint.removed),
                shown(&endpoint.kind, SHOWN),
                rate(speed(endpoint)),
                count(endpoint.queued),
                share(endpoint.queued_bytes, endpoint.buffer_limit_bytes),
                endpoint.oldest_undelivered_seconds.map_or("-".to_owned(), span),
                rate(self.looks.of_endpoint(endpoint, dropped)),
            ];
            (cells, if is_in_trouble(endpoint) { self.bad() } else { Style::new() })
        };
        Section {
            header: ["ENDPOINT", "KIND", "OUT/s", "WAITING", "BUFFER", "OLDEST", "DROPPED/s"],
            widths: [8, 12, 10, 10, 10],
            rows: endpoints.into_iter().map(row).collect(),
        }
    }

    /// One line for each reason for which something was lost, the largest first.
    fn losses(&self, pipeline: &Pipeline) -> Vec<Line<'static>> {
        let line = |Loss { number, text, speed, .. }: Loss| {
            let now = if speed > 0.0 { format!(", now {}/s", rate(speed)) } else { String::new() };
            let style = if speed > 0.0 { self.bad() } else { Style::new() };
            Line::styled(format!(" {:>11}  {text}{now}", count(number)), style)
        };
        losses::of(self.looks, pipeline).into_iter().map(line).collect()
    }

    fn bold(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn good(&self) -> Style {
        if self.color { Style::new().fg(Color::Green) } else { Style::new() }
    }

    fn bad(&self) -> Style {
        let style = self.bold();
        if self.color { style.fg(Color::Red) } else { style }
    }
}

fn rejected(input: &Input) -> u64 {
    input.rejected.values().sum()
}

fn dropped(endpoint: &Endpoint) -> u64 {
    endpoint.dropped.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::pipeline::Files, live::rates::tests::pipeline};
    use ratatui::{Terminal, backend::TestBackend};

    fn looks() -> Looks {
        let mut looks = Looks::default();
        looks.add(pipeline(7384.0, 1_000_000));
        let mut latest = pipeline(7386.0, 1_006_800);
        *latest.endpoints[1].dropped.get_mut("buffer-full").unwrap() = 113;
        looks.add(latest);
        looks
    }

    fn screen(looks: &Looks) -> Screen<'_> {
        Screen {
            address: "127.0.0.1:5580",
            looks,
            failure: None,
            order: Order::default(),
            color: true,
            has_keys: true,
        }
    }

    fn drawn(screen: &Screen<'_>, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..rows).map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn everything_fits_a_small_terminal() {
        let looks = looks();
        assert_eq!(
            drawn(&screen(&looks), 80, 24),
            r" metlog 0.1.0 at 127.0.0.1:5580   in trouble   up 2 h 3 min
 endpoint `stats` fails: connection\u{1b}[2J refused (14 attempts in a row, for…
 dropped 10/s   rejected 0/s   in 3.4k/s, 996 KiB/s   out 3.4k/s   waiting 400

 ENDPOINT        KIND       OUT/s      WAITING     BUFFER     OLDEST  DROPPED/s
 stats           statsd         0          400       75 %  2 min 5 s         10
 log             file        3.4k            0        0 %          -          0

 INPUT           KIND        IN/s      BYTES/s REJECTED/s UNROUTED/s       OPEN
 tcp             tcp         3.4k    996 KiB/s          0          0          3

 LOST OR UNUSED SINCE THE START
         113  stats dropped: buffer-full, now 10/s
           7  stats refused: not-a-number
          10  tcp rejected: invalid-json
           5  tcp received: no route took it
           2  tcp rejected: too-large






 q quit   s sorted by trouble"
        );
    }

    #[test]
    fn how_far_an_input_is_behind_in_its_files_stands_in_the_place_of_its_connections() {
        let mut looks = Looks::default();
        let mut pipeline = pipeline(1.0, 10);
        let files =
            Files { followed: 3, behind_bytes: 12 << 20, held_up: 1, list: vec![], left_alone: vec![] };
        let logs = Input { name: "logs".to_owned(), files: Some(files), ..pipeline.inputs[0].clone() };
        pipeline.inputs.push(logs);
        looks.add(pipeline);
        let text = drawn(&screen(&looks), 80, 24);
        let ends = |name: &str| text.lines().find(|line| line.starts_with(name)).map(|line| &line[70..]);
        assert_eq!(ends(" INPUT"), Some(" OPEN/LAG"), "{text}");
        assert_eq!(ends(" tcp"), Some("        3"), "{text}");
        assert_eq!(ends(" logs"), Some(" 12.0 MiB"), "{text}");
    }

    #[test]
    fn too_many_components_are_cut_and_counted() {
        let mut looks = Looks::default();
        let mut many = pipeline(1.0, 10);
        let log = many.endpoints[0].clone();
        many.endpoints.extend((0..50).map(|n| Endpoint { name: format!("log-{n:02}"), ..log.clone() }));
        looks.add(many);
        let text = drawn(&screen(&looks), 80, 24);
        assert!(text.contains("… 4"), "{text}");
        assert!(
            text.contains("tcp             tcp") && text.ends_with("q quit   s sorted by trouble"),
            "{text}"
        );
    }

    #[test]
    fn what_is_cut_ends_with_an_ellipsis_and_what_is_lost_is_not_cut() {
        let mut looks = Looks::default();
        looks.add(pipeline(100.0, 123_456_789));
        let mut latest = pipeline(102.0, 123_656_789);
        *latest.endpoints[1].dropped.get_mut("buffer-full").unwrap() = 43_893;
        latest.endpoints[1].queued = 123_456;
        latest.endpoints[0].name = "a-name-of-more-columns-than-there-are".to_owned();
        looks.add(latest);
        let text = drawn(&screen(&looks), 80, 24);
        assert!(
            text.contains(
                "\n dropped 21.9k/s   rejected 0/s   in 100k/s, 28.6 MiB/s   out 0/s   waiting 123…\n"
            ),
            "{text}"
        );
        assert!(text.contains("\n a-name-of-more… file "), "{text}");
        let narrow = drawn(&screen(&looks), 40, 12);
        assert!(
            narrow.lines().all(|line| line.chars().count() < 40 || line.ends_with(['…', 'G'])),
            "{narrow}"
        );
    }

    #[test]
    fn any_size_is_drawn_without_a_word_too_much() {
        let looks = looks();
        for (columns, rows) in [(1, 1), (10, 3), (20, 8), (40, 12), (300, 100)] {
            drawn(&screen(&looks), columns, rows);
        }
        let narrow = drawn(&screen(&looks), 60, 24);
        assert!(narrow.contains(" stats                 0          400       75 %  2 min 5 s"), "{narrow}");
        drawn(&Screen { failure: Some("no"), ..screen(&Looks::default()) }, 30, 2);
    }

    #[test]
    fn a_router_that_does_not_answer_is_said_above_its_last_numbers() {
        let looks = looks();
        let text = drawn(&Screen { failure: Some("connection refused"), ..screen(&looks) }, 80, 24);
        assert!(text.contains("does not answer") && text.contains("connection refused"), "{text}");
        assert!(text.contains("log             file"), "{text}");
    }

    #[test]
    fn plain_text_has_no_empty_lines_at_its_end() {
        let looks = looks();
        let lines = Screen { has_keys: false, ..screen(&looks) }.plain(80);
        assert_eq!(lines.last().map(String::as_str), Some("           2  tcp rejected: too-large"));
    }
}
