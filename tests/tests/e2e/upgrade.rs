//! An upgrade to a release whose maps have another layout: sessions move into its maps, links get its programs.
//!
//! There is no balancer of a former layout any more, so one of today is dressed up as one: its pins are moved to where that
//! layout had them, and its keys into a map of the size that they lay in. Entries of layout 1 say when they were last seen instead of
//! when they expire; those of layouts 2 and 3 are what they are now.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, Map, MapData, PerCpuArray};
use balancer_ebpf::layout::Globals;
use balancer_ebpf::verdict::COUNTERS;
use balancer_tests::balancer::Balancer;
use balancer_tests::client::Request;
use balancer_tests::lab::Hook;
use balancer_tests::programs;
use balancer_tests::scene::{Scene, wait_until};
use balancer_tests::stage::Stage;
use balancer_tests::under_both_hooks;
use rustix::process::Signal;

use crate::detach::pins;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    sessions_of_layout_1_move,
    sessions_of_layout_2_move,
    sessions_of_layout_3_move,
    an_upgrade_that_fails_changes_nothing,
    counters_of_another_release_begin_anew,
}

/// The session's time-out in the lab's config, in seconds.
const IDLE: u32 = 30 * 60;
/// Addresses of the client, so that sessions begin on both backends.
const CLIENTS: u8 = 8;

fn sessions_of_layout_1_move(hook: Hook) -> Result<()> {
    sessions_move(hook, "upgrade1", 1)
}

fn sessions_of_layout_2_move(hook: Hook) -> Result<()> {
    sessions_move(hook, "upgrade2", 2)
}

fn sessions_of_layout_3_move(hook: Hook) -> Result<()> {
    sessions_move(hook, "upgrade3", 3)
}

fn sessions_move(hook: Hook, label: &str, layout: u32) -> Result<()> {
    Stage::new(hook, label).clients(CLIENTS).versions(&[("001", &[1, 2])]).play(|scene| {
        let mut people = Vec::new();
        for index in 0..CLIENTS {
            let mut browser = scene.browser();
            scene.come_from(index)?;
            let session = begins_on(&mut browser, "001")?;
            people.push((browser, session));
        }
        let mut open = scene.connection()?;
        ensure!(open.get("/nosession", None)?.status == 200);
        let keys = fs::read(scene.lab.dir().join("state/keys"))?;
        kill(scene)?;
        dress_up(scene, layout)?;
        // The snapshot is not what they come from.
        let snapshot = scene.lab.dir().join("state/sessions.snapshot");
        if snapshot.exists() {
            fs::remove_file(snapshot)?;
        }
        scene.restart()?;

        let status = scene.json(&["status"])?;
        let restored = &status["snapshots"]["restored"];
        ensure!(
            restored["from"] == format!("the maps of layout {layout}") && restored["sessions"] == CLIENTS,
            "{restored}"
        );
        ensure!(!former(scene, layout).exists(), "the former layout's pins are still there");
        ensure!(fs::read(scene.lab.dir().join("state/keys"))? == keys, "another key");
        // Whoever was connected is told that this is over, and does not wait.
        let ended = open.send(&Request::get("/nosession")).and_then(|()| open.receive("GET"));
        ensure!(ended.is_err(), "an open connection went on: {ended:?}");
        for (browser, session) in &mut people {
            browser.disconnect();
            goes_on(browser, session)?;
        }
        // And the other way round: what is pinned now is what a restart adopts.
        kill(scene)?;
        scene.restart()?;
        ensure!(scene.json(&["status"])?["snapshots"]["restored"].is_null());
        people.iter_mut().try_for_each(|(browser, session)| goes_on(browser, session))
    })
}

fn an_upgrade_that_fails_changes_nothing(hook: Hook) -> Result<()> {
    Stage::new(hook, "upgradefails").play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        kill(scene)?;
        dress_up(scene, 1)?;
        // The last of the interfaces cannot take XDP, when the others have got the new programs already.
        let name = format!("hook = \"{}\"", hook.name());
        let good = scene.config.clone();
        let bad = good.replace(&name, "hook = \"xdp\"").replace("\"client0\"", "\"client0\", \"lo\"");
        let failed = Balancer::start(scene.lab, programs::balancer()?, &bad);
        let error = format!("{:#}", failed.err().context("a start with XDP on the loopback succeeded")?);
        ensure!(error.contains("XDP cannot be attached to lo"), "{error}");

        ensure!(former(scene, 1).join("links").read_dir()?.count() > 0, "the former director has no links");
        ensure!(!present(scene).exists(), "the start that failed left pins");
        goes_on(&mut anna, &mut annas).context("on the connection that was open")?;
        begins_on(&mut scene.browser(), "001")?;
        // Nothing stands in the way of the next attempt.
        scene.config = good;
        scene.restart()?;
        wait_until("the former pins are gone", Duration::from_secs(1), || Ok(!former(scene, 1).exists()))?;
        anna.disconnect();
        goes_on(&mut anna, &mut annas)
    })
}

/// A release that counts more than the one before has the same layout: connections go on, and what they do is counted.
fn counters_of_another_release_begin_anew(hook: Hook) -> Result<()> {
    Stage::new(hook, "counters").play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        kill(scene)?;
        let path = present(scene).join("maps/COUNTERS");
        fs::remove_file(&path)?;
        PerCpuArray::<_, u64>::create(COUNTERS - 3, 0)?.pin(&path)?;
        scene.restart()?;
        ensure!(scene.counter("request_same_leg")? == 0, "the counters did not begin anew");
        goes_on(&mut anna, &mut annas).context("on the connection that was open")?;
        ensure!(anna.connections() == 1, "the connection that was open ended");
        ensure!(scene.counter("request_same_leg")? > 0, "nobody counts in the new counters");
        // Those are what the next start adopts.
        kill(scene)?;
        scene.restart()?;
        ensure!(scene.counter("request_same_leg")? > 0, "the counters are not the ones of before");
        goes_on(&mut anna, &mut annas)
    })
}

fn kill(scene: &mut Scene) -> Result<()> {
    scene.balancer.process().signal(Signal::KILL)?;
    scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die").map(drop)
}

fn present(scene: &Scene) -> PathBuf {
    pins(scene.lab).join(format!("v{}", balancer_ebpf::layout::VERSION))
}

fn former(scene: &Scene, layout: u32) -> PathBuf {
    pins(scene.lab).join(format!("v{layout}"))
}

/// Makes another layout of what is pinned.
fn dress_up(scene: &Scene, layout: u32) -> Result<()> {
    fs::rename(present(scene), former(scene, layout)).context("move the pins")?;
    shorten_globals(&former(scene, layout).join("maps/GLOBALS"))?;
    if layout != 1 {
        return Ok(());
    }
    let data = MapData::from_pin(former(scene, layout).join("maps/SESSIONS"))?;
    let buckets = data.info()?.max_entries();
    let mut table: Array<MapData, [u64; 32]> = Map::Array(data).try_into()?;
    for index in 0..buckets {
        let mut bucket = table.get(&index, 0)?;
        if bucket == [0; 32] {
            continue;
        }
        // Of each entry's four words, the third has the times; in its low half is the one that means something else.
        for entry in bucket.chunks_exact_mut(4).filter(|entry| entry[0] != 0) {
            let expires = entry[2] as u32;
            entry[2] = entry[2] & !0xffff_ffff | u64::from(expires.wrapping_sub(IDLE));
        }
        table.set(index, bucket, 0)?;
    }
    Ok(())
}

/// Addresses were shorter, and so was the one value of `GLOBALS`; the keys at its beginning are where they were.
fn shorten_globals(path: &Path) -> Result<()> {
    let today: Array<MapData, [u8; size_of::<Globals>()]> = Map::Array(MapData::from_pin(path)?).try_into()?;
    let mut then = [0; 200];
    then[..48].copy_from_slice(&today.get(&0, 0)?[..48]);
    fs::remove_file(path)?;
    let mut short: Array<MapData, [u8; 200]> = Array::create(1, 0)?;
    short.set(0, then, 0)?;
    short.pin(path)?;
    Ok(())
}
