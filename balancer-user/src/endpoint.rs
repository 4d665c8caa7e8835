//! A backend as an operator writes it: an address and, where its session ids end in one, a route.

#![forbid(unsafe_code)]

use std::{fmt, net::SocketAddrV4, str::FromStr};

use balancer_ebpf::layout::MAX_ROUTE;
use serde::{Deserialize, Serialize};

use crate::config::parse_socket;

/// What introduces a route on the command line: `10.60.1.2:8080,route=n1`.
const ROUTE: &str = ",route=";

/// An address that serves a version, and the route in the ids that it issues (C29).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: SocketAddrV4,
    pub route: Option<Route>,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, route) = match text.split_once(ROUTE) {
            Some((address, route)) => (address, Some(route.parse()?)),
            None => (text, None),
        };
        Ok(Self { address: parse_socket(address, "8080")?, route })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.route.iter().try_for_each(|route| write!(f, "{ROUTE}{route}"))
    }
}

/// A server's name as its session ids end in it: Tomcat's `jvmRoute`. Copied like the address beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route {
    bytes: [u8; MAX_ROUTE],
    len: usize,
}

impl Route {
    pub fn as_str(&self) -> &str {
        // What was parsed is ASCII.
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What may stand in a cookie (RFC 6265, section 4.1.1) and in a path; a dot would begin another route.
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+~!$*".contains(&byte);
        let mut bytes = [0; MAX_ROUTE];
        match bytes.get_mut(..text.len()) {
            Some(part) if !text.is_empty() && text.bytes().all(good) => part.copy_from_slice(text.as_bytes()),
            _ => return Err(format!("`{text}` is not a route: write 1 to {MAX_ROUTE} of A-Z a-z 0-9 _ - + ~ ! $ *")),
        }
        Ok(Self { bytes, len: text.len() })
    }
}

impl TryFrom<String> for Route {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        route.as_str().to_owned()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["10.60.1.2:8080", "10.60.1.2:8080,route=n1", "10.60.1.2:80,route=rack-7_node-12"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.route.map(|route| route.to_string()).as_deref(), text.split_once('=').map(|x| x.1));
        }
        let longest = "r".repeat(MAX_ROUTE);
        assert_eq!(longest.parse::<Route>().unwrap().as_str(), longest);
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, says) in [
            ("10.60.1.2", "has no port: write"),
            ("10.60.1.2:8080,route=", "`` is not a route"),
            ("10.60.1.2:8080,route=a.b", "`a.b` is not a route: write 1 to 32"),
            ("10.60.1.2:8080,route=ü", "is not a route"),
            (&format!("10.60.1.2:8080,route={}", "r".repeat(33)), "is not a route"),
            ("10.60.1.2:8080,weight=3", "is not an IPv4 address"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
