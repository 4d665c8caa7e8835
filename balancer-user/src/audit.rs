//! The audit log: one line of JSON for each change that was asked for, done or refused, in `audit.log` of the state directory.
//!
//! The command line asks for the plan of a change first (`dry_run`) where somebody reads it before the deed. A plan that can be
//! carried out is no change, and has no line; one that is refused ends there, so that it has one.
//!
//! It is only ever appended to, and opened anew for each line, so that logrotate may move it away. A line that cannot be written
//! is a warning, not a refusal: a full disk must not keep anybody from rolling back.

#![forbid(unsafe_code)]

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use log::warn;
use serde::Serialize;

use crate::label::Label;

/// The file's name.
pub const FILE: &str = "audit.log";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// For people: the user, and whom root says that it was before (`alice as root`).
    pub name: String,
    /// What the kernel says of the other end of the socket (`SO_PEERCRED`, unix(7)); absent for the director's own doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

impl Actor {
    /// A part of the director that changes something by itself.
    pub fn director(part: &str) -> Self {
        Self { name: part.to_owned(), uid: None, pid: None }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Done,
    /// It was so already.
    Unchanged,
    Refused,
    /// The service was not at the generation that was named.
    Conflict,
    Failed,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line<'a> {
    /// RFC 3339, UTC.
    pub at: String,
    pub actor: &'a Actor,
    pub service: &'a str,
    pub verb: &'a str,
    /// The version that it was about, if it named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'a str>,
    /// The active version before and after.
    pub from: Option<Label>,
    pub to: Option<Label>,
    /// The service's generation after it.
    pub generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What was changed, where the verb does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<&'a str>,
    pub force: bool,
    /// Only the plan was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    pub result: Verdict,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// The command that takes it back.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub undo: &'a str,
}

/// Where lines go.
#[derive(Clone, Debug)]
pub struct Log(PathBuf);

impl Log {
    /// The log in a state directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self(dir.join(FILE))
    }

    pub fn write(&self, line: &Line<'_>) {
        if let Err(error) = self.append(line) {
            warn!("{} cannot be written: {error}", self.0.display());
        }
    }

    fn append(&self, line: &Line<'_>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        // One write, so that a line is there as a whole or not at all.
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0)?.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::in_dir(dir.path());
        let actor = Actor { name: "alice as root".to_owned(), uid: Some(0), pid: Some(7) };
        let label: Label = "002".parse().unwrap();
        let mut line = Line {
            dry_run: false,
            at: "2026-01-01T00:00:00Z".to_owned(),
            actor: &actor,
            service: "shop",
            verb: "flip",
            version: Some(&label),
            mode: Some("forced"),
            from: Some("001".parse().unwrap()),
            to: Some(label.clone()),
            generation: 3,
            reason: Some("CVE"),
            details: None,
            force: false,
            result: Verdict::Done,
            error: None,
            undo: "balancer flip shop 001",
        };
        log.write(&line);
        (line.result, line.error) = (Verdict::Refused, Some("no"));
        log.write(&line);
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (lines.len(), &lines[0]["actor"]["name"], &lines[0]["result"]),
            (2, &"alice as root".into(), &"done".into())
        );
        assert_eq!((&lines[1]["result"], &lines[1]["error"]), (&"refused".into(), &"no".into()));
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
