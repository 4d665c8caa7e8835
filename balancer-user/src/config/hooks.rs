//! Hooks: programs and web addresses that are asked or told about flips. What they may be, and in whose file they may stand.
//!
//! The daemon is root, and so are the programs that it runs: nobody else may have a say in which they are.

use std::{
    fmt,
    fs::{File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

use toml::Spanned;

use super::{Config, ConfigError, raw};

/// For so long a hook may run, unless the config says otherwise; and at most.
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);
/// Bits of a file's mode by which others than its owner may write it.
const OTHERS_WRITE: u32 = 0o022;

/// The hooks of a service, or of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Asked before a flip is begun; it may refuse.
    pub pre_flip: Option<Callout>,
    /// Run while an exclusive flip holds and nobody works; it may send everybody back.
    pub during: Option<Callout>,
    /// Told of what came of a flip.
    pub post_flip: Option<Callout>,
    /// Told of each event; of the director as a whole only.
    pub event: Option<Callout>,
}

/// What is done, and for how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    pub action: Action,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A program, by its whole path, and its arguments. No shell reads them.
    Command(Vec<String>),
    /// `http://`: a POST.
    Url(String),
}

impl fmt::Display for Callout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Command(words) => f.write_str(&words.join(" "))?,
            Action::Url(url) => write!(f, "POST {url}")?,
        }
        write!(f, " ({} at most)", humantime::format_duration(self.timeout))
    }
}

impl Hooks {
    /// These, and where there are none, the others.
    pub fn or(&self, others: &Self) -> Self {
        let or = |one: &Option<Callout>, other: &Option<Callout>| one.clone().or_else(|| other.clone());
        Self {
            pre_flip: or(&self.pre_flip, &others.pre_flip),
            during: or(&self.during, &others.during),
            post_flip: or(&self.post_flip, &others.post_flip),
            event: or(&self.event, &others.event),
        }
    }

    /// Those that there are, by their keys.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Callout)> {
        let all = [
            ("pre_flip", &self.pre_flip),
            ("during", &self.during),
            ("post_flip", &self.post_flip),
            ("event", &self.event),
        ];
        all.into_iter().filter_map(|(key, hook)| Some((key, hook.as_ref()?)))
    }
}

pub(super) fn check_hooks(text: &str, raw: raw::Hooks) -> Result<Hooks, ConfigError> {
    let hook = |raw: Option<Spanned<raw::Callout>>| raw.map(|raw| check_hook(text, raw)).transpose();
    Ok(Hooks {
        pre_flip: hook(raw.pre_flip)?,
        during: hook(raw.during)?,
        post_flip: hook(raw.post_flip)?,
        event: hook(raw.event)?,
    })
}

fn check_hook(text: &str, raw: Spanned<raw::Callout>) -> Result<Callout, ConfigError> {
    let (span, raw) = (raw.span(), raw.into_inner());
    let at = |what: String, fix: &str| ConfigError::at(text, span.clone(), what, fix);
    let timeout = raw.timeout.map_or(TIMEOUT, |timeout| timeout.0);
    if timeout > LONGEST {
        return Err(at("a hook's `timeout` is above 10m".to_owned(), "write at most \"10m\""));
    }
    let action = match (raw.command, raw.url) {
        (Some(words), None) => {
            let Some(program) = words.first() else {
                return Err(at("a hook's `command` is empty".to_owned(), "write command = [\"/path/of/a/program\"]"));
            };
            if !program.starts_with('/') {
                let what = format!("a hook's program `{program}` is not a whole path: none is searched for");
                return Err(at(what, "write where it lies, from / on"));
            }
            Action::Command(words)
        }
        (None, Some(url)) => {
            check_url(&url).map_err(|what| {
                at(what, "write \"http://HOST[:PORT]/PATH\"; for anything else use a command, for example curl")
            })?;
            Action::Url(url)
        }
        (Some(_), Some(_)) => {
            return Err(at("a hook has a `command` and a `url`".to_owned(), "remove one of them"));
        }
        (None, None) => {
            return Err(at("a hook does nothing".to_owned(), "add `command = [\"/path\"]`, or `url = \"http://…\"`"));
        }
    };
    Ok(Callout { action, timeout })
}

fn check_url(url: &str) -> Result<(), String> {
    let parsed: hyper::Uri = url.parse().map_err(|error| format!("`{url}` is not a web address: {error}"))?;
    match (parsed.scheme_str(), parsed.host()) {
        (Some("http"), Some(_)) => Ok(()),
        (Some("https"), _) => Err(format!("`{url}`: TLS is not spoken here")),
        _ => Err(format!("`{url}` is not a web address that begins with http://")),
    }
}

/// Refuses hooks that others than root have a say in.
pub(super) fn check_owner(config: &Config, file: &File) -> Result<(), ConfigError> {
    let mut all = config.services.iter().map(|service| &service.hooks).chain([&config.hooks]);
    if all.clone().all(|hooks| hooks.all().next().is_none()) {
        return Ok(());
    }
    let of_file =
        file.metadata().map_err(|error| ConfigError::whole(format!("it cannot be looked at: {error}"), ""))?;
    if let Some(why) = foreign(&of_file) {
        return Err(ConfigError::whole(
            format!(
                "hooks are taken only from a file that belongs to root and that nobody else can write; this one {why}"
            ),
            "chown root FILE; chmod go-w FILE; or remove the hooks",
        ));
    }
    all.try_for_each(|hooks| {
        hooks.all().try_for_each(|(key, hook)| match &hook.action {
            Action::Command(words) => check_program(key, words.first().map_or("", String::as_str)),
            Action::Url(_) => Ok(()),
        })
    })
}

fn check_program(key: &str, program: &str) -> Result<(), ConfigError> {
    let what = |what: String| format!("the program of the hook `{key}`, {program}, {what}");
    let metadata = Path::new(program)
        .metadata()
        .map_err(|error| ConfigError::whole(what(format!("cannot be looked at: {error}")), "write where it lies"))?;
    if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
        return Err(ConfigError::whole(what("cannot be executed".to_owned()), format!("chmod a+x {program}")));
    }
    match foreign(&metadata) {
        None => Ok(()),
        Some(why) => Err(ConfigError::whole(
            what(format!("{why}: whoever can change it would be root")),
            format!("chown root {program}; chmod go-w {program}"),
        )),
    }
}

/// Why a file is not root's alone.
fn foreign(metadata: &Metadata) -> Option<String> {
    if metadata.uid() != 0 {
        return Some(format!("belongs to uid {}", metadata.uid()));
    }
    (metadata.mode() & OTHERS_WRITE != 0).then(|| format!("has the mode {:o}", metadata.mode() & 0o7777))
}
