//! What a single value may be. Messages say what is wrong, then `: write` and the fix; [`super::ConfigError`] splits them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::endpoint::{Endpoint, Route, Weight};

/// A name of a director or a service: it becomes a file's name and a part of a URL.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 32 || !text.chars().all(good) {
            return Err(format!("`{text}` is not a name: write 1 to 32 letters, digits, - or _"));
        }
        Ok(Self(text))
    }
}

/// A time such as `30m`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Duration(pub(super) std::time::Duration);

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(format!("`{text}` is not a time: write a number and a unit, for example \"30m\" or \"500ms\"")),
        }
    }
}

/// How often something is done: a time, or `never`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Every(pub(super) Option<std::time::Duration>);

impl TryFrom<String> for Every {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let Duration(every) = text.try_into().map_err(|error| format!("{error}, or \"never\""))?;
        Ok(Self(Some(every)))
    }
}

/// The path of a health check.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Path(pub(super) String);

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("`{text}` is not a path: write one that begins with / and has no blanks"));
        }
        Ok(Self(text))
    }
}

/// A source address of legs.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Source(pub(super) IpAddr);

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(address) if is_host(address) => Ok(Self(address)),
            _ => Err(format!(
                "`{text}` is not an address of a host: write one, for example \"10.60.254.1\" or \"2001:db8::1\""
            )),
        }
    }
}

/// The address and port of a listener.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Listen(pub(super) SocketAddr);

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_socket(&text, "80").map(Self)
    }
}

/// An address and port of the host itself, for a socket that it listens on.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Socket(pub(super) SocketAddr);

impl TryFrom<String> for Socket {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Err(format!("`{text}` has no port: write \"{}\"", SocketAddr::new(address, 9114)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_multicast() => Ok(Self(address)),
            _ => Err(format!("`{text}` is not an address and a port: write both, for example \"127.0.0.1:9114\"")),
        }
    }
}

/// A backend: its address and port as a text, or a table with a route or a weight as well.
#[derive(Clone, Copy)]
pub(super) struct Backend(pub(super) Endpoint);

impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not an untagged enumeration: that would swallow what is wrong with an address.
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Endpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address and port, or { address = \"…\", route = \"…\", weight = N }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Endpoint, E> {
                parse_socket(text, "8080").map(Endpoint::plain).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Table {
                    address: String,
                    route: Option<Route>,
                    #[serde(default)]
                    weight: Weight,
                }
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let address = parse_socket(&table.address, "8080").map_err(de::Error::custom)?;
                Ok(Endpoint { address, route: table.route, weight: table.weight })
            }
        }
        deserializer.deserialize_any(Either).map(Self)
    }
}

/// Reads an address and a port; `port` is the example in the error.
pub(crate) fn parse_socket(text: &str, port: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let host = if address.is_ipv6() { format!("[{text}]") } else { text.to_owned() };
        return Err(format!("`{text}` has no port: write \"{host}:{port}\""));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 && is_host(address.ip()) && has_no_zone(address) => Ok(address),
        _ => Err(format!(
            "`{text}` is not an address and a port: write both, for example \"10.60.1.2:{port}\" or \"[2001:db8::2]:{port}\""
        )),
    }
}

/// Loopback is none: the programs see what arrives on interfaces. Nor is an address that is one on a single link only, or an IPv4
/// address that is written as one of IPv6: what has one on the wire is malformed.
fn is_host(address: IpAddr) -> bool {
    let usual = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    usual
        && match address {
            IpAddr::V4(address) => !address.is_broadcast(),
            IpAddr::V6(address) => !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none(),
        }
}

/// A zone or a flow label says something of this host only.
fn has_no_zone(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(address) => address.scope_id() == 0 && address.flowinfo() == 0,
    }
}
