//! Exclusive flips: two versions never work at the same time, as the applications themselves saw it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use balancer_tests::client::{Connection, Request, Response};
use balancer_tests::lab::Hook;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    d10_two_versions_never_work_at_once,
    d10_on_time_out_everything_is_as_it_was,
    d10_a_hold_ends_without_the_daemon,
    d10_on_time_out_what_is_left_is_cut,
    d10_opaque_connections_are_waited_for_or_closed,
    d10_a_request_whose_client_left_counts_for_a_while,
    d10_a_flip_goes_on_without_whoever_asked_for_it,
    d10_a_flip_goes_on_after_its_daemon,
    d10_a_flip_is_given_up,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];
/// Clients at a time, and flips.
const CLIENTS: usize = 8;
const FLIPS: usize = 50;

/// When an application worked on a request: nanoseconds of the machine's clock, which all namespaces share.
#[derive(Clone, Debug)]
struct Work {
    version: String,
    /// When the client sent it.
    sent: u64,
    began: u64,
    ended: u64,
}

fn work(response: &Response, sent: u64) -> Result<Work> {
    let value = response.header("x-worked").context("the application does not say when it worked")?;
    let (began, ended) = value.split_once('-').context("not two times")?;
    Ok(Work { version: response.version().to_owned(), sent, began: began.parse()?, ended: ended.parse()? })
}

/// The machine's clock, as the application reads it.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn d10_two_versions_never_work_at_once(hook: Hook) -> Result<()> {
    Stage::new(hook, "exclusive").explicit().versions(&VERSIONS).play(|scene| {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |index: usize| {
            let (node, to, stop) = (scene.lab.client().clone(), scene.lab.service(), Arc::clone(&stop));
            std::thread::spawn(move || -> Result<Vec<Work>> {
                let mut done = Vec::new();
                let mut connection = Connection::open(&node, to)?;
                // Half of them connect for every request.
                while !stop.load(Ordering::Relaxed) {
                    // Of several lengths, so that they do not march in step.
                    if index % 2 == 1 {
                        connection = Connection::open(&node, to)?;
                    }
                    let sent = now();
                    let response = connection.get(&format!("/slow?ms={}", 5 + index * 7), None)?;
                    ensure!(response.status == 200, "{response:?}");
                    done.push(work(&response, sent)?);
                }
                Ok(done)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        for flip in 0..FLIPS {
            std::thread::sleep(Duration::from_millis(60));
            let to = if flip % 2 == 0 { "002" } else { "001" };
            let said = scene.cli(&["flip", "shop", to, "--mode", "exclusive"])?;
            ensure!(said.contains("requests were held for"), "{said}");
        }
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        all.sort_by_key(|work| work.began);
        let mut changes = 0;
        let mut drained = 0;
        // How long after the old version's last request those began that were held until then.
        let mut waits = Vec::new();
        let mut latest: Option<Work> = None;
        for work in all {
            if let Some(latest) = &latest
                && latest.version != work.version
            {
                changes += 1;
                ensure!(latest.ended <= work.began, "{latest:?} and {work:?} overlap");
                drained = latest.ended;
            }
            if work.sent < drained {
                waits.push(Duration::from_nanos(work.began - drained));
            }
            if latest.as_ref().is_none_or(|latest| latest.version != work.version || latest.ended < work.ended) {
                latest = Some(work);
            }
        }
        ensure!(changes == FLIPS, "{changes} changes of version in {FLIPS} flips");
        waits.sort_unstable();
        let (held, released) = (waits.len(), scene.counter("request_released")?);
        ensure!(held > FLIPS && released > 0, "{held} were held, {released} were released at once");
        let (median, most) = (waits[held / 2], waits[held * 99 / 100]);
        println!(
            "{FLIPS} flips, {held} held, {released} released; they waited {median:?} (p99 {most:?}) beyond the drain"
        );
        scene.all_idle()
    })
}

fn d10_on_time_out_everything_is_as_it_was(hook: Hook) -> Result<()> {
    Stage::new(hook, "timesout").explicit().versions(&VERSIONS).play(|scene| {
        let mut anna = scene.browser();
        let annas = begins_on(&mut anna, "001")?;
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=3000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let flip = scene.balancer.try_cli(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "700ms"])?;
        let says = String::from_utf8_lossy(&flip.stderr).into_owned();
        ensure!(flip.status.code() == Some(4) && says.contains("1 on 001"), "{says}");
        let audit = std::fs::read_to_string(scene.lab.dir().join("state/audit.log"))?;
        let last = audit.lines().last().context("nothing is written down")?;
        ensure!(last.contains(r#""mode":"exclusive""#) && last.contains(r#""result":"failed""#), "{last}");
        ensure!(scene.active()? == "001");
        let answer = anna.whoami()?;
        ensure!(answer.known && answer.session == annas.session, "{answer:?} after {annas:?}");
        ensure!(slow.receive("GET")?.version() == "001");
        Ok(())
    })
}

/// The daemon dies while it holds: the old version goes on by itself.
fn d10_a_hold_ends_without_the_daemon(hook: Hook) -> Result<()> {
    Stage::new(hook, "holdkilled").explicit().versions(&VERSIONS).play(|scene| {
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=2000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let mut flip = scene
            .balancer
            .command(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "1s"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(300));
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        ensure!(flip.wait()?.code() == Some(5), "the flip did not notice");
        let began = Instant::now();
        begins_on(&mut scene.browser(), "001")?;
        let held = began.elapsed();
        ensure!(held > Duration::from_millis(500) && held < Duration::from_secs(9), "held for {held:?}");
        ensure!(slow.receive("GET")?.version() == "001");
        scene.restart()?;
        begins_on(&mut scene.browser(), "001")?;
        let history = scene.cli(&["history", "shop"])?;
        ensure!(history.contains("was cut off by the end of the daemon"), "{history}");
        // Nothing of it is left: the next one is a flip like all others.
        scene.cli(&["flip", "shop", "002", "--mode", "exclusive"])?;
        begins_on(&mut scene.browser(), "002").map(drop)
    })
}

fn d10_on_time_out_what_is_left_is_cut(hook: Hook) -> Result<()> {
    Stage::new(hook, "cuts").explicit().versions(&VERSIONS).play(|scene| {
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=20000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let cut = ["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "700ms", "--on-timeout", "cut"];
        let began = Instant::now();
        let mut held = scene.browser();
        let held = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            held.whoami()
        });
        let said = scene.cli(&cut)?;
        let took = began.elapsed();
        ensure!(
            said.contains("after 700ms is reset") && said.contains("1 connection of other versions reset"),
            "{said}"
        );
        ensure!((Duration::from_millis(700)..Duration::from_secs(3)).contains(&took), "{took:?}");
        ensure!(slow.receive("GET").is_err(), "it was answered all the same");
        let held = held.join().map_err(|_| anyhow!("a client panicked"))??;
        ensure!(held.version == "002", "{held:?}");
        ensure!(scene.active()? == "002");
        scene.all_idle()
    })
}

fn d10_opaque_connections_are_waited_for_or_closed(hook: Hook) -> Result<()> {
    Stage::new(hook, "opaque").explicit().versions(&VERSIONS).play(|scene| {
        let mut socket = scene.connection()?;
        let request = Request::get("/upgrade").header("Connection", "Upgrade").header("Upgrade", "websocket");
        ensure!(socket.request(&request)?.status == 101);
        let flip = ["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "700ms"];
        let waits = scene.balancer.try_cli(&flip)?;
        ensure!(waits.status.code() == Some(4), "{waits:?}");
        socket.write(b"hello")?;
        ensure!(socket.receive_bytes(5)? == b"hello", "it was closed");
        let began = Instant::now();
        let said = scene.cli(&[&flip[..], &["--opaque", "close"]].concat())?;
        ensure!(said.contains("1 connection of other versions reset"), "{said}");
        ensure!(began.elapsed() < Duration::from_millis(650), "it waited for {:?}", began.elapsed());
        ensure!(socket.receive_bytes(1).is_err(), "it is still open");
        begins_on(&mut scene.browser(), "002").map(drop)
    })
}

fn d10_a_request_whose_client_left_counts_for_a_while(hook: Hook) -> Result<()> {
    Stage::new(hook, "abandons").explicit().versions(&VERSIONS).play(|scene| {
        let leaves = |scene: &Scene| -> Result<()> {
            let mut connection = scene.connection()?;
            connection.send(&Request::get("/slow?ms=1500"))?;
            std::thread::sleep(Duration::from_millis(100));
            // Without a linger time the end is a RST.
            rustix::net::sockopt::set_socket_linger(connection.stream(), Some(Duration::ZERO))?;
            Ok(())
        };
        leaves(scene)?;
        scene.idle("001")?;
        let flip = |version: &'static str| ["flip", "shop", version, "--mode", "exclusive", "--max-hold"];
        let late = scene.balancer.try_cli(&[&flip("002")[..], &["500ms"]].concat())?;
        let says = String::from_utf8_lossy(&late.stderr).into_owned();
        ensure!(late.status.code() == Some(4) && says.contains("whose client went away"), "{says}");
        ensure!(scene.active()? == "001");
        // 001 works on it for 1.5 s in all, and nobody sees that.
        leaves(scene)?;
        let began = Instant::now();
        scene.cli(&[&flip("002")[..], &["10s", "--abandon-after", "2s"]].concat())?;
        ensure!(began.elapsed() > Duration::from_millis(1500), "it waited for {:?} only", began.elapsed());
        // Who says that nobody has to be waited for does not wait.
        let mut connection = scene.connection()?;
        connection.send(&Request::get("/slow?ms=1500"))?;
        std::thread::sleep(Duration::from_millis(100));
        rustix::net::sockopt::set_socket_linger(connection.stream(), Some(Duration::ZERO))?;
        drop(connection);
        let began = Instant::now();
        scene.cli(&[&flip("001")[..], &["10s", "--abandon-after", "0s"]].concat())?;
        ensure!(began.elapsed() < Duration::from_millis(1500), "it waited for {:?}", began.elapsed());
        scene.all_idle()
    })
}

/// Ctrl-C on the command line, in the middle: nothing is left half done.
fn d10_a_flip_goes_on_without_whoever_asked_for_it(hook: Hook) -> Result<()> {
    Stage::new(hook, "flipalone").explicit().versions(&VERSIONS).play(|scene| {
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=1000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let mut flip = scene
            .balancer
            .command(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "20s"])
            .stdout(std::process::Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(400));
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["hold"]["flip_to"] == "002", "{status}");
        flip.kill()?;
        flip.wait()?;
        ensure!(slow.receive("GET")?.version() == "001");
        begins_on(&mut scene.browser(), "002")?;
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["hold"].is_null() && status["active"] == "002", "{status}");
        Ok(())
    })
}

/// The daemon dies in the middle, and another one is there in time: it waits on, flips and lets go; meanwhile requests are held without
/// a gap, and the versions never work at once.
fn d10_a_flip_goes_on_after_its_daemon(hook: Hook) -> Result<()> {
    Stage::new(hook, "flipresumes").explicit().versions(&VERSIONS).play(|scene| {
        let mut slow = scene.connection()?;
        let sent = now();
        slow.send(&Request::get("/slow?ms=9000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let mut flip = scene
            .balancer
            .command(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "60s", "--reason", "new column"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        wait_until("requests are held", Duration::from_secs(5), || {
            Ok(scene.json(&["status", "shop"])?["hold"]["flip_to"] == "002")
        })?;
        let mut held = scene.connection()?;
        let held = std::thread::spawn(move || -> Result<Work> {
            let sent = now();
            work(&held.get("/slow?ms=1", None)?, sent)
        });
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        ensure!(flip.wait()?.code() == Some(5), "the flip did not notice");
        scene.restart()?;
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["hold"]["flip_to"] == "002" && status["active"] == "001", "{status}");
        ensure!(!held.is_finished(), "the hold had a gap");
        let old = work(&slow.receive("GET")?, sent)?;
        let new = held.join().map_err(|_| anyhow!("a client panicked"))??;
        ensure!(old.version == "001" && new.version == "002" && old.ended <= new.began, "{old:?} {new:?}");
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["hold"].is_null() && status["active"] == "002", "{status}");
        let history = scene.cli(&["history", "shop"])?;
        ensure!(history.contains("flip 002 (exclusive)") && history.contains("new column"), "{history}");
        ensure!(scene.cli(&["events", "shop"])?.contains("goes on after the end of a daemon"));
        scene.all_idle()
    })
}

/// Somebody does not want it any more: what was held goes on at once, where it would have gone.
fn d10_a_flip_is_given_up(hook: Hook) -> Result<()> {
    Stage::new(hook, "flipgivenup").explicit().versions(&VERSIONS).play(|scene| {
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=4000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let flip = scene
            .balancer
            .command(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "60s"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        wait_until("requests are held", Duration::from_secs(5), || {
            Ok(scene.json(&["status", "shop"])?["hold"]["flip_to"] == "002")
        })?;
        let mut held = scene.browser();
        let held = std::thread::spawn(move || held.whoami());
        std::thread::sleep(Duration::from_millis(300));
        // Nobody changes meanwhile what it waits for.
        for verb in [&["flip", "shop", "002"][..], &["version", "rm", "shop", "001"], &["rollback", "shop"]] {
            let refused = scene.balancer.try_cli(verb)?;
            let says = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(refused.status.code() == Some(3) && says.contains("balancer abort shop"), "{verb:?}: {says}");
        }
        ensure!(!held.is_finished(), "it was not held");
        let began = Instant::now();
        let said = scene.cli(&["abort", "shop", "--reason", "wrong hour"])?;
        ensure!(said.contains("done:    shop: the exclusive flip to 002 is given up, 001 stays active"), "{said}");
        ensure!(said.contains("requests go on, 1 of them were held"), "{said}");
        ensure!(held.join().map_err(|_| anyhow!("a client panicked"))??.version == "001");
        ensure!(began.elapsed() < Duration::from_secs(2), "only {:?} later", began.elapsed());
        let flip = flip.wait_with_output()?;
        let says = String::from_utf8_lossy(&flip.stderr).into_owned();
        ensure!(flip.status.code() == Some(3) && says.contains("was given up"), "{says}");
        ensure!(slow.receive("GET")?.version() == "001");
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["hold"].is_null() && status["active"] == "001", "{status}");
        // Nothing of it is left.
        scene.cli(&["flip", "shop", "002", "--mode", "exclusive"])?;
        begins_on(&mut scene.browser(), "002")?;
        scene.all_idle()
    })
}
