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
pub(crate) fn congestion_controls() -> Result<Vec<&'static str>> {
    let there = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
    let (found, missing): (Vec<_>, Vec<_>) =
        ["cubic", "bbr"].into_iter().partition(|wanted| there.split_whitespace().any(|name| name == *wanted));
    for name in missing {
        println!("left out: this kernel has no {name}, only {there}");
    }
    ensure!(!found.is_empty(), "neither cubic nor bbr, only {there}");
    Ok(found)
}

/// By its route: another namespace's default may only be an algorithm that everybody is allowed.
pub(crate) fn client_uses(scene: &Scene, name: &str) -> Result<()> {
    let addresses = scene.lab.addresses();
    let director = addresses.director().to_string();
    let route = ["route", "replace", &addresses.prefix(), "via", &director, "congctl", name];
    scene.lab.client().output("ip", &route).map(drop)
}

pub(crate) fn backend_uses(scene: &Scene, index: usize, name: &str) -> Result<()> {
    let gateway = scene.lab.addresses().gateway(index).to_string();
    scene.lab.backend(index).output("ip", &["route", "replace", "default", "via", &gateway, "congctl", name]).map(drop)
}

fn play(hook: Hook, label: &str, offloads: Offloads) -> Result<()> {
    stage(hook, label, RelayPlace::Client).offloads(offloads).play(|scene| {
        let names = congestion_controls()?;
        let backends: Vec<_> = (1..=scene.lab.backends().len()).zip(names.iter().cycle()).collect();
        for (index, name) in &backends {
            backend_uses(scene, *index, name)?;
        }
        let sessions = sessions(scene)?;
        for name in &names {
            client_uses(scene, name)?;
            scene.lab.relay()?.become_link(Link::lossy(1.0, 2));
            let took = LOAD.run(scene, &sessions).with_context(|| format!("{name} at the client"))?;
            println!("{name} at the client: {took:?}, {:?}", scene.lab.relay()?.tally()?);
        }
        for (index, name) in backends {
            // Legs in their pools tell what the responses went by.
            let legs = scene.lab.backend(index).output("ss", &["-tin", "state", "established"])?;
            ensure!(legs.contains(name), "backend {index} has no leg with {name}: {legs}");
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
