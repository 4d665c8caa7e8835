//! A browser: a cookie jar and a kept-alive connection.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::connection::Connection;
use super::message::{Request, Response};
use crate::lab::node::Node;

/// What `/whoami` of the demo and of the Tomcat application says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Whoami {
    /// The version that answered.
    pub version: String,
    /// The backend that answered.
    pub backend: String,
    /// The session's id.
    pub session: String,
    /// Whether the request presented a session that this backend knows.
    pub known: bool,
    /// Whether the session began with this request.
    pub new: bool,
    /// The number of this request within its session, from 1.
    pub hits: u64,
}

/// A browser with one session cookie and one connection.
#[derive(Debug)]
pub struct Browser {
    node: Node,
    to: SocketAddr,
    connection: Option<Connection>,
    session: Option<String>,
    connections: u64,
}

impl Browser {
    /// A browser inside `node` that has not connected yet.
    pub fn new(node: &Node, to: SocketAddr) -> Self {
        Self { node: node.clone(), to, connection: None, session: None, connections: 0 }
    }

    /// The session's id in the jar.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Deletes the cookie; the connection stays.
    pub fn clear_cookie(&mut self) {
        self.session = None;
    }

    /// Closes the connection; the cookie stays.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// How many connections it has opened so far.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// The port of the present connection.
    pub fn local_port(&self) -> Result<u16> {
        self.connection.as_ref().context("the browser is not connected")?.local_port()
    }

    /// `GET /whoami`, the answer to which has to be a 200.
    pub fn whoami(&mut self) -> Result<Whoami> {
        let response = self.get("/whoami")?;
        ensure!(response.status == 200, "status {} for /whoami", response.status);
        response.json()
    }

    /// A GET with the session's cookie.
    pub fn get(&mut self, target: &str) -> Result<Response> {
        self.request(Request::get(target))
    }

    /// Sends a request with the session's cookie, on the present connection unless the server said that it closes it.
    /// A connection that fails is an error, not something to try again.
    pub fn request(&mut self, request: Request) -> Result<Response> {
        let request = match &self.session {
            Some(id) => request.session(id),
            None => request,
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.connections += 1;
                Connection::open(&self.node, self.to)?
            }
        };
        let response = connection.request(&request)?;
        if !response.closes() {
            self.connection = Some(connection);
        }
        if let Some(value) = response.set_cookie("JSESSIONID") {
            self.session = (!value.is_empty()).then_some(value);
        }
        Ok(response)
    }
}
