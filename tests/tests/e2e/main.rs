//! End to end: the real daemon, its CLI and its kernel programs between real clients and real servers, in namespaces.
//!
//! Each story is told under both hooks. What went wrong is told with the director's counters and everybody's logs.

/// Makes a test of each story under each hook.
macro_rules! under_both_hooks {
    ($($story:ident),+ $(,)?) => {
        mod tc {
            $(#[test] fn $story() -> anyhow::Result<()> { super::$story(balancer_tests::lab::Hook::Tc) })+
        }
        mod xdp {
            $(#[test] fn $story() -> anyhow::Result<()> { super::$story(balancer_tests::lab::Hook::Xdp) })+
        }
    };
}

mod curl;
mod programs;
mod scene;
mod stage;
mod users;
mod wrk;

mod bad_input;
mod bodies;
mod cli;
mod daemon;
mod detach;
mod dying;
mod flips;
mod learning;
mod mixed;
mod silent;
mod state;
mod story_1;
mod story_2;
