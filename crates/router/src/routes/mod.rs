//! Routes: which messages go to which endpoints.
//!
//! The configuration reader writes a [`condition::Condition`] per route; [`table::RouteTable`] compiles them all
//! and answers, for each message, which endpoints it goes to. [`matcher::Matcher`] is one condition compiled;
//! [`explanation::Explanation`] says in words why a condition holds for a message or does not.

pub mod condition;
pub mod explanation;
mod filing;
pub mod globs;
pub mod matcher;
mod subject;
pub mod table;
mod value_index;

#[cfg(test)]
mod tests;
