//! The balancer's user space: a daemon that fills the kernel's maps, and a command line that talks to it.
//!
//! What is wanted is planned purely ([`config`], [`model`], [`order`], [`plan`]): it needs no kernel, no root and no clock of
//! its own, and is tested as tables. So is what is said to an operator beforehand: [`explain`] asks the core's own functions,
//! on copies of the maps. What touches the world is thin: [`kernel`] (maps, pins, links) behind the trait of [`dataplane`],
//! [`store`] (the state file), [`snapshot`] (the sessions, for a reboot), [`audit`] (who asked for what), [`health`] (checks),
//! [`hooks`] (an operator's programs, at flips),
//! [`api`] (the socket; [`wire`] is what goes over it), [`metrics`] (for Prometheus), [`cli`] (one file a verb, which ends as [`exit`] says). [`daemon`] ties
//! them together. No request of a client passes through any of it.

#![deny(unsafe_code)]

pub mod api;
pub mod audit;
pub mod boot;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dataplane;
pub mod endpoint;
pub mod exit;
pub mod explain;
pub mod family;
pub mod health;
pub mod hooks;
pub mod host;
pub mod kernel;
pub mod label;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod order;
pub mod plan;
pub mod reload;
pub mod sizes;
pub mod snapshot;
pub mod store;
mod terms;
pub mod wire;
