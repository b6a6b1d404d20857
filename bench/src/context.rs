//! What every case is given: options, paths, the messages, and how often to repeat.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context as _;

use crate::mix::{Mix, Variation};

/// One run of a measured program over one load.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// CPU seconds (user + system) for a million messages.
    pub cpu_per_million: f64,
    /// Messages a second, from the first byte sent to the last byte in the outputs.
    pub rate: f64,
    /// Largest resident size in bytes, where it was read.
    pub peak_bytes: u64,
    /// Context switches a message.
    pub switches_per_message: f64,
    /// Datagrams that the kernel dropped.
    pub kernel_drops: u64,
}

/// One side of an interleaved comparison.
pub type Side<'a> = (&'a str, Box<dyn FnMut() -> anyhow::Result<Run> + 'a>);

/// Options and shared things of one benchmark session.
pub struct Context {
    /// How often each measurement is repeated.
    pub rounds: usize,
    /// Messages in the TCP cases.
    pub messages: usize,
    /// Messages given to each peer: the slowest need more than ten CPU seconds a million.
    pub peer_messages: usize,
    /// Seconds of each paced UDP run.
    pub udp_seconds: usize,
    /// The router, if there is one.
    pub metlog: Option<PathBuf>,
    /// Where inputs and outputs are kept during the session.
    pub work: PathBuf,
    /// Where the floors and helpers are: beside this program.
    pub programs: PathBuf,
    /// CPU per million of the three-file floor, once it was measured: the UDP case builds on it.
    pub three_file_floor: Cell<Option<f64>>,
    /// Mixes by message count: several cases use the plain one.
    pub plain_mixes: RefCell<HashMap<usize, Rc<Mix>>>,
}

impl Context {
    /// The mix, written to disk at the first use; the plain one stays in memory.
    pub fn mix(&self, variation: Variation, count: usize) -> anyhow::Result<Rc<Mix>> {
        if variation == Variation::Plain
            && let Some(mix) = self.plain_mixes.borrow().get(&count)
        {
            return Ok(Rc::clone(mix));
        }
        let name = format!("mix-{variation:?}-{count}").to_lowercase().replace(['(', ')'], "-");
        let mix = Rc::new(Mix::write(&self.work.join(name), variation, count)?);
        if variation == Variation::Plain {
            self.plain_mixes.borrow_mut().insert(count, Rc::clone(&mix));
        }
        Ok(mix)
    }

    /// An empty folder for the outputs of one run, which the next run of the same name empties again.
    pub fn fresh_folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.work.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }

    /// Runs the sides in turn: one round that does not count, then the rounds that do. The answer holds the runs
    /// of each side, in order, so that the same places of two sides ran one after the other.
    pub fn interleave(&self, sides: &mut [Side<'_>]) -> anyhow::Result<Vec<Vec<Run>>> {
        let mut runs = vec![Vec::new(); sides.len()];
        for round in 0..=self.rounds {
            for (place, (name, run)) in sides.iter_mut().enumerate() {
                let measured = run().with_context(|| (*name).to_owned())?;
                let label = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
                eprintln!(
                    "  {label} {name}: {:.3} CPU-s per million, {:.0} messages/s",
                    measured.cpu_per_million, measured.rate
                );
                if round > 0 {
                    runs[place].push(measured);
                }
            }
        }
        Ok(runs)
    }
}

/// The folder of a kind of file beside the sources: `configs`, `peers`, `results`.
pub fn source_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The middle value; the mean of the middle two for an even count; not a number for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Median CPU per million of some runs.
pub fn median_cpu(runs: &[Run]) -> f64 {
    median(runs.iter().map(|run| run.cpu_per_million))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
