//! Real kernels at both ends of bad links: loss, delay, disorder, small MTUs. What arrives is right byte for byte, and no request fails.
//!
//! The simulation (`tests/sim`) has links that are worse, and a TCP that is simpler; here are the two that the world runs.

#[macro_use]
extern crate balancer_tests;

mod goodput;
mod kernels;
mod lossy;
mod path_mtu;
mod transfer;
