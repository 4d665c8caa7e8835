//! Attaching the programs, or putting new ones into the links that are there.

use std::{collections::BTreeSet, fs, io, mem, path::Path};

use anyhow::Context as _;
use aya::{
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::FdLink,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
    },
    util::KernelVersion,
};

use super::{
    interface::{self, Interface},
    links::Links,
    pins::{self, Pins},
};
use crate::{config::Hook, exit::Failure};

/// Where our filter lies among an interface's clsact filters, so that a restart and `detach` find it again.
const PRIORITY: u16 = 2977;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// An interface, the hook that it got, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub interface: Interface,
    /// Never `Auto`.
    pub hook: Hook,
    pub why: String,
}

/// The hook that an interface should get, before its driver was asked.
pub fn wanted(hook: Hook, interface: &Interface) -> (Hook, String) {
    match hook {
        Hook::Tc => (Hook::Tc, "the config says so".to_owned()),
        Hook::Xdp => (Hook::Xdp, "the config says so".to_owned()),
        Hook::Auto if interface.is_veth() => (Hook::Tc, "veth: TC is faster there than XDP".to_owned()),
        Hook::Auto => match &interface.kind {
            None if !interface.loopback => (Hook::Xdp, "its driver has native XDP".to_owned()),
            None => (Hook::Tc, "the loopback has no native XDP".to_owned()),
            Some(kind) => (Hook::Tc, format!("{kind}: no native XDP")),
        },
    }
}

/// Whether links are tcx (Linux 6.6) or clsact filters.
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Attaches `program` to the TC ingress of `interface`, or puts it into the link that is there.
pub fn attach_tc(program: &mut SchedClassifier, links: &mut Links, interface: &Interface) -> anyhow::Result<()> {
    let name = &interface.name;
    if has_tcx() { attach_tcx(program, links, interface) } else { attach_clsact(program, name) }
        .with_context(|| format!("attach the TC program to {name}"))
}

fn attach_tcx(program: &mut SchedClassifier, links: &mut Links, interface: &Interface) -> anyhow::Result<()> {
    let pin = |pins: &Pins| pins.link("tc", &interface.name, interface.index);
    if links.replace(program, pin)? {
        return Ok(());
    }
    // First, because another program's verdict would end the chain before ours saw the packet.
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(&interface.name, TcAttachType::Ingress, order)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(pin(links.pins()))?;
    Ok(())
}

/// Filters of clsact have no links: they stay until somebody removes them.
fn attach_clsact(program: &mut SchedClassifier, interface: &str) -> anyhow::Result<()> {
    // The qdisc may be there already, from us or from somebody else; the attaching says so if it is not.
    let _ = qdisc_add_clsact(interface);
    let id = match program.attach_to_link(clsact_link(interface)?) {
        Ok(id) => id,
        Err(_) => {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
            program.attach_with_options(interface, TcAttachType::Ingress, TcAttachOptions::Netlink(options))?
        }
    };
    // Dropping it would remove the filter, which is to outlive us.
    mem::forget(program.take_link(id)?);
    Ok(())
}

/// Removes our clsact filters, where there are any; answers what was removed.
pub fn remove_filters(interfaces: &[u32]) -> Vec<String> {
    use aya::programs::links::Link as _;
    if has_tcx() {
        return Vec::new();
    }
    // An interface that is gone took its filter along, and so did whoever removed the qdisc.
    let names = interfaces.iter().filter_map(|index| interface::name(*index));
    names
        .filter(|name| clsact_link(name).is_ok_and(|link| link.detach().is_ok()))
        .map(|name| format!("the TC filter of {name}"))
        .collect()
}

fn clsact_link(interface: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
}

/// Attaches `program` to the driver of `interface`, or puts it into the link that is there.
pub fn attach_xdp(program: &mut Xdp, links: &mut Links, interface: &Interface) -> anyhow::Result<()> {
    let pin = |pins: &Pins| pins.link("xdp", &interface.name, interface.index);
    if links.replace(program, pin)? {
        return Ok(());
    }
    let id = program.attach_to_if_index(interface.index, XdpMode::Driver)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(pin(links.pins()))?;
    Ok(())
}

/// What an operator can do when the driver has no native XDP and the config insists on it.
pub fn no_native_xdp(interface: &str, error: &anyhow::Error) -> Failure {
    Failure::refused(
        format!("XDP cannot be attached to {interface}: {error:#}"),
        "set hook = \"auto\" or \"tc\" in the config, or free the interface: ip link set dev IF xdp off",
    )
}

/// Removes link pins that are not wanted any more: of interfaces that left the config, or of another hook.
pub fn remove_others(pins: &Pins, attachments: &[Attachment]) -> anyhow::Result<Vec<String>> {
    let mut wanted = BTreeSet::new();
    for Attachment { interface, hook, .. } in attachments {
        wanted.insert(pins.link("tc", &interface.name, interface.index));
        if *hook == Hook::Xdp {
            wanted.insert(pins.link("xdp", &interface.name, interface.index));
        }
    }
    let mut removed = Vec::new();
    for path in pins::entries(&pins.links())? {
        if !wanted.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            removed.push(path.display().to_string());
        }
    }
    Ok(removed)
}

/// Pins a program under its name, in place of the one that is there.
pub fn pin_program(
    pins: &Pins,
    name: &str,
    pin: impl FnOnce(&Path) -> Result<(), aya::pin::PinError>,
) -> anyhow::Result<()> {
    let (path, new) = (pins.program(name), pins.program(&format!("{name}-new")));
    if new.exists() {
        fs::remove_file(&new)?;
    }
    pin(&new).with_context(|| format!("pin the program {name}"))?;
    fs::rename(&new, &path).with_context(|| format!("rename to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_xdp_for_hardware_only() {
        let interface = |kind: Option<&str>, loopback| Interface {
            name: "x".into(),
            index: 1,
            kind: kind.map(str::to_owned),
            peer_elsewhere: false,
            up: true,
            loopback,
        };
        let table = [
            (Hook::Auto, interface(None, false), Hook::Xdp),
            (Hook::Auto, interface(None, true), Hook::Tc),
            (Hook::Auto, interface(Some("veth"), false), Hook::Tc),
            (Hook::Auto, interface(Some("bridge"), false), Hook::Tc),
            (Hook::Xdp, interface(Some("veth"), false), Hook::Xdp),
            (Hook::Tc, interface(None, false), Hook::Tc),
        ];
        for (hook, interface, expected) in table {
            assert_eq!(wanted(hook, &interface).0, expected, "{hook:?} {interface:?}");
        }
    }
}
