//! Pins: testers who have to know which version they hit, and an operator's override of one session (D15).
//!
//! A value on the wire is known here by its keyed hash only, like a session's id. What it looks like is said once, when the pin is
//! made.

use std::{fmt, net::IpAddr, str::FromStr};

use balancer_ebpf::layout::{Address, MAX_NAME, MAX_PINS, SessionHash};
use serde::{Deserialize, Serialize};

use super::{
    Outcome, Refusal, Service, State,
    change::{check_version, find},
};
use crate::label::Label;

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Unique in the director, and never used twice.
    pub id: u32,
    pub to: Target,
    pub carrier: Carrier,
    /// Of the value or of the session's id: both halves.
    pub hash: Option<(u64, u64)>,
    /// Where its bearer has to come from.
    pub source: Option<Network>,
    /// Unix seconds; `None`: never.
    pub expires: Option<u64>,
    /// Each decision is told.
    pub trace: bool,
    pub note: Option<String>,
}

/// Where a pin leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Version(Label),
    /// To no canary.
    Never,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(label) => label.fmt(f),
            Self::Never => f.pad("never"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        text.parse().map(Self::Version).map_err(|error: crate::label::LabelError| error.to_string())
    }
}

/// How a request shows that it is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// By where it comes from.
    Source,
    Cookie(String),
    /// In lower case.
    Header(String),
    Query(String),
    /// By its session.
    Session,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Query(name) => write!(f, "query {name}"),
            Self::Session => f.write_str("session"),
        }
    }
}

/// A network, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    pub address: IpAddr,
    pub bits: u32,
}

impl Network {
    /// Bits of an address of its family.
    const fn width(address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// The length of its prefix where addresses of both families have 128 bits.
    pub const fn prefix(self) -> u32 {
        128 - Self::width(self.address) + self.bits
    }

    /// The bits of its prefix.
    pub fn mask(self) -> Address {
        Address::from_bytes(u128::MAX.checked_shl(128 - self.prefix()).unwrap_or(0).to_be_bytes())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a network: write one such as 192.0.2.0/24 or 2001:db8::/32, or an address");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = Self::width(address);
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| wrong()))?;
        // What is mapped is the other family's, and no client has it.
        if bits > width || Address::from(address).to_ip() != address {
            return Err(wrong());
        }
        let network = Self { address, bits };
        let address = Address::from(address).and(&network.mask()).to_ip();
        if address != network.address {
            return Err(format!("`{text}` has bits beyond its prefix: write {address}/{bits}"));
        }
        Ok(network)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Headers that say something else.
const TAKEN: [&str; 9] = [
    "cookie",
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "expect",
    "authorization",
    "proxy-authorization",
];

/// Whether a name may carry a pin: a token (RFC 9110, section 5.6.2), and none that means something else.
pub fn check_name(carrier: &Carrier, session_cookie: &str) -> Result<(), String> {
    let (Carrier::Cookie(name) | Carrier::Header(name) | Carrier::Query(name)) = carrier else { return Ok(()) };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(good) {
        return Err(format!("`{name}` is not a name for a pin: write 1 to {MAX_NAME} letters, digits, - or _"));
    }
    match carrier {
        Carrier::Header(_) if TAKEN.contains(&name.as_str()) => {
            Err(format!("the header `{name}` means something else: write one of your own, for example x-pin"))
        }
        Carrier::Cookie(_) if name == session_cookie => {
            Err(format!("`{name}` is the session's cookie: write another one, for example pin"))
        }
        _ => Ok(()),
    }
}

/// `pin add`.
pub(super) fn add(state: &mut State, name: &str, pin: &Pin) -> Result<Outcome, Refusal> {
    let id = state.next_pin;
    let pins = state.services.iter().map(|service| service.pins.len()).sum::<usize>();
    if pins >= MAX_PINS as usize {
        return Err(Refusal::NoRoom { what: "pins", limit: MAX_PINS });
    }
    let service = find(state, name)?;
    let mut outcome = Outcome { changed: true, ..Outcome::default() };
    if let Target::Version(label) = &pin.to {
        check_version(service, label)?;
        outcome.version = Some(label.clone());
    }
    if let Some(other) = service.pins.iter().find(|other| clashes(&other.carrier, &pin.carrier)) {
        return Err(Refusal::OtherCarrier {
            service: name.to_owned(),
            present: other.carrier.to_string(),
            id: other.id,
        });
    }
    let twin = |other: &&Pin| other.carrier == pin.carrier && other.hash == pin.hash && same_place(other, pin);
    if let Some(other) = service.pins.iter().find(twin) {
        return Err(Refusal::SamePin { service: name.to_owned(), id: other.id, to: other.to.to_string() });
    }
    service.pins.push(Pin { id, ..pin.clone() });
    state.next_pin += 1;
    let bearer = match (&pin.carrier, pin.source) {
        (Carrier::Source, Some(network)) => format!("requests from {network}"),
        (Carrier::Session, _) => "requests of that session".to_owned(),
        (carrier, None) => format!("requests with the value in their {carrier}"),
        (carrier, Some(network)) => format!("requests from {network} with the value in their {carrier}"),
    };
    outcome.mode = Some(pin.carrier.to_string());
    outcome.will.push(match &pin.to {
        Target::Version(label) => format!("{bearer} get {label}, whatever their session; that is left as it is"),
        Target::Never => format!("{bearer} never get a canary"),
    });
    if matches!(pin.to, Target::Version(_)) {
        outcome
            .will
            .push("while that version has no healthy backend they get a 503, and never another version".to_owned());
    }
    outcome.did.push(format!("{name}: pin {id} to {} by {}", pin.to, pin.carrier));
    outcome.undo = format!("balancer pin rm {name} {id}");
    Ok(outcome)
}

/// The data path looks for one name of each kind.
fn clashes(one: &Carrier, other: &Carrier) -> bool {
    match (one, other) {
        (Carrier::Cookie(a), Carrier::Cookie(b))
        | (Carrier::Header(a), Carrier::Header(b))
        | (Carrier::Query(a), Carrier::Query(b)) => a != b,
        _ => false,
    }
}

/// Of two pins by source only one can lie in one network; values have one entry each.
fn same_place(one: &Pin, other: &Pin) -> bool {
    one.carrier != Carrier::Source || one.source == other.source
}

/// `pin rm`.
pub(super) fn remove(state: &mut State, name: &str, id: u32) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    let Some(at) = service.pins.iter().position(|pin| pin.id == id) else {
        let known = service.pins.iter().map(|pin| pin.id.to_string()).collect();
        return Err(Refusal::NoPin { service: name.to_owned(), id, known });
    };
    let pin = service.pins.remove(at);
    Ok(Outcome {
        will: vec!["whoever it pinned goes where their session is".to_owned()],
        did: vec![format!("{name}: pin {id} to {} by {} is gone", pin.to, pin.carrier)],
        version: if let Target::Version(label) = pin.to { Some(label) } else { None },
        mode: Some(pin.carrier.to_string()),
        changed: true,
        ..Outcome::default()
    })
}

/// Pins of a version that goes go with it; what is to be said of it.
pub(super) fn drop_of(service: &mut Service, label: &Label) -> Option<String> {
    let before = service.pins.len();
    service.pins.retain(|pin| pin.to != Target::Version(label.clone()));
    let gone = before - service.pins.len();
    (gone > 0).then(|| format!("{gone} pins to {label} go with it"))
}

impl Pin {
    /// The hash of its value or session.
    pub fn session_hash(&self) -> Option<SessionHash> {
        self.hash.map(|(tag, bucket)| SessionHash { tag, bucket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, prefix) in
            [("10.0.0.0/8", 104), ("0.0.0.0/0", 96), ("192.0.2.1/32", 128), ("2001:db8::/32", 32), ("::/0", 0)]
        {
            let network: Network = text.parse().unwrap();
            assert_eq!((network.to_string().as_str(), network.prefix()), (text, prefix));
            let mask: [u8; 16] = network.mask().into();
            assert_eq!(u128::from_be_bytes(mask).leading_ones(), prefix);
        }
        assert_eq!("192.0.2.1".parse::<Network>().unwrap().bits, 32);
        assert_eq!("2001:db8::1".parse::<Network>().unwrap().bits, 128);
        for (text, says) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("10.0.0.0/33", "192.0.2.0/24"),
            ("2001:db8::1/64", "write 2001:db8::/64"),
            ("2001:db8::/129", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "is not a network"),
            ("", "is not a network"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn names_that_may_carry_a_pin() {
        let check = |carrier| check_name(&carrier, "JSESSIONID");
        assert!(check(Carrier::Header("x-pin".to_owned())).is_ok());
        for (carrier, says) in [
            (Carrier::Header("cookie".to_owned()), "means something else"),
            (Carrier::Cookie("JSESSIONID".to_owned()), "session's cookie"),
            (Carrier::Query("a b".to_owned()), "`a b` is not a name"),
            (Carrier::Query("a&b".to_owned()), "is not a name"),
            (Carrier::Cookie(String::new()), "is not a name"),
            (Carrier::Header("x".repeat(65)), "is not a name"),
        ] {
            let error = check(carrier).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
