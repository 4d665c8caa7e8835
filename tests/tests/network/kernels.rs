//! What kernels do differently: congestion control, and what they leave to their network cards.

use anyhow::{Context, Result, ensure};
use balancer_tests::lab::relay::Link;
use balancer_tests::lab::{Hook, Offloads, RelayPlace};
use balancer_tests::scene::Scene;

use crate::transfer::{Load, sessions, stage};

under_both_hooks! {
    with_offloads,
    without_offloads,
}

const LOAD: Load = Load { connections: 4, requests: 4, bytes: 300_000 };

/// Those that are asked for and that this kernel has. It always has one: the one that is in use.
fn congestion_controls() -> Result<Vec<&'static str>> {
    let there = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
    let (found, missing): (Vec<_>, Vec<_>) =
        ["cubic", "bbr"].into_iter().partition(|wanted| there.split_whitespace().any(|name| name == *wanted));
    for name in missing {
        println!("left out: this kernel has no {name}, only {there}");
    }
    ensure!(!found.is_empty(), "neither cubic nor bbr, only {there}");
    Ok(found)
}

/// By the routes, since another namespace's default may only be an algorithm that everybody is allowed.
fn use_everywhere(scene: &Scene, name: &str) -> Result<()> {
    let addresses = scene.lab.addresses();
    let director = addresses.director().to_string();
    let client = ["route", "replace", &addresses.prefix(), "via", &director, "congctl", name];
    scene.lab.client().output("ip", &client)?;
    for (node, index) in scene.lab.backends().iter().zip(1..) {
        let gateway = addresses.gateway(index).to_string();
        node.output("ip", &["route", "replace", "default", "via", &gateway, "congctl", name])?;
    }
    Ok(())
}

fn play(hook: Hook, label: &str, offloads: Offloads) -> Result<()> {
    stage(hook, label, RelayPlace::Client).offloads(offloads).play(|scene| {
        let sessions = sessions(scene)?;
        for name in congestion_controls()? {
            use_everywhere(scene, name)?;
            scene.lab.relay()?.become_link(Link::lossy(1.0, 2));
            let took = LOAD.run(scene, &sessions).with_context(|| name.to_owned())?;
            // Legs in their pools tell.
            let legs = scene.lab.backend(1).output("ss", &["-tin", "state", "established"])?;
            ensure!(legs.contains(name), "no leg has {name}: {legs}");
            println!("{name}: {took:?}, {:?}", scene.lab.relay()?.tally()?);
        }
        scene.all_idle()
    })
}

fn with_offloads(hook: Hook) -> Result<()> {
    play(hook, "offloads", Offloads::On)
}

fn without_offloads(hook: Hook) -> Result<()> {
    play(hook, "nooffloads", Offloads::Off)
}
