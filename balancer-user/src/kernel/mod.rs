//! The edge towards the kernel: loading, pinning, adopting, attaching, and the maps as typed values.
//!
//! Everything that has to outlive the daemon is pinned below `<bpffs>/balancer/<name>/v<layout>/`: `maps/`, `programs/` and
//! `links/`. Ending the daemon closes file descriptors and nothing else.

pub mod attach;
mod errand;
pub mod former;
mod held;
pub mod interface;
pub mod links;
pub mod load;
pub mod maps;
pub mod mmap;
pub mod object;
mod pinmaps;
pub mod pins;
pub mod table;
pub mod tcpinfo;
pub mod values;
