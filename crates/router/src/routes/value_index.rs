//! One subject's values and the candidates filed under each: from a message's value to one list of rules.
//!
//! Everything that depends on the value alone is worked out at load. The list of a value already holds the
//! rules of every prefix that the value begins with, and the list of a prefix those of every shorter one, so
//! that a message needs one hash of its value, and hashes of its beginnings only where the value is unknown.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use metlog_message::{Index, Kind};

use super::{
    filing::{FiledValue, Filing, number_key},
    subject::{self, Subject},
};

/// Number of a list of rules; [`Lists`] gives them out.
pub(super) type ListNumber = u32;

/// Finds the list for a message's value.
#[derive(Debug)]
pub(super) struct ValueIndex {
    subject: Subject,
    texts: HashMap<Box<[u8]>, ListNumber, FixedState>,
    /// No text is longer: longer values need no hash.
    longest_text: usize,
    /// By length, the longest first: the first hit is the whole answer.
    prefixes: Box<[Prefixes]>,
    numbers: HashMap<u64, ListNumber, FixedState>,
    /// For a number without a key: whatever is filed under any number, its rest decides.
    any_number: ListNumber,
    booleans: [ListNumber; 2],
    otherwise: ListNumber,
    first_rule: u32,
}

#[derive(Debug)]
struct Prefixes {
    length: usize,
    lists: HashMap<Box<[u8]>, ListNumber, FixedState>,
}

impl ValueIndex {
    /// The smallest number of all rules that can be found here.
    pub fn first_rule(&self) -> u32 {
        self.first_rule
    }

    /// The list for this message's value.
    #[inline]
    pub fn find(&self, message: &[u8], index: &Index) -> ListNumber {
        match &self.subject {
            Subject::Elsewhere(_) => self.find_value(message, index),
            subject => match subject.text(message, index) {
                Some(text) => self.find_text(&text),
                None => self.otherwise,
            },
        }
    }

    fn find_value(&self, message: &[u8], index: &Index) -> ListNumber {
        let Some(value) = self.subject.value(message, index) else { return self.otherwise };
        match value.kind() {
            Kind::String => match subject::string(value) {
                Some(text) => self.find_text(&text),
                None => self.otherwise,
            },
            Kind::Number if !self.numbers.is_empty() => {
                match value.number().and_then(|number| number_key(number.as_str())) {
                    Some(key) => self.numbers.get(&key).copied().unwrap_or(self.otherwise),
                    None => self.any_number,
                }
            }
            Kind::Bool => self.booleans[usize::from(value.raw() == b"true")],
            Kind::Null | Kind::Number | Kind::Array | Kind::Object => self.otherwise,
        }
    }

    #[inline]
    fn find_text(&self, text: &[u8]) -> ListNumber {
        if text.len() <= self.longest_text
            && let Some(list) = self.texts.get(text)
        {
            return *list;
        }
        for prefixes in &self.prefixes {
            if let Some(beginning) = text.get(..prefixes.length)
                && let Some(list) = prefixes.lists.get(beginning)
            {
                return *list;
            }
        }
        self.otherwise
    }
}

/// Collects what is filed under the values of one subject.
#[derive(Debug)]
pub(super) struct ValueIndexBuilder {
    subject: Subject,
    texts: BTreeMap<Vec<u8>, Vec<u32>>,
    prefixes: BTreeMap<Vec<u8>, Vec<u32>>,
    numbers: BTreeMap<u64, Vec<u32>>,
    booleans: [Vec<u32>; 2],
    always: Vec<u32>,
}

impl ValueIndexBuilder {
    /// Nothing filed yet.
    pub fn new(subject: Subject) -> Self {
        ValueIndexBuilder {
            subject,
            texts: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            booleans: [vec![], vec![]],
            always: vec![],
        }
    }

    /// What it is about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// How many lists it needs at most.
    pub fn values(&self) -> usize {
        self.texts.len() + self.prefixes.len() + self.numbers.len() + 3
    }

    /// Files a rule under values of this subject.
    pub fn file(&mut self, rule: u32, filing: &Filing) {
        for value in &filing.values {
            let rules = match value {
                FiledValue::Text(text) => self.texts.entry(text.clone().into_bytes()).or_default(),
                FiledValue::Prefix(prefix) => self.prefixes.entry(prefix.clone().into_bytes()).or_default(),
                FiledValue::Number(key) => self.numbers.entry(*key).or_default(),
                FiledValue::Boolean(boolean) => &mut self.booleans[usize::from(*boolean)],
            };
            rules.push(rule);
        }
    }

    /// Adds rules that are candidates whatever the value is.
    pub fn file_always(&mut self, rules: &[u32]) {
        self.always.extend_from_slice(rules);
    }

    /// Works out every value's list.
    pub fn build(self, lists: &mut Lists) -> ValueIndex {
        let with_always = |rules: &[u32]| [&self.always, rules].concat();
        let mut texts = HashMap::default();
        for (text, rules) in &self.texts {
            let list = lists.number([with_always(rules), self.of_beginnings(text)].concat());
            texts.insert(text.as_slice().into(), list);
        }
        let mut by_length: BTreeMap<usize, HashMap<Box<[u8]>, ListNumber, FixedState>> = BTreeMap::new();
        for prefix in self.prefixes.keys() {
            let list = lists.number(with_always(&self.of_beginnings(prefix)));
            by_length.entry(prefix.len()).or_default().insert(prefix.as_slice().into(), list);
        }
        let numbers = self.numbers.iter().map(|(key, rules)| (*key, lists.number(with_always(rules))));
        let numbers = numbers.collect();
        let any_number =
            lists.number(with_always(&self.numbers.values().flatten().copied().collect::<Vec<_>>()));
        let booleans = [0, 1].map(|boolean| lists.number(with_always(&self.booleans[boolean])));
        let filed = self.texts.values().chain(self.prefixes.values()).chain(self.numbers.values());
        let first_rule = filed.chain(&self.booleans).chain([&self.always]).flatten().min();
        ValueIndex {
            longest_text: self.texts.keys().map(Vec::len).max().unwrap_or(0),
            texts,
            prefixes: by_length.into_iter().rev().map(|(length, lists)| Prefixes { length, lists }).collect(),
            numbers,
            any_number,
            booleans,
            otherwise: lists.number(self.always.clone()),
            first_rule: first_rule.copied().unwrap_or(u32::MAX),
            subject: self.subject,
        }
    }

    /// The rules of every prefix that `text` begins with.
    fn of_beginnings(&self, text: &[u8]) -> Vec<u32> {
        let beginnings = (0..=text.len()).filter_map(|length| self.prefixes.get(&text[..length]));
        beginnings.flatten().copied().collect()
    }
}

/// Gives each distinct list of rules one number.
#[derive(Debug)]
pub(super) struct Lists {
    numbers: HashMap<Vec<u32>, ListNumber, FixedState>,
    lists: Vec<Vec<u32>>,
}

impl Lists {
    /// None yet.
    pub fn new() -> Self {
        Lists { numbers: HashMap::default(), lists: vec![] }
    }

    /// The number of the list of these rules, in order and each once.
    pub fn number(&mut self, mut rules: Vec<u32>) -> ListNumber {
        rules.sort_unstable();
        rules.dedup();
        let next = self.lists.len() as ListNumber;
        *self.numbers.entry(rules).or_insert_with_key(|rules| {
            self.lists.push(rules.clone());
            next
        })
    }

    /// The lists in the order of their numbers.
    pub fn into_vec(self) -> Vec<Vec<u32>> {
        self.lists
    }
}
