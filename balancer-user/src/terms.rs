//! The terms of a change and what it asks for, in one JSON object: how they are put together and taken apart.
//!
//! Each request of the API refuses keys that it does not know, so that a misspelt one is no surprise; the terms are common to all
//! of them and are taken out first.

#![forbid(unsafe_code)]

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{exit::Failure, wire::Terms};

/// What the history and the audit log take of a reason, at most.
const MAX_REASON: usize = 500;

/// Takes a body apart. Without a body everything is as by default.
pub(crate) fn split<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Terms), Failure> {
    let wrong = |error: serde_json::Error| Failure::usage(format!("the request's body: {error}"), "send a JSON object");
    let mut request: Map<String, Value> =
        if body.is_empty() { Map::new() } else { serde_json::from_slice(body).map_err(wrong)? };
    let mut terms = Map::new();
    for key in known().keys() {
        terms.extend(request.remove_entry(key));
    }
    let terms: Terms = serde_json::from_value(Value::Object(terms)).map_err(wrong)?;
    check(&terms)?;
    Ok((serde_json::from_value(Value::Object(request)).map_err(wrong)?, terms))
}

/// Puts a request and its terms together.
pub(crate) fn join<T: Serialize>(request: &T, terms: &Terms) -> Result<Map<String, Value>, Failure> {
    let object = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(other) => Err(Failure::other(format!("{other} is no request"), "")),
        Err(error) => Err(Failure::other(format!("write JSON: {error}"), "")),
    };
    let mut joined = object(serde_json::to_value(request))?;
    joined.extend(object(serde_json::to_value(terms))?);
    Ok(joined)
}

/// The terms' keys, with their defaults.
fn known() -> Map<String, Value> {
    match serde_json::to_value(Terms::default()) {
        Ok(Value::Object(known)) => known,
        _ => Map::new(),
    }
}

/// A reason is a line of a log.
fn check(terms: &Terms) -> Result<(), Failure> {
    let Some(reason) = &terms.reason else { return Ok(()) };
    if reason.len() > MAX_REASON {
        let what = format!("the reason has {} bytes", reason.len());
        return Err(Failure::usage(what, format!("write at most {MAX_REASON}, and a link to the rest")));
    }
    if reason.chars().any(char::is_control) {
        return Err(Failure::usage("the reason has control characters", "write one line of text"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flip, FlipMode};

    #[test]
    fn what_is_put_together_comes_apart() {
        let flip = Flip {
            version: "002".parse().unwrap(),
            mode: FlipMode::Percent,
            percent: Some("12.5".parse().unwrap()),
            max_hold_milliseconds: None,
            on_timeout: None,
            opaque: None,
            abandon_after_milliseconds: None,
            abort_over: Some("5%".parse().unwrap()),
            min_requests: Some(100),
        };
        let terms = Terms { dry_run: true, reason: Some("CVE".to_owned()), if_generation: Some(7), force: true };
        let body = serde_json::to_vec(&join(&flip, &terms).unwrap()).unwrap();
        assert_eq!(split::<Flip>(&body).unwrap(), (flip, terms));
    }

    #[test]
    fn defaults_and_mistakes() {
        let (flip, terms) = split::<Flip>(br#"{"version": "002"}"#).unwrap();
        assert_eq!((flip.mode, terms), (FlipMode::NewSessions, Terms::default()));
        for (body, says) in [
            (r#"{"versoin": "002"}"#, "versoin"),
            (r#"{"version": "002", "dryrun": true}"#, "dryrun"),
            (r#"{"version": "002", "if_generation": "x"}"#, "u64"),
            (r#"["002"]"#, "sequence"),
            ("nonsense", "expected"),
            ("", "version"),
            ("{\"version\": \"002\", \"reason\": \"a\\nb\"}", "control"),
        ] {
            let failure = split::<Flip>(body.as_bytes()).unwrap_err();
            assert!(failure.error.contains(says), "{body}: {failure}");
        }
    }
}
