//! Next hops, from the kernel's own routes and neighbours.

use core::ffi::c_void;
use core::mem::{size_of, zeroed};

use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_NO_NEIGH, bpf_fib_lookup as FibLookup};
use aya_ebpf::helpers::bpf_fib_lookup;
use balancer_ebpf::layout::{Address, EGRESS_RESOLVES};
use balancer_ebpf::net::{Egress, Hop};

use super::maps::interface_flags;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;

/// Looks the way from `source` to `destination` up, as for a packet that came in by `ingress`.
///
/// The interface has to have forwarding on (`net.ipv4.conf.<name>.forwarding`, and the same of `ipv6`). Health checks keep neighbours resolved; where
/// one is not (`BPF_FIB_LKUP_RET_NO_NEIGH`), the way out says so, and the packet that takes it makes the kernel ask.
#[inline(always)]
pub(super) fn route(
    context: *mut c_void,
    ingress: u32,
    source: &Address,
    destination: &Address,
    hop: &mut Hop,
) -> bool {
    // SAFETY: a structure of integers, for which zeroes are a value.
    let mut lookup: FibLookup = unsafe { zeroed() };
    lookup.l4_protocol = TCP;
    lookup.ifindex = ingress;
    if destination.is_v4() {
        lookup.family = AF_INET;
        lookup.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source.last());
        lookup.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination.last());
    } else {
        lookup.family = AF_INET6;
        lookup.__bindgen_anon_3.ipv6_src = source.words();
        lookup.__bindgen_anon_4.ipv6_dst = destination.words();
    }
    // SAFETY: the context is the program's own, and the structure has the size that is passed.
    let found = unsafe { bpf_fib_lookup(context, &raw mut lookup, size_of::<FibLookup>() as i32, 0) };
    if found == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) {
        hop.egress = Egress { interface: lookup.ifindex, flags: EGRESS_RESOLVES };
        hop.macs = [0; 12];
        return true;
    }
    if found != 0 {
        return false;
    }
    let d = lookup.dmac;
    let s = lookup.smac;
    hop.egress = Egress { interface: lookup.ifindex, flags: interface_flags(lookup.ifindex) };
    hop.macs = [d[0], d[1], d[2], d[3], d[4], d[5], s[0], s[1], s[2], s[3], s[4], s[5]];
    true
}
