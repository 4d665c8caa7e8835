//! Floods beside honest clients: SYNs, acknowledgements of handshakes that never were, heads that never end. Whoever is honest is served.

mod visitors;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::flood::{Flood, Kind};
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Scene, wait_until};
use balancer_tests::stage::Stage;

use visitors::{Served, Visitors};

under_both_hooks! {
    a_flood_of_syns_leaves_no_trace,
    a_flood_of_bare_syns_leaves_no_trace,
    a_flood_of_made_up_cookies_leaves_no_trace,
    a_stranger_ends_no_connection,
    slow_heads_take_nothing_from_whole_ones,
}

/// How long it floods in every run, and how long where the medians are compared.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(10);

/// Room for connections: what a flood could fill in no time if each of its packets left something.
const FLOWS: u32 = 4096;

/// N9.
fn a_flood_of_syns_leaves_no_trace(hook: Hook) -> Result<()> {
    flooded(hook, "synflood", Kind::Syn, SHORT, are_answered)
}

fn a_flood_of_bare_syns_leaves_no_trace(hook: Hook) -> Result<()> {
    flooded(hook, "baresyns", Kind::BareSyn, SHORT, are_answered)
}

/// Many of them: the link between two namespaces is the first to be full.
fn are_answered(scene: &Scene, flood: u64, _: &Served, _: &Served) -> Result<()> {
    let answered = scene.counter("syn_answered")?;
    ensure!(answered > flood / 20, "of {flood} SYNs, {answered} were answered");
    println!("{answered} of {flood} SYNs answered");
    Ok(())
}

/// N10.
fn a_flood_of_made_up_cookies_leaves_no_trace(hook: Hook) -> Result<()> {
    flooded(hook, "ackflood", Kind::Ack, SHORT, |scene, flood, _, _| {
        let [resets, dropped] = [scene.counter("unknown_reset")?, scene.counter("drop_unknown")?];
        ensure!(resets + dropped > flood / 2, "of {flood} segments, {resets} were reset and {dropped} dropped");
        // RSTs are limited to a thousand a second.
        let seconds = SHORT.as_secs() + 2;
        ensure!(resets <= 1000 * seconds, "{resets} RSTs in {seconds} s");
        Ok(())
    })
}

/// `cargo test --release --test clients -- --ignored a_flood_of_syns_delays_nobody --nocapture`.
#[test]
#[ignore = "it compares medians, which a busy machine spoils"]
fn a_flood_of_syns_delays_nobody() -> Result<()> {
    for hook in [Hook::Tc, Hook::Xdp] {
        flooded(hook, "synmedian", Kind::Syn, LONG, |_, _, before, during| {
            let (before, during) = (before.median(), during.median());
            ensure!(during < before * 2, "the median was {before:?}, and is {during:?} in the flood");
            Ok(())
        })?;
    }
    Ok(())
}

/// Honest clients alone, and then beside a flood of so long.
fn flooded(
    hook: Hook,
    label: &str,
    kind: Kind,
    time: Duration,
    then: impl Fn(&Scene, u64, &Served, &Served) -> Result<()>,
) -> Result<()> {
    Stage::new(hook, label).flows(FLOWS, "15m").play(|scene| {
        let node = scene.lab.client();
        // Tens of thousands of connections in a minute, for which their ports are kept.
        node.run(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?))?;
        let before = Visitors::start(node, scene.lab.service()).finish_after(time)?;
        let begun = Instant::now();
        let flood = Flood::start(scene.lab, kind)?;
        let during = Visitors::start(node, scene.lab.service()).finish_after(time)?;
        let sent = flood.finish()?;
        let rate = sent as f64 / begun.elapsed().as_secs_f64();
        println!("{hook:?}, {kind:?}: {rate:.0} packets a second from one core; {before}; in the flood {during}");
        ensure!(during.share() >= 0.999, "in the flood, {during}");
        ensure!(during.answers > 20, "in the flood, there were {during}");
        // Each flow that began is an honest client's. One made-up cookie in 16 million is good.
        let flows =
            scene.counter("flow_begun")? + scene.counter("request_new_leg")? + scene.counter("request_pooled_leg")?;
        let honest = 2 * (before.connections + during.connections) + before.answers + during.answers;
        ensure!(flows <= honest + 2, "{flows} flows and legs of {honest}");
        ensure!(scene.counter("drop_flows_full")? == 0, "the table of flows was full");
        then(scene, sent, &before, &during)
    })
}

/// Whoever knows the addresses and ports of a connection, but not its numbers, neither ends it nor says anything in its name. Of RSTs with
/// random numbers, one in two thousand is near the right one.
/// N23.
fn a_stranger_ends_no_connection(hook: Hook) -> Result<()> {
    Stage::new(hook, "stranger").play(|scene| {
        let mut connection = scene.connection()?;
        let session: Whoami = connection.get("/whoami", None)?.json()?;
        let client = (scene.lab.client().address().octets(), connection.local_port()?);
        let flood = Flood::start(scene.lab, Kind::Forged { client })?;
        let end = Instant::now() + SHORT;
        let mut hits = session.hits;
        while Instant::now() < end {
            let answer: Whoami = connection.get("/whoami", Some(&session.session))?.json()?;
            hits += 1;
            let wanted = Whoami { known: true, new: false, hits, ..session.clone() };
            ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
        }
        let sent = flood.finish()?;
        let forged = scene.counter("drop_forged_reset")?;
        println!(
            "{hook:?}: {} answers beside {sent} forged segments, {forged} of them RSTs out of the window",
            hits - session.hits
        );
        ensure!(forged > sent / 4, "of {sent} forged segments, {forged} were RSTs out of the window");
        ensure!(hits > session.hits + 20, "only {} answers", hits - session.hits);
        for reset in ["client_reset", "backend_reset", "client_reset_no_leg"] {
            ensure!(scene.counter(reset)? == 0, "{reset} was counted");
        }
        scene.all_idle()
    })
}

/// Connections that send half a head and then nothing: more of them than there are stashes for parts of heads.
const SLOW: usize = 150;
/// Stashes at the least, half of which are for parts.
const PARTS: u64 = 128;

/// Slowloris. When half of all stashes hold parts of heads, others are not taken until some of these have gone; requests that come as a
/// whole do not notice.
/// N11, N18.
fn slow_heads_take_nothing_from_whole_ones(hook: Hook) -> Result<()> {
    Stage::new(hook, "slowheads").flows(FLOWS, "15m").play(|scene| {
        let (first, rest) = (b"GET /whoami HTTP/1.1\r\nHo", b"st: a\r\n\r\n");
        let mut slow: Vec<Connection> = (0..SLOW).map(|_| scene.connection()).collect::<Result<_>>()?;
        for connection in &mut slow {
            connection.write(first)?;
        }
        wait_until("parts of heads have all stashes that they may have", Duration::from_secs(10), || {
            Ok(scene.counter("drop_stashes_full")? >= SLOW as u64 - PARTS)
        })?;
        let taken = scene.counter("request_head_part")?;
        ensure!(taken > PARTS / 2 && taken <= PARTS, "{taken} heads were begun");
        for _ in 0..200 {
            let answer = scene.connection()?.request(&Request::get("/whoami"))?;
            ensure!(answer.status == 200, "status {}", answer.status);
        }
        // Whoever goes on is served, and makes room for one that waits.
        slow[0].write(rest)?;
        ensure!(slow[0].receive("GET")?.status == 200, "a slow head that ended");
        drop(slow);
        let mut late = scene.connection()?;
        late.write(first)?;
        std::thread::sleep(Duration::from_millis(100));
        late.write(rest)?;
        ensure!(late.receive("GET")?.status == 200, "a head in parts, when the others are gone");
        scene.all_idle()
    })
}
