//! Printing what verbs answer.

use std::io::Write as _;

use serde::Serialize;

use super::Format;
use crate::{exit::Failure, wire::Done};

/// Prints a line, or ends quietly if nobody reads any more (`balancer status | head`).
pub(super) fn line(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::other(format!("write JSON: {error}"), ""))?;
    line(&text);
    Ok(())
}

/// What a change will do, before it is done.
pub(super) fn will(format: Format, done: &Done) {
    if format == Format::Text {
        for text in &done.will {
            line(&format!("will:    {text}"));
        }
    }
}

/// What a change did, and how to take it back.
pub(super) fn did(format: Format, done: &Done) -> Result<(), Failure> {
    if format == Format::Json {
        return json(done);
    }
    for text in &done.did {
        line(&format!("done:    {text}"));
    }
    for text in &done.warnings {
        line(&format!("warning: {text}"));
    }
    if !done.undo.is_empty() {
        line(&format!("undo:    {}", done.undo));
    }
    Ok(())
}
