//! The addresses of one lab, all inside a /16 of its own, so that labs can run beside each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many source addresses the director has for its legs.
pub const SOURCES: u8 = 4;

/// The plan of a lab's /16, `10.N.0.0/16`, of which only N varies.
///
/// | part | use |
/// |---|---|
/// | `10.N.0.0/24` | the link of client (`.2` and up) and director (`.1`) |
/// | `10.N.i.0/24` | the link of backend `i` (`.2`) and director (`.1`) |
/// | `10.N.i.250` | the relay on a link (client: `i` = 0), where it speaks for itself |
/// | `10.N.254.1` … `.4` | source addresses of legs, on the director's `lo` |
/// | `10.N.255.1` | the virtual address, on the director's `lo` |
///
/// In a lab over IPv6 every one of them has a [twin] beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    network: u8,
}

impl Addresses {
    /// The second octets that labs may take: the first is the documented default.
    pub const NETWORKS: std::ops::Range<u8> = 60..124;

    /// The plan of `10.network.0.0/16`.
    pub fn new(network: u8) -> Self {
        Self { network }
    }

    /// The octet that tells this lab's addresses from another's.
    pub fn network(self) -> u8 {
        self.network
    }

    /// The whole /16, as `ip route` writes it.
    pub fn prefix(self) -> String {
        format!("10.{}.0.0/16", self.network)
    }

    /// The same of what is beside it.
    pub fn prefix6(self) -> String {
        format!("fd0a:{:x}::/32", self.network)
    }

    /// The virtual address that clients connect to.
    pub fn vip(self) -> Ipv4Addr {
        self.at(255, 1)
    }

    /// What backends see as the client when the director translates addresses.
    pub fn sources(self) -> Vec<Ipv4Addr> {
        (1..=SOURCES).map(|host| self.at(254, host)).collect()
    }

    /// The client's first address.
    pub fn client(self) -> Ipv4Addr {
        self.at(0, 2)
    }

    /// The client's `index`th address, 0 being [`Self::client`].
    pub fn client_nth(self, index: u8) -> Ipv4Addr {
        self.at(0, 2 + index)
    }

    /// The director's end of the link to the client.
    pub fn director(self) -> Ipv4Addr {
        self.at(0, 1)
    }

    /// The address of backend host `index`, counted from 1.
    pub fn backend(self, index: usize) -> Ipv4Addr {
        self.at(link(index), 2)
    }

    /// The director's end of the link to backend host `index`.
    pub fn gateway(self, index: usize) -> Ipv4Addr {
        self.at(link(index), 1)
    }

    /// Who refuses packets that are too big for the relay on the link of backend host `index`, or 0 for the client's.
    pub fn relay(self, index: usize) -> Ipv4Addr {
        self.at(if index == 0 { 0 } else { link(index) }, 250)
    }

    fn at(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.network, third, fourth)
    }
}

/// What the service of a lab is reached over, and its backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    #[default]
    V4,
    /// IPv4 is there too, for whoever has business with a host besides.
    V6,
}

impl Family {
    /// The address of this family that a host has.
    pub fn of(self, address: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => address.into(),
            Self::V6 => twin(address).into(),
        }
    }
}

/// The IPv6 address that a host has beside one of IPv4: `fd0a:N:i::h` beside `10.N.i.h`.
pub fn twin(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets().map(u16::from);
    Ipv6Addr::new(0xfd00 | a, b, c, 0, 0, 0, 0, d)
}

fn link(index: usize) -> u8 {
    match u8::try_from(index) {
        Ok(link @ 1..=253) => link,
        _ => panic!("backends are counted from 1 to 253, not {index}"),
    }
}
