//! Address families, which do not mix within one connection: what a listener of one takes goes to backends of the same.

#![forbid(unsafe_code)]

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use balancer_ebpf::layout::FAMILIES;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Both, in the order of the kernel's maps.
    pub const ALL: [Self; FAMILIES] = [Self::V4, Self::V6];

    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Its part of `net` among the kernel's settings.
    pub const fn sysctl(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// The largest segment that Ethernet carries.
    pub const fn max_mss(self) -> u32 {
        match self {
            Self::V4 => 1460,
            Self::V6 => 1440,
        }
    }
}

impl From<SocketAddr> for Family {
    fn from(address: SocketAddr) -> Self {
        Self::of(address.ip())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
