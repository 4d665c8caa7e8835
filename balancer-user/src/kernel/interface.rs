//! What an interface is, from rtnetlink: sysfs may show another network namespace than the one that the daemon is in.

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use crate::exit::Failure;

/// An interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    /// `veth`, `bridge`, …; `None` for hardware.
    pub kind: Option<String>,
    /// A veth whose other end lies in another namespace. Only then `bpf_redirect_peer` works: the kernel drops a packet
    /// whose target is in the namespace that it comes from (`skb_do_redirect`, net/core/filter.c).
    pub peer_elsewhere: bool,
    pub up: bool,
    pub loopback: bool,
}

impl Interface {
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }
}

/// Looks up all of `names`; the first that is not there is an error that names the others.
pub async fn find_all(names: &[String]) -> Result<Vec<Interface>, Failure> {
    let all = list().await.map_err(Failure::from)?;
    names
        .iter()
        .map(|name| {
            all.iter().find(|interface| interface.name == *name).cloned().ok_or_else(|| {
                let known: Vec<&str> = all.iter().map(|interface| interface.name.as_str()).collect();
                Failure::refused(
                    format!("there is no interface `{name}` in this network namespace"),
                    format!("correct `interfaces` in the config; there are: {}", known.join(", ")),
                )
            })
        })
        .collect()
}

/// All interfaces of this network namespace.
pub async fn list() -> anyhow::Result<Vec<Interface>> {
    let (connection, handle, _) = rtnetlink::new_connection().context("open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.context("list the interfaces")?;
    connection.abort();
    Ok(links.iter().map(read).collect())
}

/// The name of an interface, if it is there.
pub fn name(index: u32) -> Option<String> {
    use rustix::net::{AddressFamily, SocketType, netdevice::index_to_name, socket};
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    index_to_name(any, index).ok()
}

fn read(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        name: String::new(),
        index: link.header.index,
        kind: None,
        peer_elsewhere: false,
        up: link.header.flags.contains(LinkFlags::Up),
        loopback: link.header.flags.contains(LinkFlags::Loopback),
    };
    let mut other_namespace = false;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::LinkInfo(infos) => {
                interface.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
            }
            // Present only if the other end is in another namespace (`rtnl_fill_link_netnsid`, net/core/rtnetlink.c).
            LinkAttribute::LinkNetNsId(_) => other_namespace = true,
            _ => {}
        }
    }
    interface.peer_elsewhere = interface.is_veth() && other_namespace;
    interface
}

fn kind_name(kind: &InfoKind) -> String {
    match kind {
        InfoKind::Veth => "veth".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}
