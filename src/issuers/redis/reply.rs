//! What the server says, in our words.

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::issuers::Failure;

/// Codes that are true of the server or of our user there, and not of one credential.
const OF_THE_SERVER: [&str; 5] = ["NOAUTH", "BUSY", "MISCONF", "OOM", "DENIED"];

/// An error of the connection, of the server as a whole or of our own user: it is away. Any other: it said no.
/// No error text of the library is passed on that could tell what was sent.
pub(super) fn away_if_so(error: &RedisError) -> Failure {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Failure::away("the server refuses the broker's user or its password");
    }
    let words = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => format!("the connection failed: {error}"),
    };
    let of_the_server = match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError) => false,
        ErrorKind::Server(_) => true,
        ErrorKind::Extension => error.code().is_some_and(|it| OF_THE_SERVER.contains(&it)),
        _ => true,
    };
    match of_the_server {
        true => Failure::away(words),
        false => Failure::said(words),
    }
}

pub(super) fn text(value: Value) -> Result<String, Failure> {
    match value {
        Value::BulkString(bytes) => {
            String::from_utf8(bytes).map_err(|_| Failure::away("an answer is not UTF-8"))
        }
        Value::SimpleString(text) => Ok(text),
        Value::VerbatimString { text, .. } => Ok(text),
        _ => Err(Failure::away("an answer is of the wrong type")),
    }
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, Failure> {
    match value {
        Value::Array(values) => values.into_iter().map(text).collect(),
        _ => Err(Failure::away("an answer is of the wrong type")),
    }
}
