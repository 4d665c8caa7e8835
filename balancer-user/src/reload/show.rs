//! Values as the config file has them.

use std::time::Duration;

use serde::Serialize;

use crate::label::Label;

pub(super) fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// One of several words.
pub(super) fn value<T: Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What may not be there.
pub(super) fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map_or("not there".to_owned(), |value| value.to_string())
}

pub(super) fn labels<'a>(labels: impl IntoIterator<Item = &'a Label>) -> String {
    labels.into_iter().map(Label::as_str).collect::<Vec<_>>().join(", ")
}
