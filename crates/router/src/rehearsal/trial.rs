//! Runs one of a configuration's `[[tests]]`: sends its messages through the rehearsal and compares what comes out with what
//! is expected.

use std::{collections::BTreeMap, convert::Infallible};

use serde_json::Value;

use super::{Fate, Lines, Rehearsal, UnknownInput};
use crate::{
    config::tests_section::{Expectation, Item, TestKeys},
    endpoints::Preview,
};

/// Something that is not as expected. Both sides are lines of text, to be shown beside one another; where they are equal, a
/// line stands for the other side's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What this is about: "endpoint `stats` sends".
    pub about: String,
    /// What the test says.
    pub expected: Vec<String>,
    /// What would happen.
    pub found: Vec<String>,
}

/// What became of all frames of a test.
#[derive(Debug, Default)]
struct Outcome {
    /// By endpoint, in the order of the frames.
    stops: BTreeMap<usize, Vec<Preview>>,
    /// The messages that no route took.
    unrouted: Vec<String>,
    /// The reasons of the rejects.
    rejected: Vec<String>,
}

impl Rehearsal<'_> {
    /// Runs a test with these lines, as if they followed one another in a file; what comes back is what is wrong.
    pub fn try_out(&self, test: &TestKeys, lines: &[Vec<u8>]) -> Result<Vec<Difference>, UnknownInput> {
        let entrance = self.entrance(test.input.as_deref())?;
        let mut outcome = Outcome::default();
        let mut frames = Vec::new();
        let mut keep = |_, frame: &[u8]| -> Result<(), Infallible> {
            frames.push(frame.to_vec());
            Ok(())
        };
        let mut gathered = Lines::new(&entrance);
        for line in lines {
            let Ok(()) = gathered.push(line, &mut keep);
        }
        let Ok(()) = gathered.end(&mut keep);
        for frame in frames {
            match self.frame(&entrance, &frame, test.now) {
                Fate::Blank => {}
                Fate::Rejected { rejection, .. } => outcome.rejected.push(rejection.reason.to_string()),
                Fate::Routed(journey) => {
                    if journey.is_unrouted() {
                        outcome.unrouted.push(String::from_utf8_lossy(&journey.text).into_owned());
                    }
                    for stop in journey.stops {
                        outcome.stops.entry(stop.endpoint).or_default().push(stop.preview);
                    }
                }
            }
        }
        Ok(self.compare(test, outcome))
    }

    fn compare(&self, test: &TestKeys, mut outcome: Outcome) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (position, endpoint) in self.configuration.endpoints.iter().enumerate() {
            let found = outcome.stops.remove(&position).unwrap_or_default();
            let name = &endpoint.name;
            match test.expect.of(name) {
                Some(expectation) => differences.extend(of_endpoint(name, expectation, &found)),
                None => differences.extend(lines(
                    format!("endpoint `{name}`, which the test does not name, gets"),
                    Vec::new(),
                    found.iter().map(shown).collect(),
                )),
            }
        }
        if outcome.unrouted.len() != test.unrouted {
            let expected = vec![match test.unrouted {
                0 => "every message is taken by a route".to_owned(),
                1 => "1 message that no route takes".to_owned(),
                count => format!("{count} messages that no route takes"),
            }];
            let found = match outcome.unrouted.is_empty() {
                true => vec!["every message is taken by a route".to_owned()],
                false => outcome.unrouted,
            };
            differences.push(Difference { about: "unrouted".to_owned(), expected, found });
        }
        differences.extend(lines("rejected".to_owned(), test.rejected.clone(), outcome.rejected));
        differences
    }
}

fn lines(about: String, expected: Vec<String>, found: Vec<String>) -> Option<Difference> {
    (expected != found).then_some(Difference { about, expected, found })
}

fn of_endpoint(name: &str, expectation: &Expectation, found: &[Preview]) -> Vec<Difference> {
    let Expectation { sends, to, count, refused } = expectation;
    let mut differences = Vec::new();
    let sent: Vec<(&String, &Vec<u8>)> = found
        .iter()
        .filter_map(|preview| match preview {
            Preview::Sends { to, bytes } => Some((to, bytes)),
            _ => None,
        })
        .collect();
    if let Some(items) = sends {
        let found: Vec<String> = sent.iter().map(|(_, bytes)| text(bytes)).collect();
        let expected = items.iter().enumerate().map(|(position, item)| match found.get(position) {
            Some(found) if is_equal(item, found) => found.clone(),
            _ => match item {
                Item::Text(text) => trimmed(text).to_owned(),
                Item::Json(json) => json.clone(),
            },
        });
        differences.extend(lines(format!("endpoint `{name}` sends"), expected.collect(), found));
    }
    if let Some(to) = to {
        let other = sent.iter().map(|(found, _)| (*found).clone()).find(|found| found != to);
        differences.extend(lines(
            format!("endpoint `{name}` sends to"),
            vec![to.clone()],
            vec![other.unwrap_or_else(|| if sent.is_empty() { "nowhere".to_owned() } else { to.clone() })],
        ));
    }
    let reasons = found.iter().filter_map(|preview| match preview {
        Preview::Refuses { reason, .. } => Some((*reason).to_owned()),
        _ => None,
    });
    let reasons: Vec<String> = reasons.collect();
    if let Some(count) = count {
        let taken = found.len() - reasons.len();
        let (expected, found) = (count.to_string(), taken.to_string());
        differences.extend(lines(
            format!("count of messages that endpoint `{name}` takes"),
            vec![expected],
            vec![found],
        ));
    }
    differences.extend(lines(format!("endpoint `{name}` refuses"), refused.clone(), reasons));
    differences
}

/// Text is compared as it is, JSON by what it means.
fn is_equal(item: &Item, found: &str) -> bool {
    match item {
        Item::Text(text) => trimmed(text) == found,
        Item::Json(json) => match (serde_json::from_str::<Value>(json), serde_json::from_str::<Value>(found))
        {
            (Ok(expected), Ok(found)) => expected == found,
            _ => false,
        },
    }
}

/// One line break at the end makes no difference.
fn trimmed(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// What is no text is shown, and compared, as `\xff`.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    trimmed(&text).to_owned()
}

fn shown(preview: &Preview) -> String {
    match preview {
        Preview::Sends { bytes, .. } => text(bytes),
        Preview::Refuses { reason, .. } => format!("(a message that it refuses: {reason})"),
        Preview::Keeps => "(a message, of which it sends nothing)".to_owned(),
        Preview::Obeys { order } => format!("(a message that tells it to {order})"),
    }
}
