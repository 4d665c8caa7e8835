//! What the tests and the demonstration share: the namespace lab, applications with sessions, and browsers.

pub mod applications;
pub mod balancer;
pub mod bench;
pub mod client;
pub mod lab;
pub mod progrun;
pub mod tomcat;
