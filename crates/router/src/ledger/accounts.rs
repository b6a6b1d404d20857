//! Every component's account, for whoever reads the ledger. Components come and go with the configuration.
//!
//! The path of a message never comes here: pipelines and runners hold their counters. What is removed stays for a while, so
//! that an operator can see what became of its last messages.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metlog_buffer::Buffer;

use super::{EndpointCounters, EndpointLedger, InputCounters, InputLedger};
use crate::batch::Handover;

/// How long a removed component is shown.
const REMOVED_SHOWN: Duration = Duration::from_secs(600);

/// No more removed components than this are shown of each sort; the oldest go first.
const MOST_REMOVED_SHOWN: usize = 50;

/// Every component's account.
#[derive(Debug, Default)]
pub struct Ledger {
    inputs: Mutex<Vec<Filed<InputAccount>>>,
    endpoints: Mutex<Vec<Filed<EndpointAccount>>>,
}

/// One input's counters, and who it is.
#[derive(Debug, Clone)]
pub struct InputAccount {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Where it listens, in words for an operator: an address, a path.
    pub address: String,
    /// Its counters.
    pub counters: Arc<InputCounters>,
}

/// One endpoint's counters, and who it is.
#[derive(Debug, Clone)]
pub struct EndpointAccount {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Whether its messages go several ways, in lanes.
    pub has_lanes: bool,
    /// Its counters.
    pub counters: Arc<EndpointCounters>,
    /// Its buffer.
    pub buffer: Arc<Buffer<Handover>>,
}

/// A component and its numbers at one moment.
#[derive(Debug, Clone)]
pub struct Account<A, L> {
    /// Who it is.
    pub of: A,
    /// Whether it was taken out of the configuration.
    pub is_removed: bool,
    /// Its numbers.
    pub ledger: L,
}

#[derive(Debug)]
struct Filed<A> {
    account: A,
    /// When it was taken out of the configuration, on the monotonic clock.
    removed_at: Option<Duration>,
}

impl Ledger {
    /// Every input's numbers: those of the configuration in its order, then those that were removed.
    pub fn inputs(&self) -> Vec<Account<InputAccount, InputLedger>> {
        read(&self.inputs, |account| account.counters.read())
    }

    /// Every endpoint's numbers, in the same order; `now` is the monotonic clock.
    pub fn endpoints(&self, now: Duration) -> Vec<Account<EndpointAccount, EndpointLedger>> {
        read(&self.endpoints, |account| account.counters.read(&account.buffer, now))
    }

    /// These are the inputs from now on. An account whose counters are not among theirs is that of a removed input.
    pub fn set_inputs(&self, accounts: Vec<InputAccount>, now: Duration) {
        replace(&self.inputs, accounts, now, |one, other| Arc::ptr_eq(&one.counters, &other.counters));
    }

    /// These are the endpoints from now on; see [`Ledger::set_inputs`].
    pub fn set_endpoints(&self, accounts: Vec<EndpointAccount>, now: Duration) {
        replace(&self.endpoints, accounts, now, |one, other| Arc::ptr_eq(&one.counters, &other.counters));
    }
}

fn lock<A>(filed: &Mutex<Vec<Filed<A>>>) -> MutexGuard<'_, Vec<Filed<A>>> {
    filed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<A: Clone, L>(filed: &Mutex<Vec<Filed<A>>>, read: impl Fn(&A) -> L) -> Vec<Account<A, L>> {
    lock(filed)
        .iter()
        .map(|Filed { account, removed_at }| Account {
            of: account.clone(),
            is_removed: removed_at.is_some(),
            ledger: read(account),
        })
        .collect()
}

fn replace<A>(
    filed: &Mutex<Vec<Filed<A>>>,
    accounts: Vec<A>,
    now: Duration,
    is_same: impl Fn(&A, &A) -> bool,
) {
    let mut filed = lock(filed);
    let mut removed: Vec<Filed<A>> = std::mem::take(&mut *filed)
        .into_iter()
        .filter(|old| !accounts.iter().any(|account| is_same(account, &old.account)))
        .map(|old| Filed { removed_at: old.removed_at.or(Some(now)), ..old })
        .filter(|old| old.removed_at.is_some_and(|then| now.saturating_sub(then) < REMOVED_SHOWN))
        .collect();
    // Stable: of those removed together, the order stays. The last ones to go come last.
    removed.sort_by_key(|old| old.removed_at);
    let too_many = removed.len().saturating_sub(MOST_REMOVED_SHOWN);
    removed.drain(..too_many);
    filed.extend(accounts.into_iter().map(|account| Filed { account, removed_at: None }));
    filed.append(&mut removed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> InputAccount {
        InputAccount {
            name: name.to_owned(),
            kind: "tcp",
            address: "127.0.0.1:1".to_owned(),
            counters: Arc::default(),
        }
    }

    fn shown(ledger: &Ledger) -> Vec<(String, bool)> {
        ledger.inputs().into_iter().map(|input| (input.of.name, input.is_removed)).collect()
    }

    #[test]
    fn what_is_removed_is_shown_for_a_while() {
        let ledger = Ledger::default();
        let (kept, gone) = (account("kept"), account("gone"));
        ledger.set_inputs(vec![gone.clone(), kept.clone()], Duration::ZERO);
        ledger.set_inputs(vec![account("new"), kept.clone()], Duration::from_secs(1));
        let expected = [("new", false), ("kept", false), ("gone", true)];
        assert_eq!(shown(&ledger), expected.map(|(name, removed)| (name.to_owned(), removed)));
        ledger.set_inputs(vec![kept], REMOVED_SHOWN + Duration::from_secs(1));
        let expected = [("kept", false), ("new", true)];
        assert_eq!(shown(&ledger), expected.map(|(name, removed)| (name.to_owned(), removed)));
    }

    #[test]
    fn a_name_that_comes_back_is_somebody_else() {
        let ledger = Ledger::default();
        ledger.set_inputs(vec![account("a")], Duration::ZERO);
        ledger.set_inputs(vec![account("a")], Duration::ZERO);
        assert_eq!(shown(&ledger), [("a".to_owned(), false), ("a".to_owned(), true)]);
    }

    #[test]
    fn not_more_removed_ones_are_kept_than_anybody_looks_at() {
        let ledger = Ledger::default();
        for number in 0..200 {
            ledger.set_inputs(vec![account(&number.to_string())], Duration::from_secs(number));
        }
        let shown = shown(&ledger);
        assert_eq!(shown.len(), 1 + MOST_REMOVED_SHOWN);
        assert_eq!(shown[0].0, "199");
        assert_eq!(shown[MOST_REMOVED_SHOWN].0, "198");
    }
}
