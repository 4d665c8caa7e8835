//! A backend as an operator writes it: an address, its weight if that is not the usual one and, where its session ids end in
//! one, a route.

#![forbid(unsafe_code)]

use std::{fmt, net::SocketAddr, str::FromStr};

use balancer_ebpf::layout::MAX_ROUTE;
use serde::{Deserialize, Serialize};

use crate::config::parse_socket;

/// An address that serves a version, the route in the ids that it issues (C29), and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub route: Option<Route>,
    pub weight: Weight,
}

impl Endpoint {
    /// An address with nothing special about it.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, route: None, weight: Weight::default() }
    }
}

/// On the command line: `10.60.1.2:8080,route=n1,weight=50`.
impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let address = parse_socket(parts.next().unwrap_or_default(), "8080")?;
        let mut endpoint = Self::plain(address);
        for part in parts {
            match part.split_once('=') {
                Some(("route", route)) => endpoint.route = Some(route.parse()?),
                Some(("weight", weight)) => endpoint.weight = weight.parse()?,
                _ => {
                    return Err(format!("`{part}` says nothing of a backend: write IP:PORT[,route=ROUTE][,weight=N]"));
                }
            }
        }
        Ok(endpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, route, weight } = self;
        write!(f, "{address}")?;
        route.iter().try_for_each(|route| write!(f, ",route={route}"))?;
        if *weight == Weight::default() { Ok(()) } else { write!(f, ",weight={weight}") }
    }
}

/// A backend's share of new sessions, relative to the others of its version: 100 unless somebody says otherwise. With 0 it
/// gets none, unless nobody else is there, and keeps those that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

impl Weight {
    /// As the data path takes it.
    pub const MAX: u32 = 1000;

    pub const fn number(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Weight {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if number > Self::MAX {
            return Err(format!("{number} is not a weight: write 0 to {}, of which 100 is the usual one", Self::MAX));
        }
        Ok(Self(number))
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: u32 = text.parse().map_err(|_| {
            format!("`{text}` is not a weight: write 0 to {}, of which 100 is the usual one", Self::MAX)
        })?;
        number.try_into()
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
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
        for (text, route, weight) in [
            ("10.60.1.2:8080", None, 100),
            ("10.60.1.2:8080,route=n1", Some("n1"), 100),
            ("10.60.1.2:80,route=rack-7_node-12", Some("rack-7_node-12"), 100),
            ("10.60.1.2:80,weight=0", None, 0),
            ("10.60.1.2:80,route=n1,weight=1000", Some("n1"), 1000),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.route.map(|route| route.to_string()).as_deref(), route);
            assert_eq!(endpoint.weight.number(), weight);
        }
        assert_eq!("10.60.1.2:80,weight=100".parse::<Endpoint>().unwrap().to_string(), "10.60.1.2:80");
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
            ("10.60.1.2:8080,weight=1001", "1001 is not a weight: write 0 to 1000"),
            ("10.60.1.2:8080,weight=-1", "`-1` is not a weight: write 0 to 1000"),
            ("10.60.1.2:8080,colour=red", "`colour=red` says nothing of a backend"),
            ("10.60.1.2:8080,", "`` says nothing of a backend"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
