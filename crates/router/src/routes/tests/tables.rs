//! What a table promises: the union, `final`, `unrouted`, and what cannot be compiled.

use super::*;
use crate::routes::table::{RouteSpec, RouteTable, Scratch, TableError};

fn route(condition: Condition, to: &[usize]) -> RouteSpec {
    RouteSpec { condition, to: to.to_vec(), is_final: false, unrouted: false }
}

fn last(condition: Condition, to: &[usize]) -> RouteSpec {
    RouteSpec { is_final: true, ..route(condition, to) }
}

fn everything() -> Condition {
    Condition::All(vec![])
}

fn unrouted(to: &[usize]) -> RouteSpec {
    RouteSpec { unrouted: true, ..route(everything(), to) }
}

fn table(routes: Vec<RouteSpec>) -> RouteTable {
    RouteTable::compile(routes, 200).unwrap()
}

fn endpoints(table: &RouteTable, frame: &str) -> Option<Vec<usize>> {
    let message = Message::new(frame);
    table.route(&message.text, &message.index, &mut Scratch::default()).map(<[usize]>::to_vec)
}

const COUNTER: &str = r#"{"type":"counter","logger":"sync"}"#;
const TIMER: &str = r#"{"type":"timer","logger":"sync"}"#;

#[test]
fn each_type_finds_its_endpoint() {
    let table = table(vec![
        route(any_of("type", &["counter", "timer"]), &[0]),
        route(equals("type", "oldstyle"), &[1]),
        unrouted(&[2]),
    ]);
    assert_eq!(endpoints(&table, COUNTER), Some(vec![0]));
    assert_eq!(endpoints(&table, r#"{"type":"\u0063ounter"}"#), Some(vec![0]));
    assert_eq!(endpoints(&table, r#"{"type":"oldstyle"}"#), Some(vec![1]));
    assert_eq!(endpoints(&table, r#"{"type":"oldstyle2"}"#), Some(vec![2]));
    assert_eq!(endpoints(&table, r#"{"type":""}"#), Some(vec![2]));
}

#[test]
fn a_message_goes_once_to_the_union_of_every_route_that_it_matches() {
    let table = table(vec![
        route(equals("type", "counter"), &[3, 150]),
        route(equals("logger", "sync"), &[150, 4]),
        route(regex("type", "^c"), &[3, 5]),
        route(prefix("type", "x"), &[6]),
    ]);
    assert_eq!(endpoints(&table, COUNTER), Some(vec![3, 150, 4, 5]));
    assert_eq!(endpoints(&table, TIMER), Some(vec![150, 4]));
    assert_eq!(endpoints(&table, r#"{"type":"xx"}"#), Some(vec![6]));
    assert_eq!(endpoints(&table, r#"{"type":"yy"}"#), None);
}

#[test]
fn a_final_route_that_matches_ends_the_search() {
    let table = table(vec![
        route(equals("logger", "sync"), &[0]),
        last(Condition::All(vec![equals("type", "counter"), range("severity", None, Some("4"))]), &[1]),
        last(equals("type", "timer"), &[2]),
        route(everything(), &[3]),
    ]);
    assert_eq!(endpoints(&table, COUNTER), Some(vec![0, 3]));
    assert_eq!(endpoints(&table, r#"{"type":"counter","severity":4}"#), Some(vec![1]));
    assert_eq!(endpoints(&table, TIMER), Some(vec![0, 2]));
}

#[test]
fn unrouted_takes_only_what_matched_nothing() {
    let errors_only = Condition::All(vec![range("severity", None, Some("3"))]);
    let table = table(vec![
        RouteSpec { unrouted: true, is_final: true, ..route(errors_only, &[9]) },
        route(equals("type", "counter"), &[0]),
        unrouted(&[8]),
    ]);
    assert_eq!(endpoints(&table, COUNTER), Some(vec![0]));
    assert_eq!(endpoints(&table, TIMER), Some(vec![8]));
    assert_eq!(endpoints(&table, r#"{"type":"timer","severity":3}"#), Some(vec![9]));
}

#[test]
fn a_route_without_endpoints_takes_its_messages_and_drops_them() {
    let table = table(vec![last(equals("type", "noise"), &[]), unrouted(&[1])]);
    assert_eq!(endpoints(&table, r#"{"type":"noise"}"#), Some(vec![]));
    assert_eq!(endpoints(&table, COUNTER), Some(vec![1]));
}

#[test]
fn an_empty_table_takes_nothing() {
    assert_eq!(endpoints(&table(vec![]), COUNTER), None);
}

#[test]
fn longer_and_shorter_prefixes_and_globs_of_one_key_all_count() {
    let table = table(vec![
        route(prefix("logger", "s"), &[0]),
        route(glob("logger", "sync*"), &[1]),
        route(glob("logger", "sync*ge"), &[2]),
        route(equals("logger", "syncstorage"), &[3]),
        route(prefix("logger", "syncs"), &[4]),
        route(prefix("logger", "a"), &[5]),
    ]);
    let logger = |name: &str| endpoints(&table, &format!(r#"{{"type":"t","logger":"{name}"}}"#));
    assert_eq!(logger("syncstorage"), Some(vec![0, 1, 2, 3, 4]));
    assert_eq!(logger("syncstorage2"), Some(vec![0, 1, 4]));
    assert_eq!(logger("syncs-ge"), Some(vec![0, 1, 2, 4]));
    assert_eq!(logger("sy"), Some(vec![0]));
    assert_eq!(logger("a"), Some(vec![5]));
    assert_eq!(logger("\\u0061b"), Some(vec![5]));
    assert_eq!(logger(""), None);
    assert_eq!(logger("b"), None);
}

#[test]
fn numbers_and_booleans_are_found_by_value() {
    let table = table(vec![
        route(number("fields.status", "500"), &[0]),
        route(number("fields.status", "9007199254740993"), &[1]),
        route(number("fields.status", "9007199254740992"), &[2]),
        route(boolean("fields.status", true), &[3]),
        route(equals("fields.status", "500"), &[4]),
    ]);
    let status = |value: &str| endpoints(&table, &format!(r#"{{"type":"t","fields":{{"status":{value}}}}}"#));
    assert_eq!(status("500"), Some(vec![0]));
    assert_eq!(status("5.00e2"), Some(vec![0]));
    assert_eq!(status("9007199254740993"), Some(vec![1]));
    assert_eq!(status("9007199254740992.0"), Some(vec![2]));
    let long = format!("0.{}5e700003", "0".repeat(700_000));
    assert_eq!(status(&long), Some(vec![0]), "spelled longer than a double's exponent is read");
    assert_eq!(status("true"), Some(vec![3]));
    assert_eq!(status("false"), None);
    assert_eq!(status("\"500\""), Some(vec![4]));
    assert_eq!(status("null"), None);
}

#[test]
fn alternatives_on_different_keys_are_filed_under_each() {
    let table = table(vec![
        route(Condition::Any(vec![equals("type", "wsgi"), equals("fields.kind", "http")]), &[0]),
        route(everything(), &[1]),
    ]);
    assert_eq!(endpoints(&table, r#"{"type":"wsgi","fields":{"kind":"http"}}"#), Some(vec![0, 1]));
    assert_eq!(endpoints(&table, r#"{"type":"t","fields":{"kind":"http"}}"#), Some(vec![0, 1]));
    assert_eq!(endpoints(&table, r#"{"type":"wsgi"}"#), Some(vec![0, 1]));
    assert_eq!(endpoints(&table, r#"{"type":"t"}"#), Some(vec![1]));
    let message = Message::new(r#"{"type":"wsgi","fields":{"kind":"http"}}"#);
    assert_eq!(table.routes_of(&message.text, &message.index), [0, 1]);
}

#[test]
fn routes_of_one_crowded_type_are_told_apart_by_another_key() {
    let named = |number: usize| {
        let name = equals("fields.name", &format!("name-{number}"));
        route(Condition::All(vec![equals("type", "counter"), name]), &[number])
    };
    let table = table((0..100).map(named).collect());
    assert_eq!(endpoints(&table, r#"{"type":"counter","fields":{"name":"name-7"}}"#), Some(vec![7]));
    assert_eq!(endpoints(&table, r#"{"type":"timer","fields":{"name":"name-7"}}"#), None);
    assert_eq!(endpoints(&table, r#"{"type":"counter","fields":{"name":"name-100"}}"#), None);
    assert_eq!(endpoints(&table, COUNTER), None);
}

#[test]
fn a_disjunction_may_have_any_number_of_alternatives() {
    let alternatives = (0..100).map(|number| equals("type", &format!("type-{number}"))).collect();
    let table = table(vec![route(Condition::Any(alternatives), &[1]), unrouted(&[2])]);
    assert_eq!(endpoints(&table, r#"{"type":"type-99"}"#), Some(vec![1]));
    assert_eq!(endpoints(&table, COUNTER), Some(vec![2]));
}

#[test]
fn a_table_knows_whether_all_messages_go_the_same_way() {
    let every = route(everything(), &[1, 0]);
    assert_eq!(table(vec![every.clone(), unrouted(&[2])]).constant(), Some(&[1, 0][..]));
    assert_eq!(table(vec![route(everything(), &[])]).constant(), Some(&[][..]));
    assert_eq!(table(vec![every.clone(), route(equals("type", "a"), &[2])]).constant(), None);
    assert_eq!(table(vec![every, route(regex("type", "."), &[2])]).constant(), None);
    assert_eq!(table(vec![unrouted(&[2])]).constant(), None);
    assert_eq!(table(vec![]).constant(), None);
}

#[test]
fn one_scratch_serves_any_table() {
    let wide = table(vec![route(regex("type", "."), &[199])]);
    let narrow = table(vec![route(regex("type", "."), &[0])]);
    let message = Message::new(COUNTER);
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        assert_eq!(wide.route(&message.text, &message.index, &mut scratch), Some(&[199][..]));
        assert_eq!(narrow.route(&message.text, &message.index, &mut scratch), Some(&[0][..]));
    }
}

#[test]
fn a_table_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<RouteTable>();
}

#[test]
fn what_cannot_be_compiled_names_its_route() {
    let problem = |routes| RouteTable::compile(routes, 2).unwrap_err();
    let error = problem(vec![route(everything(), &[0]), route(everything(), &[1, 2])]);
    assert_eq!(error, TableError::NoSuchEndpoint { route: 1, endpoint: 2, endpoint_count: 2 });
    let error =
        problem(vec![unrouted(&[0]), route(equals("type", "a"), &[0]), route(glob("type", "["), &[1])]);
    assert_eq!(error.to_string(), "route 2: glob \"[\": `[` without its `]` at character 0");
    let error = problem(vec![route(number("fields.n", "0x"), &[0])]);
    assert_eq!(error.to_string(), "route 0: \"0x\" is not a number");
}
