//! A lab as packets see it: interfaces by number, and who is at the other end.

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::lab::node::Node;

/// One of the director's links.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The director's interface.
    pub interface: u32,
    pub mac: [u8; 6],
    /// Who is at the other end.
    pub peer: IpAddr,
    pub peer_mac: [u8; 6],
}

/// The director's links.
#[derive(Clone, Debug)]
pub struct World {
    pub client: Link,
    /// Backend host `index` at `index - 1`.
    pub backends: Vec<Link>,
}

impl World {
    pub fn of(lab: &Lab) -> Result<Self> {
        let link = |name: &str, node: &Node| -> Result<Link> {
            let (interface, mac) = interface(lab.director(), name)?;
            let (_, peer_mac) = self::interface(node, "eth0")?;
            Ok(Link { interface, mac, peer: lab.address_of(node), peer_mac })
        };
        let backends = (1..).zip(lab.backends()).map(|(index, node)| link(&lab.backend_interface(index), node));
        Ok(Self { client: link(&lab.client_interface(), lab.client())?, backends: backends.collect::<Result<_>>()? })
    }
}

/// An interface's index and link-layer address, as `ip -o link` says them: `2: eth0@if3: <…> … link/ether MAC brd …`.
fn interface(node: &Node, name: &str) -> Result<(u32, [u8; 6])> {
    let text = node.output("ip", &["-o", "link", "show", name])?;
    let parse = || -> Option<(u32, [u8; 6])> {
        let index = text.split(':').next()?.trim().parse().ok()?;
        let words = text.split_whitespace().skip_while(|word| *word != "link/ether");
        let bytes: Vec<u8> = words
            .skip(1)
            .take(1)
            .flat_map(|mac| mac.split(':'))
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect::<Result<_, _>>()
            .ok()?;
        Some((index, bytes.try_into().ok()?))
    };
    parse().with_context(|| format!("read the interface {name} of {} from: {text}", node.role()))
}
