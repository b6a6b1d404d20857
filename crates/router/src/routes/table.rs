//! The route table: which endpoints a message goes to.
//!
//! A message goes to the union of the endpoints of every route that it matches, in order; a `final` route that
//! matches ends the search, and the `unrouted` routes are tried when no other matched.
//!
//! Evaluating every route for every message would make a message's price grow with the configuration. So each
//! route is split into *rules*, one for each way to match it, and each rule is filed under the value of one key
//! (see the module `filing`). A message's values lead to short lists of candidates, in the order of the
//! routes. Where nothing is left to evaluate, a list's endpoints were worked out at load, and routing a message
//! is one hash of its type.
//!
//! A table never changes and is shared between threads; what a thread needs besides is its [`Scratch`].

use metlog_message::{Index, Key};

use super::{
    condition::Condition,
    filing::{Crowds, Entry, entries},
    matcher::{MatchError, Matcher},
    subject::Subject,
    value_index::{ListNumber, Lists, ValueIndex, ValueIndexBuilder},
};

/// Rules that are filed nowhere are copied into every list of the first index, which spares messages a merge,
/// unless these copies would be more than this.
const MAX_COPIES: usize = 1 << 20;

/// A route as the configuration gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSpec {
    /// What a message must satisfy.
    pub condition: Condition,
    /// Numbers of the endpoints that its messages go to.
    pub to: Vec<usize>,
    /// No later route is tried for a message that this one matches.
    pub is_final: bool,
    /// Tried only for messages that matched none of the other routes.
    pub unrouted: bool,
}

/// Why a table cannot be compiled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A condition is wrong.
    #[error("route {route}: {source}")]
    Condition {
        /// Which route, counted from 0.
        route: usize,
        /// What is wrong with it.
        source: MatchError,
    },
    /// A route names an endpoint that does not exist.
    #[error("route {route}: there is no endpoint number {endpoint}, expected less than {endpoint_count}")]
    NoSuchEndpoint {
        /// Which route, counted from 0.
        route: usize,
        /// The number that it names.
        endpoint: usize,
        /// How many endpoints there are.
        endpoint_count: usize,
    },
}

/// Compiled routes.
#[derive(Debug)]
pub struct RouteTable {
    routes: Dispatch,
    unrouted: Dispatch,
    /// Where every message goes, if they all go the same way.
    constant: Option<Box<[usize]>>,
}

/// What routing needs besides the table: one per thread, for any table.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<u32>,
    selected: Selected,
}

impl RouteTable {
    /// Compiles routes whose endpoints are numbered from 0 to `endpoint_count`.
    pub fn compile(routes: Vec<RouteSpec>, endpoint_count: usize) -> Result<RouteTable, TableError> {
        RouteTable::compile_within(routes, endpoint_count, MAX_COPIES)
    }

    /// Compiles with another bound on copies than [`MAX_COPIES`].
    pub(super) fn compile_within(
        routes: Vec<RouteSpec>,
        endpoint_count: usize,
        max_copies: usize,
    ) -> Result<RouteTable, TableError> {
        for (route, spec) in routes.iter().enumerate() {
            if let Some(&endpoint) = spec.to.iter().find(|&&endpoint| endpoint >= endpoint_count) {
                return Err(TableError::NoSuchEndpoint { route, endpoint, endpoint_count });
            }
        }
        let (unrouted, routes): (Vec<_>, Vec<_>) =
            routes.into_iter().enumerate().partition(|(_, spec)| spec.unrouted);
        let routes = Dispatch::compile(routes, max_copies)?;
        let unrouted = Dispatch::compile(unrouted, max_copies)?;
        let constant = routes.constant().map(Box::from);
        Ok(RouteTable { routes, unrouted, constant })
    }

    /// The endpoints of a message, each once; `None` where no route took it, not even an `unrouted` one.
    ///
    /// A route without endpoints takes a message too: then there is nothing in the slice.
    #[inline]
    pub fn route<'a>(
        &'a self,
        message: &[u8],
        index: &Index,
        scratch: &'a mut Scratch,
    ) -> Option<&'a [usize]> {
        let answer = match self.routes.route(message, index, scratch) {
            Answer::Nothing => self.unrouted.route(message, index, scratch),
            answer => answer,
        };
        match answer {
            Answer::Nothing => None,
            Answer::Settled(endpoints) => Some(endpoints),
            Answer::Selected => Some(&scratch.selected.endpoints),
        }
    }

    /// The endpoints of every message, where they all go the same way and none needs a look.
    #[inline]
    pub fn constant(&self) -> Option<&[usize]> {
        self.constant.as_deref()
    }

    /// The numbers of the routes that take a message, in order: what [`RouteTable::route`] decides by. Not for
    /// the hot path.
    pub fn routes_of(&self, message: &[u8], index: &Index) -> Vec<usize> {
        let mut scratch = Scratch::default();
        match self.routes.routes_of(message, index, &mut scratch) {
            numbers if numbers.is_empty() => self.unrouted.routes_of(message, index, &mut scratch),
            numbers => numbers,
        }
    }
}

/// Endpoint numbers, each once.
#[derive(Debug, Default)]
struct Selected {
    endpoints: Vec<usize>,
    /// One bit per endpoint number in `endpoints`.
    seen: Vec<u64>,
}

impl Selected {
    #[inline]
    fn clear(&mut self) {
        for endpoint in self.endpoints.drain(..) {
            self.seen[endpoint / 64] = 0;
        }
    }

    #[inline]
    fn insert(&mut self, endpoint: usize) {
        let (word, bit) = (endpoint / 64, 1 << (endpoint % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.endpoints.push(endpoint);
        }
    }
}

enum Answer<'t> {
    /// No route matched.
    Nothing,
    /// Known since the table was compiled.
    Settled(&'t [usize]),
    /// In the scratch.
    Selected,
}

/// The routes that are tried together: those of `unrouted` are tried apart from the others.
#[derive(Debug)]
struct Dispatch {
    routes: Box<[Route]>,
    rules: Box<[Rule]>,
    lists: Box<[List]>,
    indexes: Box<[ValueIndex]>,
    /// The rules that are filed nowhere, unless the lists of the first index hold them.
    always: ListNumber,
}

#[derive(Debug)]
struct Route {
    /// Its place among all routes of the configuration.
    number: usize,
    endpoints: Box<[usize]>,
    is_final: bool,
}

/// One way to match a route.
#[derive(Debug)]
struct Rule {
    route: u32,
    /// What its filing leaves to evaluate.
    rest: Matcher,
}

/// Candidates for a value, in the order of their routes.
#[derive(Debug)]
struct List {
    rules: Box<[u32]>,
    /// Where no rule leaves anything to evaluate: the endpoints of them all.
    settled: Option<Box<[usize]>>,
    /// The rule that certainly ends the search, if there is one: the last; else the largest number.
    end: u32,
}

enum Candidates<'t> {
    Of(&'t List),
    /// Of several lists: merged in the scratch.
    Merged,
}

impl Dispatch {
    fn compile(specs: Vec<(usize, RouteSpec)>, max_copies: usize) -> Result<Dispatch, TableError> {
        let mut crowds = Crowds::default();
        specs.iter().for_each(|(_, spec)| crowds.count(&spec.condition));
        let mut routes = Vec::with_capacity(specs.len());
        let mut rules: Vec<Rule> = Vec::with_capacity(specs.len());
        let mut always = Vec::new();
        let mut builders: Vec<ValueIndexBuilder> = Vec::new();
        for (number, spec) in specs {
            for Entry { filing, rest } in entries(&spec.condition, &crowds) {
                let rest = Matcher::compile(&rest)
                    .map_err(|source| TableError::Condition { route: number, source })?;
                if rest.is_never() {
                    continue;
                }
                let rule = rules.len() as u32;
                rules.push(Rule { route: routes.len() as u32, rest });
                let Some(filing) = filing else {
                    always.push(rule);
                    continue;
                };
                match builders.iter_mut().find(|builder| *builder.subject() == filing.subject) {
                    Some(builder) => builder.file(rule, &filing),
                    None => {
                        let mut builder = ValueIndexBuilder::new(filing.subject.clone());
                        builder.file(rule, &filing);
                        builders.push(builder);
                    }
                }
            }
            routes.push(Route { number, endpoints: spec.to.into(), is_final: spec.is_final });
        }
        // What costs least to look up comes first, so that a final route can spare the others.
        builders.sort_by_key(|builder| match builder.subject() {
            Subject::Text(Key::Type) => 0,
            Subject::Text(_) | Subject::OptionalText(_) => 1,
            Subject::Severity | Subject::Payload(_) => 2,
            Subject::Elsewhere(_) => 3,
        });
        if let Some(first) = builders.first_mut()
            && first.values().saturating_mul(always.len()) <= max_copies
        {
            first.file_always(&std::mem::take(&mut always));
        }
        let mut lists = Lists::new();
        let always = lists.number(always);
        let indexes = builders.into_iter().map(|builder| builder.build(&mut lists)).collect();
        let lists = lists.into_vec().into_iter().map(|list| List::new(list, &rules, &routes)).collect();
        Ok(Dispatch { routes: routes.into(), rules: rules.into(), lists, indexes, always })
    }

    /// The endpoints of every message, where none needs a look.
    fn constant(&self) -> Option<&[usize]> {
        let always = self.list(self.always);
        let is_constant = self.indexes.is_empty() && !always.rules.is_empty();
        always.settled.as_deref().filter(|_| is_constant)
    }

    #[inline]
    fn route<'t>(&'t self, message: &[u8], index: &Index, scratch: &mut Scratch) -> Answer<'t> {
        let rules = match self.candidates(message, index, &mut scratch.candidates) {
            Candidates::Of(list) if list.rules.is_empty() => return Answer::Nothing,
            Candidates::Of(List { settled: Some(endpoints), .. }) => return Answer::Settled(endpoints),
            Candidates::Of(list) => &*list.rules,
            Candidates::Merged => &*scratch.candidates,
        };
        let selected = &mut scratch.selected;
        selected.clear();
        let mut matched = false;
        self.for_each_match(rules, message, index, |route| {
            matched = true;
            route.endpoints.iter().for_each(|&endpoint| selected.insert(endpoint));
        });
        if matched { Answer::Selected } else { Answer::Nothing }
    }

    fn routes_of(&self, message: &[u8], index: &Index, scratch: &mut Scratch) -> Vec<usize> {
        let rules = match self.candidates(message, index, &mut scratch.candidates) {
            Candidates::Of(list) => &*list.rules,
            Candidates::Merged => &*scratch.candidates,
        };
        let mut numbers = Vec::new();
        self.for_each_match(rules, message, index, |route| numbers.push(route.number));
        // A route that matches in two ways stands twice in a row.
        numbers.dedup();
        numbers
    }

    /// Calls `visit` with the routes that match, in order, up to the first that is final.
    fn for_each_match(&self, rules: &[u32], message: &[u8], index: &Index, mut visit: impl FnMut(&Route)) {
        for &rule in rules {
            let rule = &self.rules[rule as usize];
            if rule.rest.matches(message, index) {
                let route = &self.routes[rule.route as usize];
                visit(route);
                if route.is_final {
                    break;
                }
            }
        }
    }

    /// Every rule that may match, in order. A subject is not looked up when the search certainly ends before
    /// its first rule.
    #[inline]
    fn candidates<'t>(&'t self, message: &[u8], index: &Index, merged: &mut Vec<u32>) -> Candidates<'t> {
        let mut found = self.list(self.always);
        let mut end = found.end;
        let mut several = false;
        for value_index in &self.indexes {
            if value_index.first_rule() > end {
                continue;
            }
            let list = self.list(value_index.find(message, index));
            if list.rules.is_empty() {
                continue;
            }
            end = end.min(list.end);
            if found.rules.is_empty() {
                found = list;
                continue;
            }
            if !several {
                several = true;
                merged.clear();
                merged.extend_from_slice(&found.rules);
            }
            merged.extend_from_slice(&list.rules);
        }
        if !several {
            return Candidates::Of(found);
        }
        merged.sort_unstable();
        Candidates::Merged
    }

    #[inline]
    fn list(&self, number: ListNumber) -> &List {
        &self.lists[number as usize]
    }
}

impl List {
    fn new(mut numbers: Vec<u32>, rules: &[Rule], routes: &[Route]) -> List {
        let rule = |number: u32| &rules[number as usize];
        let route = |number: u32| &routes[rule(number).route as usize];
        let certain_end =
            numbers.iter().position(|&number| rule(number).rest.is_always() && route(number).is_final);
        if let Some(position) = certain_end {
            numbers.truncate(position + 1);
        }
        let settled = numbers.iter().all(|&number| rule(number).rest.is_always()).then(|| {
            let mut selected = Selected::default();
            for &number in &numbers {
                route(number).endpoints.iter().for_each(|&endpoint| selected.insert(endpoint));
            }
            selected.endpoints.into()
        });
        let end = certain_end.and_then(|position| numbers.get(position)).copied().unwrap_or(u32::MAX);
        List { rules: numbers.into(), settled, end }
    }
}
