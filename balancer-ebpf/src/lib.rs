//! The pure core of the balancer: what is decided and how packets are rewritten, and nothing else.
//!
//! One code for the kernel and the host: the programs (`main.rs`: TC, XDP, and the one that closes flows), the simulation and
//! `balancer explain` drive it through the traits of [`host`]. It has no sockets, no maps, no clock and no `unsafe`; it cannot
//! panic where the verifier would see it: buffers are indexed through masks, slices through `get`.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod cookie;
pub mod decide;
pub mod host;
pub mod http;
pub mod layout;
pub mod net;
pub mod pins;
#[cfg(not(target_arch = "bpf"))]
pub mod plain;
pub mod route;
pub mod rules;
pub mod sessions;
pub mod sip;
pub mod splice;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod work;
