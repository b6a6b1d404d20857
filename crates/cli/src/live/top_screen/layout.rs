//! Where things stand on the screen of `metlog top`, and what is cut when there is no room.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::Style,
    text::Line,
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
        let cells = |cells: &[String; 7]| {
            let cell = |&column: &usize| {
                let line = Line::raw(cells[column].clone());
                Cell::from(if column < 2 { line.left_aligned() } else { line.right_aligned() })
            };
            Row::new(columns.iter().map(cell).collect::<Vec<_>>())
        };
        let header = cells(&self.header.map(str::to_owned)).style(styles.heading);
        let shown_rows = self.rows.iter().take(kept).map(|(row, style)| cells(row).style(*style));
        let widths = columns.iter().map(|&column| match column {
            0 => Constraint::Fill(1),
            1 => Constraint::Length(7),
            _ => Constraint::Length(self.widths[column - 2]),
        });
        let inside = Rect { x: area.x + area.width.min(1), width: area.width.saturating_sub(2), ..area };
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

/// Writes lines from the top of an area; gives how many there was room for.
pub(super) fn place(lines: &[Line<'_>], area: Rect, buffer: &mut Buffer) -> u16 {
    let placed = lines.len().min(usize::from(area.height)) as u16;
    for (line, y) in lines.iter().zip(area.y..area.y + placed) {
        line.render(Rect { y, height: 1, ..area }, buffer);
    }
    placed
}
