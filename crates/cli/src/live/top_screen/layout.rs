//! Where things stand on the screen of `metlog top`, and what is cut when there is no room.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Cell, Row, Table, Widget},
};

/// How what belongs to no row is shown.
pub(super) struct Styles {
    pub(super) heading: Style,
    pub(super) aside: Style,
}

/// A part of the screen that may be cut: its heading, and its rows.
pub(super) struct Section {
    pub(super) header: [&'static str; 7],
    pub(super) widths: [u16; 5],
    pub(super) rows: Vec<([String; 7], Style)>,
}

impl Section {
    /// The columns that one of its columns takes, other than the names.
    fn width(&self, column: usize) -> u16 {
        match column {
            0 | 1 => 7,
            _ => self.widths[column - 2],
        }
    }

    /// Draws it with so many of its rows; gives the row below it.
    pub(super) fn draw(&self, rows: usize, y: u16, area: Rect, buffer: &mut Buffer, styles: &Styles) -> u16 {
        let area = below(area, y);
        let kept = if rows < self.rows.len() { rows.saturating_sub(1) } else { rows };
        // On a narrow terminal what matters least gives way to the names.
        let columns: &[usize] = match area.width {
            ..50 => &[0, 2, 3],
            50..74 => &[0, 2, 3, 4, 5],
            _ => &[0, 1, 2, 3, 4, 5, 6],
        };
        let inside = Rect { x: area.x + area.width.min(1), width: area.width.saturating_sub(2), ..area };
        // One blank stands between columns; the names get what the others leave.
        let fixed: u16 = columns.iter().skip(1).map(|&column| 1 + self.width(column)).sum();
        let width = |column| match column {
            0 => inside.width.saturating_sub(fixed),
            _ => self.width(column),
        };
        let cells = |cells: &[String; 7]| {
            let cell = |&column: &usize| {
                let line = shortened(&Line::raw(cells[column].as_str()), width(column));
                Cell::from(if column < 2 { line.left_aligned() } else { line.right_aligned() })
            };
            Row::new(columns.iter().map(cell).collect::<Vec<_>>())
        };
        let header = cells(&self.header.map(str::to_owned)).style(styles.heading);
        let shown_rows = self.rows.iter().take(kept).map(|(row, style)| cells(row).style(*style));
        let widths = columns.iter().map(|&column| match column {
            0 => Constraint::Fill(1),
            _ => Constraint::Length(self.width(column)),
        });
        let height = (1 + kept as u16).min(area.height);
        Table::new(shown_rows, widths).header(header).render(Rect { height, ..inside }, buffer);
        let end = y + height;
        if kept == self.rows.len() {
            return end;
        }
        let more = format!(" … {} more", self.rows.len() - kept);
        end + place(&[Line::styled(more, styles.aside)], below(area, end), buffer)
    }
}

/// The line as it is where it fits so many columns; otherwise as much of it as fits, and an ellipsis.
fn shortened(line: &Line<'_>, columns: u16) -> Line<'static> {
    let columns = usize::from(columns);
    let is_cut = line.width() > columns;
    let mut room = if is_cut { columns.saturating_sub(1) } else { columns };
    let mut spans = Vec::new();
    for span in &line.spans {
        let mut text = String::new();
        for grapheme in span.styled_graphemes(Style::new()) {
            let width = Span::raw(grapheme.symbol).width();
            if width > room {
                room = 0;
                break;
            }
            room -= width;
            text.push_str(grapheme.symbol);
        }
        spans.push(Span::styled(text, span.style));
    }
    if is_cut && columns > 0 {
        spans.push(Span::styled("…", spans.last().map_or(Style::new(), |span| span.style)));
    }
    Line::from(spans).style(line.style)
}

/// The rows that each part gets: one after the other takes one more, until all have what they want.
pub(super) fn allot(mut room: usize, wanted: [usize; 3]) -> [usize; 3] {
    let mut given = [0; 3];
    while room > 0 && given != wanted {
        for (given, wanted) in given.iter_mut().zip(wanted) {
            if *given < wanted && room > 0 {
                *given += 1;
                room -= 1;
            }
        }
    }
    given
}

/// The first lines; the last of these says how many there are not.
pub(super) fn cut(mut lines: Vec<Line<'static>>, most: usize) -> Vec<Line<'static>> {
    if lines.len() > most {
        let kept = most.saturating_sub(1);
        let more = format!(" … {} more", lines.len() - kept);
        lines.truncate(kept);
        if most > 0 {
            lines.push(Line::raw(more));
        }
    }
    lines
}

/// What of an area lies below this row.
pub(super) fn below(area: Rect, y: u16) -> Rect {
    let y = y.min(area.bottom());
    Rect { y, height: area.bottom() - y, ..area }
}

/// Writes lines from the top of an area, each cut to its width; gives how many there was room for.
pub(super) fn place(lines: &[Line<'_>], area: Rect, buffer: &mut Buffer) -> u16 {
    let placed = lines.len().min(usize::from(area.height)) as u16;
    for (line, y) in lines.iter().zip(area.y..area.y + placed) {
        shortened(line, area.width).render(Rect { y, height: 1, ..area }, buffer);
    }
    placed
}
