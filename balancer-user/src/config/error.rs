//! A config error: file, line, what is wrong and what to write instead.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::exit::Failure;

/// Why a config cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: Option<PathBuf>,
    /// Counted from 1; `None` where no single line is to blame.
    pub line: Option<usize>,
    pub what: String,
    pub fix: String,
}

impl ConfigError {
    /// An error at a place of `text`.
    pub fn at(text: &str, span: Range<usize>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Self { file: None, line: Some(line), what: what.into(), fix: fix.into() }
    }

    /// An error of the file as a whole.
    pub fn whole(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: None, line: None, what: what.into(), fix: fix.into() }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let what = format!("the config cannot be read: {error}");
        Self::whole(what, "name a readable file with --config").in_file(path)
    }

    pub(super) fn in_file(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }

    /// Puts the parser's errors into our words.
    ///
    /// The messages are matched by their beginnings because serde gives them as text only; an unknown one is passed on
    /// as it is.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message();
        let (what, fix) = if let Some((key, rest)) = quoted(message, "unknown field ") {
            let known = rest.trim_start_matches(", expected ").trim_start_matches("one of ");
            (format!("unknown key `{key}`"), format!("remove it, or write one of: {}", known.replace('`', "")))
        } else if let Some((key, _)) = quoted(message, "missing field ") {
            (format!("the key `{key}` is missing"), format!("add `{key} = …` to this table"))
        } else if let Some((value, rest)) = quoted(message, "unknown variant ") {
            let known = rest.trim_start_matches(", expected ").trim_start_matches("one of ");
            (format!("`{value}` is not a possible value"), format!("write one of: {}", known.replace('`', "\"")))
        } else if let Some((what, fix)) = message.split_once(": write ") {
            // Our own value types say the fix behind this colon.
            (what.to_owned(), format!("write {fix}"))
        } else {
            (message.trim().replace('\n', "; "), "correct the line; `balancer run --help` shows an example".to_owned())
        };
        match error.span() {
            Some(span) => {
                let key = key_of(text, span.start).filter(|key| !what.contains(&format!("`{key}`")));
                let what = key.map_or_else(|| what.clone(), |key| format!("`{key}`: {what}"));
                Self::at(text, span, what, fix)
            }
            None => Self::whole(what, fix),
        }
    }
}

/// The part in backquotes right after `prefix`, and the rest.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')
}

/// The key of the line that holds byte `at`; none in a line that has no value.
fn key_of(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let (key, _) = text.get(start..at)?.split_once('=')?;
    Some(key.trim())
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some(line) = self.line {
            write!(f, "{}{line}:", if self.file.is_none() { "line " } else { "" })?;
        }
        if self.file.is_some() || self.line.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string(), error.fix)
    }
}
