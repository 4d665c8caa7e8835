//! Exclusive flips: two versions never work at the same time, as the applications themselves saw it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use balancer_tests::client::{Connection, Request, Response};
use balancer_tests::lab::Hook;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    d10_two_versions_never_work_at_once,
    d10_on_time_out_everything_is_as_it_was,
    d10_a_hold_ends_without_the_daemon,
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
        begins_on(&mut scene.browser(), "001").map(drop)
    })
}
