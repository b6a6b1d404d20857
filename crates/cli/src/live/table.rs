//! Columns of text, as wide as they need to be.

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
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    below: Vec<String>,
}

impl Table {
    /// Columns with their headings.
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, and lines to stand below it.
    pub fn row(&mut self, cells: Vec<String>, below: Vec<String>) {
        self.rows.push(Row { cells, below });
    }

    /// Its lines, without white space at their ends. Columns without anything but dashes and zeros stay: what is not
    /// there is worth seeing, too.
    pub fn lines(&self) -> Vec<String> {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row.cells).chain([&headings]);
            cells.filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut line = String::new();
            for ((cell, (_, align)), width) in cells.iter().zip(&self.columns).zip(&widths) {
                match align {
                    Align::Left => line += &format!("{cell:<width$}  "),
                    Align::Right => line += &format!("{cell:>width$}  "),
                }
            }
            line.trim_end().to_owned()
        };
        let mut lines = vec![line(&headings)];
        for row in &self.rows {
            lines.push(line(&row.cells));
            lines.extend(row.below.iter().map(|below| format!("    {below}")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Align::Left), ("COUNT", Align::Right)]);
        table.row(vec!["a".to_owned(), "1,000,000".to_owned()], vec!["why: because".to_owned()]);
        table.row(vec!["longer".to_owned(), "7".to_owned()], vec![]);
        assert_eq!(
            table.lines(),
            ["NAME        COUNT", "a       1,000,000", "    why: because", "longer          7"]
        );
    }
}
