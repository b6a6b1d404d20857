//! Errors as messages: what happened, what kind of error it is, and what caused it.

use std::error::Error;
use std::fmt::{Debug, Display, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use metlog_message::encode::{FieldValue, write_string};

use crate::{Client, Severity};

/// A chain of causes that is longer than this, or runs in a circle, is cut.
const LONGEST_CHAIN: usize = 32;

/// What `fields` says about an error.
pub(crate) struct Description {
    /// `exc_type`
    pub(crate) kind: String,
    /// `exc_message`: the error's own text.
    pub(crate) message: String,
    /// `stack`: JSON, the error and its sources as a list of texts.
    pub(crate) stack: String,
}

impl Description {
    /// Asks an error for all that it has to say.
    pub(crate) fn of<E: Error + ?Sized>(error: &E) -> Description {
        let message = text(&error);
        let kind = type_name(error);
        let stack = stack(&kind, &message, error);
        Description { kind, message, stack }
    }
}

/// Sends an error: a log line (`oldstyle`, severity alert, as the original clients' `exception`), whose payload is
/// the error's text.
pub(crate) fn send<E: Error + ?Sized>(client: &Client, error: &E) {
    let Description { kind, message, stack } = Description::of(error);
    client
        .log(Severity::Alert, message.as_str())
        .field("exc_type", kind.as_str())
        .field("exc_message", message.as_str())
        .field("stack", FieldValue::Json(&stack))
        .send();
}

/// What an error says of itself; less of it where its own code fails or panics in the middle, which is no reason for
/// the application to panic.
fn text(error: &dyn Display) -> String {
    written(|out| write!(out, "{error}"))
}

fn written(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut out = String::new();
    let _ = catch_unwind(AssertUnwindSafe(|| write(&mut out)));
    out
}

/// The type's name. Behind `dyn Error` there is none to be had, but what `Debug` writes nearly always begins with it.
fn type_name<E: Error + ?Sized>(error: &E) -> String {
    let name = std::any::type_name::<E>();
    if name.starts_with("dyn ") { name_in_debug(&error) } else { name.to_owned() }
}

fn name_in_debug(error: &dyn Debug) -> String {
    let debug = written(|out| write!(out, "{error:?}"));
    let end = debug.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(debug.len());
    if debug.starts_with(|c: char| c.is_alphabetic()) { debug[..end].to_owned() } else { "Error".to_owned() }
}

/// The error and its sources as a JSON array of texts, the outermost first.
fn stack<E: Error + ?Sized>(kind: &str, message: &str, error: &E) -> String {
    let mut members = Vec::new();
    write_string(&mut members, &format!("{kind}: {message}"));
    let mut source = cause(|| error.source());
    for _ in 1..LONGEST_CHAIN {
        let Some(error) = source else { break };
        members.push(b',');
        write_string(&mut members, &format!("caused by {}: {}", type_name(error), text(&error)));
        source = cause(|| error.source());
    }
    // Text went in, and only whole texts were written.
    format!("[{}]", String::from_utf8_lossy(&members))
}

fn cause<'a>(
    source: impl FnOnce() -> Option<&'a (dyn Error + 'static)>,
) -> Option<&'a (dyn Error + 'static)> {
    catch_unwind(AssertUnwindSafe(source)).unwrap_or(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot charge \"{card}\"")]
    struct Outer {
        card: &'static str,
        #[source]
        cause: std::num::ParseIntError,
    }

    #[test]
    fn an_error_tells_its_type_its_text_and_its_causes() {
        let (client, capture) = Client::capture();
        let error = Outer { card: "visa", cause: "x".parse::<i32>().unwrap_err() };
        client.exception(&error);
        let boxed: Box<dyn Error> = Box::new(error);
        client.exception(&*boxed);
        assert!(client.flush(std::time::Duration::from_secs(10)));
        let messages: Vec<serde_json::Value> =
            capture.messages().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for message in &messages {
            assert_eq!(message["type"], "oldstyle");
            assert_eq!(message["severity"], 1);
            assert_eq!(message["payload"], "cannot charge \"visa\"");
            assert_eq!(message["fields"]["exc_message"], "cannot charge \"visa\"");
            assert!(message["fields"]["exc_type"].as_str().unwrap().ends_with("Outer"));
            assert_eq!(
                message["fields"]["stack"][1],
                "caused by ParseIntError: invalid digit found in string"
            );
        }
        assert_eq!(messages.len(), 2);
    }
}
