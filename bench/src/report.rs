//! The table: on the terminal, as Markdown and as JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::context::{Run, median, median_cpu};

/// What a row is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// The ratio of the router to the floor.
    Ratio {
        /// More than this is a miss.
        must: f64,
        /// What is hoped for.
        aim: f64,
    },
    /// The router's own figure.
    Value {
        /// More than this is a miss.
        must: f64,
        /// What is hoped for.
        aim: f64,
    },
    /// Nothing: for information.
    None,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// As good as hoped.
    Aim,
    /// Good enough.
    Must,
    /// Not good enough.
    Missed,
    /// The floor itself was too slow: the machine was busy, and the row says nothing.
    Void,
    /// There was no router to measure.
    NoRouter,
    /// Something this case needs is not there.
    Absent(String),
    /// It did not work, or its outputs were wrong.
    Failed(String),
    /// For information.
    Information,
}

impl Verdict {
    /// Whether it must fail the whole session.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Missed | Self::Failed(_))
    }

    fn word(&self) -> String {
        match self {
            Self::Aim => "aim".into(),
            Self::Must => "must".into(),
            Self::Missed => "MISSED".into(),
            Self::Void => "void".into(),
            Self::NoRouter => "no router".into(),
            Self::Absent(_) => "absent".into(),
            Self::Failed(_) => "FAILED".into(),
            Self::Information => "–".into(),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// The unit of `floor` and `router`.
    pub unit: &'static str,
    /// The reference.
    pub floor: Option<f64>,
    /// The router's figure.
    pub router: Option<f64>,
    /// The router against the reference: the median over pairs of runs.
    pub ratio: Option<f64>,
    /// What it is held against.
    pub bound: Bound,
    /// What became of it.
    pub verdict: Verdict,
    /// Remarks: messages a second, memory, what was left out.
    pub notes: Vec<String>,
}

/// CPU seconds for a million messages.
pub const CPU: &str = "CPU-s/M";

impl Row {
    /// A row of two interleaved sides, in CPU per million; `void_above` is the limit of the floor.
    pub fn compared(
        case: &str,
        floor: &[Run],
        router: &[Run],
        bound: Bound,
        void_above: Option<f64>,
    ) -> Self {
        let floor_median = median_cpu(floor);
        let mut row = Self::value(case, CPU, None, bound);
        row.floor = Some(floor_median);
        if router.is_empty() {
            row.verdict = Verdict::NoRouter;
        } else {
            let pairs =
                floor.iter().zip(router).map(|(one, other)| other.cpu_per_million / one.cpu_per_million);
            row.ratio = Some(median(pairs));
            row.router = Some(median_cpu(router));
            row.verdict = Verdict::Information;
            row.notes.push(format!("{:.0} messages/s", median(router.iter().map(|run| run.rate))));
            row.notes.push(format!(
                "{:.4} context switches a message",
                median(router.iter().map(|run| run.switches_per_message))
            ));
            row.judge();
        }
        if void_above.is_some_and(|limit| floor_median > limit) {
            row.verdict = Verdict::Void;
        }
        row
    }

    /// A row of one figure.
    pub fn value(case: &str, unit: &'static str, router: Option<f64>, bound: Bound) -> Self {
        let verdict = if router.is_some() { Verdict::Information } else { Verdict::NoRouter };
        let mut row = Self {
            case: case.to_owned(),
            unit,
            floor: None,
            router,
            ratio: None,
            bound,
            verdict,
            notes: Vec::new(),
        };
        row.judge();
        row
    }

    /// A row that could not be measured.
    pub fn without_figure(case: &str, verdict: Verdict) -> Self {
        let mut row = Self::value(case, "", None, Bound::None);
        if let Verdict::Absent(reason) | Verdict::Failed(reason) = &verdict {
            row.notes.push(reason.clone());
        }
        row.verdict = verdict;
        row
    }

    /// With a remark.
    pub fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Sets the verdict from the figures and the bound.
    pub fn judge(&mut self) {
        let (figure, must, aim) = match self.bound {
            Bound::Ratio { must, aim } => (self.ratio, must, aim),
            Bound::Value { must, aim } => (self.router, must, aim),
            Bound::None => return,
        };
        let Some(figure) = figure else { return };
        self.verdict = if figure <= aim {
            Verdict::Aim
        } else if figure <= must {
            Verdict::Must
        } else {
            Verdict::Missed
        };
    }

    fn cells(&self) -> [String; 7] {
        let (must, aim) = match self.bound {
            Bound::Ratio { must, aim } => (format!("≤ {} ×", figure(must)), format!("≤ {} ×", figure(aim))),
            Bound::Value { must, aim } => {
                (format!("≤ {} {}", figure(must), self.unit), format!("≤ {} {}", figure(aim), self.unit))
            }
            Bound::None => ("–".into(), "–".into()),
        };
        let with_unit = |value: Option<f64>| match value {
            Some(value) => format!("{} {}", figure(value), self.unit).trim_end().to_owned(),
            None => "–".to_owned(),
        };
        let ratio = self.ratio.map_or("–".to_owned(), |ratio| format!("{} ×", figure(ratio)));
        [
            self.case.clone(),
            with_unit(self.floor),
            with_unit(self.router),
            ratio,
            must,
            aim,
            self.verdict.word(),
        ]
    }

    fn to_json(&self) -> Value {
        let (must, aim) = match self.bound {
            Bound::Ratio { must, aim } | Bound::Value { must, aim } => (Some(must), Some(aim)),
            Bound::None => (None, None),
        };
        json!({
            "case": self.case, "unit": self.unit, "floor": self.floor, "router": self.router, "ratio": self.ratio,
            "must": must, "aim": aim, "verdict": self.verdict.word(), "notes": self.notes,
        })
    }
}

/// Three significant digits, without a long tail.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 || small == 0.0 => {
            let text = if small < 1.0 { format!("{value:.3}") } else { format!("{value:.2}") };
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.4}"),
    }
}

const HEAD: [&str; 7] = ["case", "floor", "router", "ratio", "must", "aim", "verdict"];

/// The rows as an aligned Markdown table, remarks below.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(HEAD[column].len())
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[String]| {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        format!("| {} |\n", padded.join(" | "))
    };
    let mut text = line(&HEAD.map(str::to_owned));
    text += &line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
    for row in &cells {
        text += &line(row);
    }
    text.push('\n');
    for row in rows.iter().filter(|row| !row.notes.is_empty()) {
        text += &format!("- {}: {}\n", row.case, row.notes.join("; "));
    }
    text
}

/// What has to be known about the machine to read the figures.
pub fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model.map_or("unknown", |(_, name)| name.trim()),
        "kernel": kernel.trim(),
        "load": load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    })
}

/// Writes `<date>-<commit>.md` and `.json`; returns the path of the first.
pub fn write(folder: &Path, rows: &[Row], machine: &Value, settings: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let (date, commit) = (today(), commit());
    let path = folder.join(format!("{date}-{commit}.md"));
    let text = format!(
        "# Benchmark of {date}, commit {commit}\n\n{} cores of {}, Linux {}, load before {}. {settings}\n\n{}",
        machine["cores"],
        machine["cpu"].as_str().unwrap_or("unknown"),
        machine["kernel"].as_str().unwrap_or("unknown"),
        machine["load"].as_str().unwrap_or("unknown"),
        table(rows)
    );
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
    let value =
        json!({"date": date, "commit": commit, "machine": machine, "settings": settings, "rows": rows});
    let json_path = path.with_extension("json");
    fs::write(&json_path, format!("{value:#}\n"))
        .with_context(|| format!("write {}", json_path.display()))?;
    Ok(path)
}

fn commit() -> String {
    let answer = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--exclude=*"])
        .output();
    match answer {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Today's date in UTC.
fn today() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = now.map_or(0, |time| time.as_secs() / 86_400);
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date of a day since 1970-01-01.
fn date_of(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(cpu: &[f64]) -> Vec<Run> {
        cpu.iter().map(|cpu| Run { cpu_per_million: *cpu, rate: 1.0, ..Run::default() }).collect()
    }

    #[test]
    fn dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (19_782, (2024, 2, 29)), (20_779, (2026, 11, 22))]
        {
            assert_eq!(date_of(days), date);
        }
    }

    #[test]
    fn verdicts_follow_the_median_of_the_pairs_and_a_slow_floor_voids() {
        let bound = Bound::Ratio { must: 2.0, aim: 1.3 };
        for (router, verdict) in [(0.4, Verdict::Aim), (0.6, Verdict::Must), (0.9, Verdict::Missed)] {
            let row = Row::compared(
                "case",
                &runs(&[0.4, 0.4, 9.0]),
                &runs(&[router, router, 9.0]),
                bound,
                Some(0.6),
            );
            assert_eq!(row.verdict, verdict, "{row:?}");
        }
        let row = Row::compared("case", &runs(&[0.7]), &runs(&[0.7]), bound, Some(0.6));
        assert_eq!(row.verdict, Verdict::Void);
        assert_eq!(Row::compared("case", &runs(&[0.4]), &[], bound, None).verdict, Verdict::NoRouter);
        let row = Row::compared("case", &runs(&[0.4]), &runs(&[0.4]), Bound::None, None);
        assert_eq!(row.verdict, Verdict::Information);
    }

    #[test]
    fn the_table_is_aligned() {
        let rows = [
            Row::value("a", "ms", Some(1.25), Bound::Value { must: 5.0, aim: 1.0 }),
            Row::without_figure("longer name", Verdict::Failed("because".into())),
        ];
        let text = table(&rows);
        let widths: Vec<usize> = text.lines().take(4).map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
        assert!(text.contains("| 1.25 ms") && text.contains("- longer name: because"), "{text}");
    }
}
