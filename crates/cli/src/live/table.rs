//! Columns of text, as wide as they need to be; where that is too wide, what matters least gives way.

use super::wrap::wrapped;

/// The first column is not cut shorter than this.
const SHORTEST_NAME: usize = 12;

/// What stands in front of lines below a row.
const BELOW: &str = "    ";

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with a line of headings; lines that belong below a row stand there whole.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    /// Headings of columns that give way, the first one first.
    gives_way: &'static [&'static str],
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    below: Vec<String>,
}

impl Table {
    /// Columns with their headings, and of these the ones that can be done without, what matters least first.
    pub fn new(columns: &[(&'static str, Align)], gives_way: &'static [&'static str]) -> Table {
        Table { columns: columns.to_vec(), gives_way, rows: Vec::new() }
    }

    /// Adds a row, and lines to stand below it.
    pub fn row(&mut self, cells: Vec<String>, below: Vec<String>) {
        self.rows.push(Row { cells, below });
    }

    /// Its lines, without white space at their ends; of at most so many characters, where there is a bound. What is left out
    /// for that is named at the end. Columns without anything but dashes and zeros stay: what is not there is worth seeing,
    /// too.
    pub fn lines(&self, columns: Option<usize>) -> Vec<String> {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row.cells).chain([&headings]);
            cells.filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let room = columns.unwrap_or(usize::MAX);
        let excess = |shown: &[usize], widths: &[usize]| {
            let total = shown.iter().map(|&column| widths[column] + 2).sum::<usize>();
            total.saturating_sub(2).saturating_sub(room)
        };
        let mut left_out = Vec::new();
        for heading in self.gives_way {
            if excess(&shown, &widths) == 0 {
                break;
            }
            shown.retain(|&column| headings[column] != *heading);
            left_out.push(*heading);
        }
        let excess = excess(&shown, &widths);
        if let Some(first) = widths.first_mut() {
            *first -= excess.min(first.saturating_sub(SHORTEST_NAME));
        }
        let line = |cells: &[String]| {
            let mut line = String::new();
            for &column in &shown {
                let width = widths[column];
                let cell = cut(cells.get(column).map_or("", String::as_str), width);
                match self.columns[column].1 {
                    Align::Left => line += &format!("{cell:<width$}  "),
                    Align::Right => line += &format!("{cell:>width$}  "),
                }
            }
            line.trim_end().to_owned()
        };
        let mut lines = vec![line(&headings)];
        for row in &self.rows {
            lines.push(line(&row.cells));
            let below = row.below.iter().map(|below| format!("{BELOW}{below}"));
            lines.extend(below.flat_map(|below| wrapped(&below, room, &BELOW.repeat(2))));
        }
        if !left_out.is_empty() {
            lines.push(format!("(a wider terminal shows {} too)", left_out.join(", ")));
        }
        lines
    }
}

/// The text in so many characters at most; `…` stands for the rest.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Align::Left), ("COUNT", Align::Right)], &[]);
        table.row(vec!["a".to_owned(), "1,000,000".to_owned()], vec!["why: because".to_owned()]);
        table.row(vec!["longer".to_owned(), "7".to_owned()], vec![]);
        assert_eq!(
            table.lines(None),
            ["NAME        COUNT", "a       1,000,000", "    why: because", "longer          7"]
        );
    }

    #[test]
    fn on_a_narrow_terminal_what_matters_least_gives_way_and_is_named() {
        let columns =
            [("NAME", Align::Left), ("KIND", Align::Left), ("COUNT", Align::Right), ("MORE", Align::Right)];
        let mut table = Table::new(&columns, &["MORE", "KIND"]);
        let cells = ["a-name-that-is-long", "file", "1,000,000", "5"].map(str::to_owned).to_vec();
        table.row(cells, vec!["fails: nobody is there".to_owned()]);
        assert_eq!(table.lines(Some(42)).len(), 3, "all of it has room");
        let lines = table.lines(Some(36));
        assert_eq!(lines[0], "NAME                 KIND      COUNT");
        assert_eq!(lines.last().unwrap(), "(a wider terminal shows MORE too)");
        let lines = table.lines(Some(24));
        assert_eq!(
            lines[..4],
            ["NAME               COUNT", "a-name-that-…  1,000,000", "    fails: nobody is", "        there"]
        );
        assert_eq!(lines.last().unwrap(), "(a wider terminal shows MORE, KIND too)");
    }
}
