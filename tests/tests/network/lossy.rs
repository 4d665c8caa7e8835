//! Loss, delay, disorder and duplicates, between the client and the director and between the director and a backend.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::lab::relay::Link;
use balancer_tests::lab::{Hook, RelayPlace};

use crate::transfer::{Load, sessions, stage};

under_both_hooks! {
    on_the_way_to_the_clients,
    on_the_way_to_a_backend,
    on_the_way_to_the_clients_of_a_gateway,
}

/// Links, and what goes over them in about a second.
fn links() -> [(Link, Load); 7] {
    let load = |connections, requests, bytes| Load { connections, requests, bytes };
    let disorder = Link { held: 5.0, hold: Duration::from_millis(3), doubled: 2.0, ..Link::lossy(0.0, 2) };
    [
        (Link::lossy(1.0, 2), load(4, 8, 150_000)),
        (Link::lossy(5.0, 2), load(4, 8, 30_000)),
        (Link::lossy(1.0, 50), load(4, 2, 60_000)),
        (Link::lossy(5.0, 50), load(4, 2, 20_000)),
        (disorder, load(4, 8, 150_000)),
        (Link { loss: 1.0, seed: 2, ..disorder }, load(4, 8, 100_000)),
        (Link { damaged: 1.0, seed: 3, ..Link::lossy(0.0, 2) }, load(4, 8, 150_000)),
    ]
}

fn play(hook: Hook, label: &str, place: RelayPlace, gateway: bool) -> Result<()> {
    let stage = stage(hook, label, place);
    let stage = if gateway { stage.gateway() } else { stage };
    stage.play(|scene| {
        let sessions = sessions(scene)?;
        let relay = scene.lab.relay()?;
        // What is different behind a gateway is how legs are found, which no delay changes.
        let links = links().into_iter().filter(|(link, _)| !gateway || link.delay < Duration::from_millis(50));
        let mut all_diverted = 0;
        for (link, load) in links {
            let before = relay.tally()?;
            relay.become_link(link);
            let (took, diverted) = load.run_diverted(scene, &sessions).with_context(|| format!("{link:?}"))?;
            // A session leaves a backend that leaves four SYNs in a row unanswered, also if it was the link that lost them: once in ten
            // thousand legs at these rates. It is known, and counted.
            let (silent, down) = (scene.counter("backend_silent")?, scene.counter("version_down")?);
            all_diverted += diverted;
            ensure!(
                all_diverted == 0 || place != RelayPlace::Client && silent > 0 && all_diverted <= down,
                "{all_diverted} answers of other versions, {silent} silent backends, {down} times without a version"
            );
            if diverted > 0 {
                println!("{diverted} answers were of another version, since the link lost four SYNs in a row");
            }
            let after = relay.tally()?;
            println!("{link:?}: {took:?}, {:?}", after);
            ensure!((after.lost > before.lost) == (link.loss > 0.0), "{link:?} lost nothing: {after:?}");
            ensure!((after.doubled > before.doubled) == (link.doubled > 0.0), "{link:?} doubled nothing: {after:?}");
            ensure!((after.damaged > before.damaged) == (link.damaged > 0.0), "{link:?} damaged nothing: {after:?}");
            ensure!((after.held > before.held) == (link.held > 0.0), "{link:?} held nothing: {after:?}");
        }
        relay.become_link(Link::PERFECT);
        // Each request for which there was no leg at hand but the first of its connection; how many of them find the other version's still
        // joined depends on when acknowledgements come.
        let mut moved = 0;
        for how in ["request_rebound", "request_pooled_leg", "request_new_leg"] {
            moved += scene.counter(how)?;
        }
        let moved = moved.saturating_sub(scene.counter("flow_begun")?);
        ensure!(scene.counter("drop_bad_checksum")? > 0, "no damage was noticed");
        ensure!(moved > 40, "only {moved} requests changed the backend on an open connection");
        scene.all_idle()
    })
}

/// N1.
fn on_the_way_to_the_clients(hook: Hook) -> Result<()> {
    play(hook, "lossyclient", RelayPlace::Client, false)
}

fn on_the_way_to_a_backend(hook: Hook) -> Result<()> {
    play(hook, "lossybackend", RelayPlace::Backend(2), false)
}

fn on_the_way_to_the_clients_of_a_gateway(hook: Hook) -> Result<()> {
    play(hook, "lossygateway", RelayPlace::Client, true)
}
