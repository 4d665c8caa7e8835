//! Requests and responses as values.

use anyhow::{Context, Result};

/// A request to be sent as it is written here.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// The most common request.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A request with a body and its Content-Length.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self { body, ..Self::new("POST", target) }.header("Content-Length", &length)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a session's cookie.
    #[must_use]
    pub fn session(self, id: &str) -> Self {
        self.header("Cookie", &format!("JSESSIONID={id}"))
    }

    /// The method, on which the framing of the response depends.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The bytes on the wire.
    pub fn encode(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

/// A whole response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in their order.
    pub headers: Vec<(String, String)>,
    /// The body, out of its chunks if it had any.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// The version that answered.
    pub fn version(&self) -> &str {
        self.header("X-Version").unwrap_or_default()
    }

    /// The backend that answered.
    pub fn backend(&self) -> &str {
        self.header("X-Backend").unwrap_or_default()
    }

    /// Address and port of the connection's other end, as the backend sees it.
    pub fn peer(&self) -> &str {
        self.header("X-Peer").unwrap_or_default()
    }

    /// The value that `Set-Cookie` gives to the cookie `name`, empty where it deletes it.
    pub fn set_cookie(&self, name: &str) -> Option<String> {
        self.all("Set-Cookie").find_map(|cookie| {
            let mut parts = cookie.split(';').map(str::trim);
            let (key, value) = parts.next()?.split_once('=')?;
            let deleted = parts.any(|part| part.eq_ignore_ascii_case("Max-Age=0"));
            (key == name).then(|| if deleted { String::new() } else { value.to_owned() })
        })
    }

    /// Whether the sender closes the connection after this response.
    pub fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} with the body {:?}", self.status, String::from_utf8_lossy(&self.body)))
    }
}
