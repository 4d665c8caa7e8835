//! The application's state, and the answers that depend on it.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use hyper::header::{HeaderValue, LOCATION, SET_COOKIE};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;

use crate::content::Content;
use crate::pages::typed;
use crate::sessions::{Sessions, Visit};

/// The application's state; one thread serves it.
pub(crate) struct Application {
    pub(crate) version: String,
    name: String,
    /// The path below which the pages are: empty, or without a slash at its end.
    context: String,
    /// The same two as headers, made once.
    pub(crate) marks: [(&'static str, HeaderValue); 2],
    sessions: Sessions,
    pub(crate) paths: BTreeMap<String, u64>,
    pub(crate) visits: BTreeMap<String, u64>,
    /// What each user asked for who says who that is (`X-User`), in the order of arrival.
    pub(crate) users: BTreeMap<String, Vec<String>>,
}

impl Application {
    pub(crate) fn new(version: &str, name: &str, sessions: Sessions) -> Result<Self> {
        let header = |text: &str| HeaderValue::from_str(text).with_context(|| format!("{text:?} cannot be a header"));
        Ok(Self {
            version: version.to_owned(),
            name: name.to_owned(),
            context: String::new(),
            marks: [("x-version", header(version)?), ("x-backend", header(name)?)],
            sessions,
            paths: BTreeMap::new(),
            visits: BTreeMap::new(),
            users: BTreeMap::new(),
        })
    }

    /// The same with all pages below a path.
    pub(crate) fn below(self, context: Option<String>) -> Self {
        Self { context: context.unwrap_or_default(), ..self }
    }

    /// Which page a path is: what is not below the context is taken as it stands, so that health checks find theirs.
    pub(crate) fn page_of<'p>(&self, path: &'p str) -> &'p str {
        match path.strip_prefix(&self.context) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    fn visit(&mut self, headers: &HeaderMap) -> Result<Visit> {
        let visit = self.sessions.visit(headers)?;
        *self.visits.entry(visit.id.clone()).or_default() += 1;
        Ok(visit)
    }

    /// A page for people.
    pub(crate) fn page(&mut self, headers: &HeaderMap) -> Result<Response<Content>> {
        let visit = self.visit(headers)?;
        let began = visit.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let page = include_str!("page.html")
            .replace("{version}", &self.version)
            .replace("{backend}", &self.name)
            .replace("{session}", &visit.id[..8])
            .replace("{hits}", &visit.hits.to_string())
            .replace("{began}", &began);
        self.with_session(&visit, typed("text/html; charset=utf-8", page))
    }

    /// The same for programs.
    pub(crate) fn whoami(&mut self, headers: &HeaderMap) -> Result<Response<Content>> {
        let visit = self.visit(headers)?;
        self.says(&visit)
    }

    fn says(&self, visit: &Visit) -> Result<Response<Content>> {
        let answer = json!({
            "version": self.version, "backend": self.name, "session": visit.id,
            "known": !visit.new, "hits": visit.hits, "new": visit.new,
        });
        self.with_session(visit, typed("application/json", answer.to_string() + "\n"))
    }

    fn with_session(&self, visit: &Visit, mut response: Response<Content>) -> Result<Response<Content>> {
        if visit.new || visit.renamed {
            let cookie = format!("{}={}; Path={}/; HttpOnly", self.sessions.cookie(), visit.id, self.context);
            response.headers_mut().insert(SET_COOKIE, cookie.parse()?);
        }
        Ok(response)
    }

    /// [`Self::whoami`] of a session that gets another id, as when its user logs in.
    pub(crate) fn login(&mut self, headers: &HeaderMap) -> Result<Response<Content>> {
        let mut visit = self.visit(headers)?;
        visit.id = self.sessions.rename(&visit.id)?;
        self.says(&Visit { renamed: true, ..visit })
    }

    /// Deletes the cookie, and sends the browser back to the page.
    pub(crate) fn clear(&mut self, headers: &HeaderMap) -> Result<Response<Content>> {
        self.sessions.forget(headers);
        let cookie = format!("{}=; Path={}/; Max-Age=0; HttpOnly", self.sessions.cookie(), self.context);
        let mut response = typed("text/plain", "");
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(SET_COOKIE, cookie.parse()?);
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
        Ok(response)
    }
}
