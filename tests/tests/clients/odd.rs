//! Odd clients, legal all of them: on raw sockets, since no library would do such things.

mod bulk;
mod endings;
mod framing;
mod idle;
mod opaque;
mod pieces;

use anyhow::{Result, ensure};
use balancer_tests::client::{Response, Whoami};
use balancer_tests::lab::Hook;
use balancer_tests::scene::Scene;
use balancer_tests::stage::Stage;

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

/// Plays with a session on each of two versions, the second of which is active.
fn with_two_sessions(hook: Hook, label: &str, story: impl FnOnce(&mut Scene, [Whoami; 2]) -> Result<()>) -> Result<()> {
    // The demo has one thread, and some of these clients give it much to do.
    Stage::new(hook, label).explicit().versions(&VERSIONS).health_timeout("10s").play(|scene| {
        let first = scene.browser().whoami()?;
        scene.cli(&["flip", "shop", "002"])?;
        let second = scene.browser().whoami()?;
        ensure!(first.version == "001" && second.version == "002", "{first:?}, {second:?}");
        story(scene, [first, second])?;
        scene.all_idle()
    })
}

/// The answer is a 200 of the session's own backend.
fn of(session: &Whoami, response: &Response) -> Result<()> {
    ensure!(response.status == 200, "status {}", response.status);
    ensure!(response.backend() == session.backend, "{} answered for {session:?}", response.backend());
    Ok(())
}
