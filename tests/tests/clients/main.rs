//! Real clients, and odd ones, against the real balancer: what people use, and what they should not have to care about.
//!
//! The users of each real client go through a flip of each mode; what they saw is judged request by request.

#[macro_use]
extern crate balancer_tests;

mod attack;
mod flips;
mod hostile;
mod odd;
mod rollouts;
mod short;
