//! Rules: which of the services on one address a request is for. What a single rule may say, and how it is written.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use balancer_ebpf::layout::{MAX_CONDITIONS, MAX_NAME, MAX_TEXT};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{ConfigError, Service, raw};
use crate::model::pin::Network;

/// An address that several services share, or that not all requests are served on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub listen: SocketAddr,
    /// The service of requests that no rule matches; `None`: they are answered with a 404.
    pub default: Option<String>,
    pub on_ambiguous: OnAmbiguous,
    /// The first one that matches counts.
    pub rules: Vec<Rule>,
}

/// What becomes of a request that servers might read differently, where a rule would have to look at that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAmbiguous {
    /// It goes to the default service.
    Default,
    /// It is answered with a 400.
    Reject,
}

/// A rule. All that it says has to hold; one that says nothing matches every request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub service: String,
    pub host: Option<Host>,
    pub path: Option<Path>,
    pub target_prefix: Option<Prefix>,
    pub target_contains: Option<Part>,
    pub header: Option<Field>,
    pub query: Option<Parameter>,
    pub source: Option<Network>,
}

impl Rule {
    /// What it asks for: each key, and its value as it is written.
    pub fn conditions(&self) -> Vec<(&'static str, String)> {
        fn one(key: &'static str, value: Option<&impl ToString>) -> Option<(&'static str, String)> {
            value.map(|value| (key, value.to_string()))
        }
        [
            one("host", self.host.as_ref()),
            one("path", self.path.as_ref()),
            one("target_prefix", self.target_prefix.as_ref()),
            one("target_contains", self.target_contains.as_ref()),
            one("header", self.header.as_ref()),
            one("query", self.query.as_ref()),
            one("source", self.source.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What it asks for, for a person.
    pub fn asks(&self) -> String {
        let all: Vec<String> = self.conditions().into_iter().map(|(key, value)| format!("{key} {value}")).collect();
        if all.is_empty() { "everything".to_owned() } else { all.join(", ") }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asks() {
            _ if self.conditions().is_empty() => write!(f, "{} always", self.service),
            asks => write!(f, "{} if {asks}", self.service),
        }
    }
}

/// A host: a name, `*.` and a name, or an IPv6 literal in brackets; and perhaps a port. In lower case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Host {
    pub name: String,
    /// Not the name itself, but those below it.
    pub below: bool,
    pub port: Option<u16>,
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a host: write a name such as \"shop.example.org\" or \"*.example.org\", of up to {MAX_TEXT} bytes, with \
                 a port behind a colon if that matters"
            )
        };
        let lower = text.to_ascii_lowercase();
        let behind = if lower.starts_with('[') { lower.find(']').ok_or_else(wrong)? + 1 } else { 0 };
        let colon = lower[behind..].find(':').map(|at| behind + at);
        let (name, port) = match colon {
            Some(at) => {
                let port = &lower[at + 1..];
                let canonical = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|_| canonical).ok_or_else(wrong)?;
                (&lower[..at], Some(port))
            }
            None => (lower.as_str(), None),
        };
        let (below, name) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let good = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => !below && address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                let labels = name.strip_suffix('.').unwrap_or(name);
                labels.split('.').all(|label| !label.is_empty() && label.bytes().all(letter))
            }
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if !good || name.len() > MAX_TEXT {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), below, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below { "*." } else { "" })?;
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A value that is checked once and then a text.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                $check(&text).map(|()| Self(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// A path, with everything below it.
    Path, check_path
}
text! {
    /// What a target begins with.
    Prefix, check_prefix
}
text! {
    /// What a target has in it.
    Part, check_part
}

/// Whether requests that carry a text unambiguously have it as it stands.
fn is_plain(text: &str, without: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= MAX_TEXT
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"%#\\".contains(&byte) && !without.contains(&byte))
}

fn check_path(text: &str) -> Result<(), String> {
    let segments = text.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>());
    let segments = segments.filter(|_| is_plain(text, b"?;"));
    match segments {
        Some(segments) if text == "/" || segments.iter().all(|segment| !matches!(*segment, "" | "." | "..")) => Ok(()),
        _ => Err(format!(
            "`{text}` is not a path that a rule can have: write one such as \"/shop\", of up to {MAX_TEXT} bytes, without a slash at its \
             end, empty segments, dots for segments, and any of % ; ? # \\"
        )),
    }
}

fn check_prefix(text: &str) -> Result<(), String> {
    if text.starts_with('/') && is_plain(text, b"") {
        return Ok(());
    }
    Err(format!(
        "`{text}` is nothing that a target can begin with: write up to {MAX_TEXT} bytes that begin with /, without any of % # \\"
    ))
}

fn check_part(text: &str) -> Result<(), String> {
    if is_plain(text, b"") {
        return Ok(());
    }
    Err(format!("`{text}` is no part of a target: write up to {MAX_TEXT} bytes without blanks and any of % # \\"))
}

/// A field: its name, in lower case, and perhaps its value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Field {
    pub name: String,
    pub value: Option<String>,
}

impl TryFrom<String> for Field {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value.trim().to_owned())),
            None => (text.as_str(), None),
        };
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let named = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(token);
        let visible =
            |value: &String| value.len() <= MAX_TEXT && value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !named || !value.as_ref().is_none_or(visible) {
            return Err(format!(
                "`{text}` is not a header: write \"Name\" or \"Name: value\", the value of up to {MAX_TEXT} bytes"
            ));
        }
        Ok(Self { name: name.to_ascii_lowercase(), value })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, ": {value}"))
    }
}

/// A parameter of the query: its name, and perhaps its value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Parameter {
    pub name: String,
    pub value: Option<String>,
}

impl TryFrom<String> for Parameter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"%+&#".contains(&byte));
        let named = !name.is_empty() && name.len() <= MAX_NAME && plain(name);
        if !named || !value.as_ref().is_none_or(|value| value.len() <= MAX_TEXT && plain(value)) {
            return Err(format!(
                "`{text}` is not a parameter of a query: write \"name\" or \"name=value\" without blanks and any of % + & #"
            ));
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// Checks the listeners, and that each service is reached on its address.
pub(super) fn check(
    text: &str,
    raw: Vec<Spanned<raw::Listener>>,
    services: &[(Service, std::ops::Range<usize>)],
) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for raw in raw {
        let raw = raw.into_inner();
        let span = raw.listen.span();
        let listener = check_one(text, raw, services)?;
        if listeners.iter().any(|other| other.listen == listener.listen) {
            let what = format!("there are two [[listener]] for {}", listener.listen);
            return Err(ConfigError::at(text, span, what, "make one of them"));
        }
        listeners.push(listener);
    }
    let mut taken = BTreeSet::new();
    for (service, span) in services {
        let Some(listener) = listeners.iter().find(|listener| listener.listen == service.listen) else {
            if !taken.insert(service.listen) {
                let what =
                    format!("two services listen on {}, and nothing says which requests are for which", service.listen);
                let fix = format!(
                    "add a [[listener]] with `listen = \"{}\"`, `rules` and perhaps `default`; or give each an address or port of its own",
                    service.listen
                );
                return Err(ConfigError::at(text, span.clone(), what, fix));
            }
            continue;
        };
        let named = listener.rules.iter().any(|rule| rule.service == service.name);
        if !named && listener.default.as_ref() != Some(&service.name) {
            let what =
                format!("no request reaches the service `{}`: no rule of {} leads to it", service.name, service.listen);
            return Err(ConfigError::at(text, span.clone(), what, "add a rule for it, or make it the `default`"));
        }
    }
    Ok(listeners)
}

fn check_one(
    text: &str,
    raw: raw::Listener,
    services: &[(Service, std::ops::Range<usize>)],
) -> Result<Listener, ConfigError> {
    let (span, listen) = (raw.listen.span(), raw.listen.into_inner().0);
    let here: Vec<&str> = services
        .iter()
        .filter(|(service, _)| service.listen == listen)
        .map(|(service, _)| service.name.as_str())
        .collect();
    if here.is_empty() {
        let what = format!("no service listens on {listen}");
        return Err(ConfigError::at(text, span, what, "write the address of a service's `listen`"));
    }
    let unknown = |span, name: &str| {
        let what = format!("`{name}` is no service on {listen}");
        Err(ConfigError::at(text, span, what, format!("name one of: {}", here.join(", "))))
    };
    if let Some(default) = &raw.default
        && !here.contains(&default.as_ref().as_str())
    {
        return unknown(default.span(), default.as_ref());
    }
    let default = raw.default.map(Spanned::into_inner);
    let on_ambiguous = match (raw.on_ambiguous, &default) {
        (Some(on), None) if *on.as_ref() == OnAmbiguous::Default => {
            let what = "`on_ambiguous` = \"default\", but there is no default service";
            return Err(ConfigError::at(text, on.span(), what, "add `default`, or write \"reject\""));
        }
        (Some(on), _) => on.into_inner(),
        (None, Some(_)) => OnAmbiguous::Default,
        (None, None) => OnAmbiguous::Reject,
    };
    let mut rules: Vec<Rule> = Vec::new();
    for rule in raw.rules {
        let (span, rule) = (rule.span(), rule.into_inner());
        if !here.contains(&rule.service.as_str()) {
            return unknown(span, &rule.service);
        }
        if rules.last().is_some_and(|rule| rule.conditions().is_empty()) {
            let what = "no request gets to this rule: the one before it matches everything";
            return Err(ConfigError::at(text, span, what, "put the rule that matches everything last"));
        }
        rules.push(rule);
        let conditions: usize = rules.iter().map(|rule| rule.conditions().len().max(1)).sum();
        if conditions > MAX_CONDITIONS {
            let what = format!("the rules of {listen} have more than {MAX_CONDITIONS} conditions");
            return Err(ConfigError::at(text, span, what, "remove some, or give services an address of their own"));
        }
    }
    Ok(Listener { listen, default, on_ambiguous, rules })
}
