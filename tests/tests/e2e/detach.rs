//! `detach` takes everything out of the kernel, with the daemon and without; `run` brings it back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Connection;
use balancer_tests::lab::{Hook, Lab};
use rustix::process::Signal;

use crate::programs;
use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    through_the_daemon,
    without_a_daemon,
}

fn through_the_daemon(hook: Hook) -> Result<()> {
    Stage::new(hook, "detach").play(|scene| {
        let said = scene.cli(&["detach"])?;
        ensure!(said.contains("removed") && said.contains("no longer steered"), "{said}");
        scene.balancer.process().wait(Duration::from_secs(5))?.context("the daemon did not end")?;
        comes_back(scene)
    })
}

fn without_a_daemon(hook: Hook) -> Result<()> {
    Stage::new(hook, "detached").play(|scene| {
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        ensure!(attached(scene.lab)? == wanted(scene.lab), "killing the daemon took programs away");
        begins_on(&mut scene.browser(), "001")?;
        let config = scene.lab.dir().join("balancer.toml");
        let mut command = scene.lab.director().command(programs::balancer()?);
        let output = command.arg("detach").arg("--config").arg(config).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        comes_back(scene)
    })
}

/// Nothing is left, nothing is served; then the director is started again, and works.
fn comes_back(scene: &mut Scene) -> Result<()> {
    // The kernel takes links apart a moment after their pins are gone.
    wait_until("no program is attached", Duration::from_secs(5), || Ok(attached(scene.lab)? == 0))?;
    ensure!(!pins(scene.lab).exists(), "{} is still there", pins(scene.lab).display());
    ensure!(Connection::open(scene.lab.client(), scene.lab.service()).is_err(), "somebody still serves");
    let version = scene.lab.application(1);
    ensure!(Connection::open(scene.lab.client(), version)?.get("/health", None)?.status == 200, "routing broke");
    scene.restart()?;
    ensure!(attached(scene.lab)? == wanted(scene.lab) && pins(scene.lab).exists());
    begins_on(&mut scene.browser(), "001").map(drop)
}

/// Where the director of a lab pins.
pub(crate) fn pins(lab: &Lab) -> PathBuf {
    Path::new("/sys/fs/bpf/balancer").join(lab.name())
}

/// How many XDP programs hang on the director's interfaces, by `ip link`'s word. (Debian's bpftool does not know of tcx:
/// whether TC steers is seen by who answers.)
fn attached(lab: &Lab) -> Result<usize> {
    let links: serde_json::Value = serde_json::from_str(&lab.director().output("ip", &["-json", "link", "show"])?)?;
    Ok(links.as_array().context("no links")?.iter().filter(|link| !link["xdp"].is_null()).count())
}

fn wanted(lab: &Lab) -> usize {
    if lab.hook() == Hook::Xdp { lab.interfaces().len() } else { 0 }
}
