//! What a host of the lab needs besides links and addresses: kernel settings, offloads, known neighbours.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, UdpSocket};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::addresses::Family;
use super::node::Node;
use super::remains::ip;

/// Runs inside a namespace, before it has interfaces: they copy these settings when they appear. IPv6 is off where nobody
/// speaks it, since its neighbour discovery would add packets to counters that tests compare.
pub(super) fn settings_of_router(family: Family) -> Result<()> {
    write_setting("ipv4/ip_forward", "1")?;
    for scope in ["all", "default"] {
        write_setting(&format!("ipv4/conf/{scope}/forwarding"), "1")?;
        write_setting(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
        match family {
            Family::V4 => write_setting(&format!("ipv6/conf/{scope}/disable_ipv6"), "1")?,
            Family::V6 => {
                write_setting(&format!("ipv6/conf/{scope}/forwarding"), "1")?;
                // Nobody has to wait until it is sure that nobody else has an address.
                write_setting(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
            }
        }
    }
    Ok(())
}

/// /proc/sys/net shows the settings of the namespace that the opening thread is in.
pub(super) fn write_setting(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    match fs::write(&path, value) {
        // A kernel without IPv6 has nothing to turn off.
        Err(error) if error.kind() == ErrorKind::NotFound && name.starts_with("ipv6/") => Ok(()),
        result => result.with_context(|| format!("write {value} to {path}")),
    }
}

/// XDP on the other end of the veth pair cannot complete a checksum that was left to the hardware, and a frame that
/// it redirects here vanishes unless this end has GRO or XDP.
pub(super) fn set_offloads_for_xdp(node: &Node, interface: &str) -> Result<()> {
    node.output("ethtool", &["-K", interface, "tx", "off", "gro", "on"]).map(drop)
}

/// Has each CPU send by the queue of its number (XPS), as drivers of cards have it. Of a veth's queues the kernel chooses one by a hash
/// unless told, so that one CPU has to empty many at a time, and what it redirects goes into the one ring of 256 frames that is its own:
/// of sixteen downloads at a time one frame in eleven was lost, and with it half of the rate.
pub(super) fn spread(node: &Node, interface: &str) -> Result<()> {
    node.run(|| {
        let sysfs = sysfs().context("look at this namespace's interfaces in sysfs")?;
        for cpu in 0..cpus() {
            let path = format!("class/net/{interface}/queues/tx-{cpu}/xps_cpus");
            let file = openat(&sysfs, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            match file.map_err(Into::into).and_then(|file| File::from(file).write_all(mask(cpu).as_bytes())) {
                // A kernel without CONFIG_XPS has no such file, and one queue is nothing to choose from (net/core/net-sysfs.c).
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                result => result.with_context(|| format!("write {path}"))?,
            }
        }
        Ok(())
    })
}

/// The sysfs of the calling thread's namespace: the one in /sys is of the namespace that it was mounted from. This one is mounted
/// nowhere, and goes with its descriptor.
fn sysfs() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// A CPU as sysfs has sets of them: in hexadecimal words of 32 bits, the highest first.
fn mask(cpu: usize) -> String {
    format!("{:x}{}", 1u32 << (cpu % 32), ",00000000".repeat(cpu / 32))
}

/// How many CPUs there are for us.
pub(super) fn cpus() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Every frame is then one packet with its checksum, as on the wire of a plain network card.
pub(super) fn turn_offloads_off(node: &Node, interface: &str) -> Result<()> {
    let offloads = ["-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
    node.output("ethtool", &offloads).map(drop)
}

/// Has the kernel resolve each neighbour, inside the director: `bpf_fib_lookup` reports one that is unknown, but does
/// not ask for it.
pub(super) fn meet(neighbours: &[IpAddr]) -> Result<()> {
    let sockets = if neighbours.iter().any(IpAddr::is_ipv6) { &["0.0.0.0:0", "[::]:0"][..] } else { &["0.0.0.0:0"] };
    let sockets = sockets.iter().map(UdpSocket::bind).collect::<Result<Vec<_>, _>>()?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let known = ip(&["neighbour", "show"])?;
        let met = |address: &&IpAddr| {
            known.lines().any(|line| line.starts_with(&format!("{address} ")) && line.contains("lladdr"))
        };
        let Some(missing) = neighbours.iter().find(|address| !met(address)) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            bail!("{missing} does not say its link-layer address");
        }
        for neighbour in neighbours {
            // Discard, port 9: nobody listens, and an error that comes back is an answer too.
            for socket in &sockets {
                let _ = socket.send_to(b"?", (*neighbour, 9));
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cpus() {
        let table = [(0, "1"), (1, "2"), (5, "20"), (31, "80000000"), (32, "1,00000000"), (65, "2,00000000,00000000")];
        for (cpu, expected) in table {
            assert_eq!(mask(cpu), expected);
        }
    }
}
