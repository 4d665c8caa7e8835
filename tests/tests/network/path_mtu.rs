//! Links of several MTUs, and one behind which packets have to be smaller than the ends of the connection know.

use anyhow::{Context, Result, ensure};
use balancer_tests::lab::relay::Link;
use balancer_tests::lab::{Family, Hook, RelayPlace};
use balancer_tests::stage::Stage;

use crate::transfer::{Load, sessions, stage};

under_both_hooks! {
    a_small_mtu_on_the_way_to_the_clients,
    a_small_mtu_on_the_way_to_a_backend,
    a_small_mtu_on_the_way_to_a_backend_of_a_gateway,
    a_small_mtu_on_the_way_to_the_clients_over_ipv6,
    a_small_mtu_on_the_way_to_a_backend_over_ipv6,
}

const LOAD: Load = Load { connections: 4, requests: 8, bytes: 200_000 };
/// The least that an IPv6 link has, and so what tunnels are often left with.
const SMALL: Link = Link { mtu: Some(1280), ..Link::PERFECT };

fn play(stage: Stage<'_>) -> Result<()> {
    stage.play(|scene| {
        let sessions = sessions(scene)?;
        let relay = scene.lab.relay()?;
        relay.become_link(SMALL);
        let took = LOAD.run(scene, &sessions).with_context(|| format!("{:?}", relay.tally()))?;
        let tally = relay.tally()?;
        println!("{took:?}, {tally:?}");
        ensure!(tally.too_big > 0, "nothing was too big: {tally:?}");
        // Who was told keeps to it: only what was under way already is refused, not each window anew.
        ensure!(tally.too_big < 500, "packets stay too big: {tally:?}");
        scene.all_idle()
    })
}

/// N20.
fn a_small_mtu_on_the_way_to_the_clients(hook: Hook) -> Result<()> {
    play(stage(hook, "mtuclient", RelayPlace::Client))
}

/// N20.
fn a_small_mtu_on_the_way_to_a_backend(hook: Hook) -> Result<()> {
    play(stage(hook, "mtubackend", RelayPlace::Backend(2)))
}

fn a_small_mtu_on_the_way_to_a_backend_of_a_gateway(hook: Hook) -> Result<()> {
    play(stage(hook, "mtugwbackend", RelayPlace::Backend(2)).gateway())
}

/// N20.
fn a_small_mtu_on_the_way_to_the_clients_over_ipv6(hook: Hook) -> Result<()> {
    play(stage(hook, "mtusixclient", RelayPlace::Client).family(Family::V6))
}

/// N20.
fn a_small_mtu_on_the_way_to_a_backend_over_ipv6(hook: Hook) -> Result<()> {
    play(stage(hook, "mtusixbackend", RelayPlace::Backend(2)).family(Family::V6))
}

/// TC only: the kernel takes no XDP program on a veth whose MTU is more than a page holds.
#[test]
fn jumbo_frames() -> Result<()> {
    for (label, mtu, link) in
        [("jumbo", 9000, Link::lossy(1.0, 2)), ("jumbosmall", 9000, Link { mtu: Some(1280), ..Link::lossy(0.5, 2) })]
    {
        stage(Hook::Tc, label, RelayPlace::Client).mtu(mtu).play(|scene| {
            let sessions = sessions(scene)?;
            scene.lab.relay()?.become_link(link);
            let took = LOAD.run(scene, &sessions).with_context(|| label.to_owned())?;
            println!("{label}: {took:?}, {:?}", scene.lab.relay()?.tally()?);
            scene.all_idle()
        })?;
    }
    Ok(())
}
