//! End to end: the real daemon, its CLI and its kernel programs between real clients and real servers, in namespaces.
//!
//! Each story is told under both hooks. What went wrong is told with the director's counters and everybody's logs.

#[macro_use]
extern crate balancer_tests;

use balancer_tests::{programs, scene, stage};

mod curl;
mod users;
mod wrk;

mod bad_input;
mod beside_tomcat;
mod beside_tomcat_life;
mod bodies;
mod canary;
mod cli;
mod config;
mod daemon;
mod detach;
mod drain;
mod dying;
mod exclusive;
mod exposition;
mod flips;
mod gateway;
mod hooks;
mod learning;
mod metrics;
mod missing;
mod mixed;
mod pauses;
mod pins;
mod reboot;
mod services;
mod sessions;
mod silent;
mod six;
mod state;
mod story_1;
mod story_2;
mod upgrade;
mod verbs;
mod weights;
