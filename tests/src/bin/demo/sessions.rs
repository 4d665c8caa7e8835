//! Sessions as a servlet container has them: in this process, known by a cookie with a random id.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::SystemTime;

use anyhow::{Context, Result};
use hyper::HeaderMap;
use hyper::header::COOKIE;
use rustix::rand::{GetRandomFlags, getrandom};

/// One user's session.
pub(crate) struct Session {
    pub(crate) began: SystemTime,
    pub(crate) hits: u64,
}

/// A session as one request sees it.
pub(crate) struct Visit {
    pub(crate) id: String,
    pub(crate) began: SystemTime,
    pub(crate) hits: u64,
    /// Whether the session began with this request.
    pub(crate) new: bool,
    /// Whether it got another id.
    pub(crate) renamed: bool,
}

/// All sessions of this process.
pub(crate) struct Sessions {
    cookie: String,
    route: Option<String>,
    known: HashMap<String, Session>,
}

impl Sessions {
    pub(crate) fn new(cookie: &str, route: Option<String>) -> Self {
        Self { cookie: cookie.to_owned(), route, known: HashMap::new() }
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The session that the request presents, or a new one: an id that is not known is never taken over.
    pub(crate) fn visit(&mut self, headers: &HeaderMap) -> Result<Visit> {
        let presented = presented(headers, &self.cookie).find(|id| self.known.contains_key(*id));
        let (id, new) = match presented {
            Some(id) => (id.to_owned(), false),
            None => (self.new_id()?, true),
        };
        if new {
            self.known.insert(id.clone(), Session { began: SystemTime::now(), hits: 0 });
        }
        let session = self.known.get_mut(&id).context("the session that was just found")?;
        session.hits += 1;
        Ok(Visit { id, began: session.began, hits: session.hits, new, renamed: false })
    }

    /// Gives a session another id; the old one is unknown at once.
    pub(crate) fn rename(&mut self, id: &str) -> Result<String> {
        let session = self.known.remove(id).context("no such session")?;
        let new = self.new_id()?;
        self.known.insert(new.clone(), session);
        Ok(new)
    }

    fn new_id(&self) -> Result<String> {
        let id = random_id()?;
        Ok(self.route.as_ref().map_or(id.clone(), |route| format!("{id}.{route}")))
    }

    /// Forgets the sessions that the request presents.
    pub(crate) fn forget(&mut self, headers: &HeaderMap) {
        for id in presented(headers, &self.cookie) {
            self.known.remove(id);
        }
    }
}

/// The values of all cookies of this name.
fn presented<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(move |(key, value)| (key == name).then_some(value))
}

/// 32 upper-case hexadecimal digits, as Tomcat makes them.
fn random_id() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom(&mut bytes, GetRandomFlags::empty()).context("get random bytes")?;
    Ok(bytes.iter().fold(String::with_capacity(32), |mut id, byte| {
        let _ = write!(id, "{byte:02X}");
        id
    }))
}
