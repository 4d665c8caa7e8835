//! What the tests and the demonstration share: the namespace lab, applications with sessions, and browsers.

pub mod applications;
pub mod balancer;
pub mod bench;
pub mod client;
pub mod clients;
pub mod echo;
pub mod flood;
pub mod lab;
pub mod programs;
pub mod progrun;
pub mod scene;
pub mod short;
pub mod stage;
pub mod tomcat;

/// Makes a test of each story under each hook.
#[macro_export]
macro_rules! under_both_hooks {
    ($($story:ident),+ $(,)?) => {
        mod tc {
            $(#[test] fn $story() -> anyhow::Result<()> { super::$story($crate::lab::Hook::Tc) })+
        }
        mod xdp {
            $(#[test] fn $story() -> anyhow::Result<()> { super::$story($crate::lab::Hook::Xdp) })+
        }
    };
}
