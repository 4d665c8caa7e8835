//! nftables in the director's place: the kernel's own translation of addresses, which knows connections and no sessions.

use std::fs;

use anyhow::{Context, Result};

use super::{filled, write};
use crate::lab::Lab;

/// Has connections to the virtual address go to one backend after the other.
pub(in crate::bench) fn start(lab: &Lab) -> Result<()> {
    let count = lab.backends().len();
    let backends: Vec<String> =
        (1..=count).map(|index| format!("{} : {}", index - 1, lab.address_of(lab.backend(index)))).collect();
    let places = [("VIP", lab.vip().to_string()), ("COUNT", count.to_string()), ("BACKENDS", backends.join(", "))];
    let places: Vec<(&str, &str)> = places.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let path = write(lab, "dnat.nft", &filled(include_str!("dnat.nft"), &places))?;
    lab.director().output("nft", &["-f", &path.to_string_lossy()]).context("tell nftables")?;
    lab.director().run(|| {
        let known = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait";
        fs::write(known, "1").with_context(|| format!("write {known}"))
    })
}
