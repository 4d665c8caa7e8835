//! A reboot of the director: the kernel has nothing any more, and sessions come back from the snapshot on the disk.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Connection, Whoami};
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Scene, wait_until};
use balancer_tests::stage::Stage;
use balancer_tests::under_both_hooks;
use rustix::process::Signal;
use serde_json::Value;

use crate::users::{begins_on, goes_on};

under_both_hooks! {
    ten_thousand_sessions_keep_their_backends,
    a_damaged_snapshot_is_kept_aside,
    a_snapshot_that_was_being_written_is_none,
    files_that_are_lost_are_missed_as_little_as_can_be,
}

/// Clients that make requests at a time, each on one connection.
const CLIENTS: usize = 4;
/// Addresses of the client, so that sessions begin on both backends of a version.
const ADDRESSES: u8 = 8;

fn ten_thousand_sessions_keep_their_backends(hook: Hook) -> Result<()> {
    let versions: [(&str, &[usize]); 3] = [("001", &[1, 2]), ("002", &[3]), ("003", &[4])];
    let stage = Stage::new(hook, "reboot").hosts(4).clients(ADDRESSES).explicit().versions(&versions);
    stage.play(|scene| {
        let mut sessions = Vec::new();
        for (index, label) in
            [(0..ADDRESSES, "001"), (0..2, "002")].into_iter().flat_map(|(at, l)| at.map(move |i| (i, l)))
        {
            if scene.active()? != label {
                scene.cli(&["flip", "shop", label])?;
            }
            scene.come_from(index)?;
            sessions.extend(begin(scene, 1000, label)?);
        }
        let backends: std::collections::BTreeSet<&str> = sessions.iter().map(|session| &*session.backend).collect();
        ensure!(sessions.len() == 10_000 && backends.len() == 3, "{} sessions on {backends:?}", sessions.len());
        // Of a version that will be gone.
        scene.cli(&["flip", "shop", "003"])?;
        let gone = begin(scene, 200, "003")?;
        scene.cli(&["flip", "shop", "002"])?;
        let keys = fs::read(scene.lab.dir().join("state/keys"))?;

        let said = scene.json(&["snapshot"])?;
        ensure!(said["sessions"] == 10_200 && PathBuf::from(said["path"].as_str().unwrap_or("")).exists(), "{said}");
        scene.cli(&["version", "rm", "shop", "003"])?;
        scene.balancer.power_off()?;
        // The kernel takes links apart a moment after their pins are gone.
        wait_until("nobody serves", Duration::from_secs(5), || Ok(scene.connection().is_err()))?;
        scene.restart()?;

        let restored = restored(scene)?;
        ensure!(restored["sessions"] == 10_000 && restored["gone"] == gone.len(), "{restored}");
        ensure!(scene.cli(&["status"])?.contains("restored: 10000 sessions from a snapshot of 10200"));
        ensure!(fs::read(scene.lab.dir().join("state/keys"))? == keys, "another key");
        ensure!(scene.active()? == "002");
        go_on(scene, &sessions)?;
        begins_on(&mut scene.browser(), "002")?;

        // A stop in order needs nobody to ask for a snapshot: what was learned since is there after the next reboot.
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "002")?;
        scene.balancer.process().signal(Signal::TERM)?;
        scene.balancer.process().wait(Duration::from_secs(10))?.context("it does not end")?;
        scene.balancer.power_off()?;
        scene.restart()?;
        anna.disconnect();
        goes_on(&mut anna, &mut annas)
    })
}

fn a_damaged_snapshot_is_kept_aside(hook: Hook) -> Result<()> {
    Stage::new(hook, "damaged").play(|scene| {
        let mut anna = scene.browser();
        let annas = begins_on(&mut anna, "001")?;
        scene.cli(&["snapshot"])?;
        scene.balancer.power_off()?;
        let path = snapshot(scene);
        let mut bytes = fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes)?;
        scene.restart()?;

        let problem = restored(scene)?["problem"].as_str().unwrap_or_default().to_owned();
        ensure!(problem.contains("damaged") && problem.contains("without sessions"), "{problem}");
        ensure!(scene.cli(&["status"])?.contains(&format!("warning: {problem}")), "status does not say so");
        ensure!(scene.balancer.process().log().contains(&problem), "the log does not say so");
        ensure!(fs::read(path.with_extension("snapshot.bad"))? == bytes, "it is not kept");
        // Everybody is served, and begins anew.
        anna.disconnect();
        let answer = anna.whoami()?;
        ensure!(answer.hits == annas.hits + 1 || answer.new, "{answer:?}");
        scene.cli(&["snapshot"])?;
        scene.balancer.power_off()?;
        scene.restart()?;
        ensure!(restored(scene)?["problem"].is_null(), "{}", restored(scene)?);
        let mut answer = Whoami { new: false, known: true, ..answer };
        anna.disconnect();
        goes_on(&mut anna, &mut answer)
    })
}

fn a_snapshot_that_was_being_written_is_none(hook: Hook) -> Result<()> {
    Stage::new(hook, "torn").hosts(2).clients(ADDRESSES).versions(&[("001", &[1, 2])]).play(|scene| {
        // A table that takes a moment to read: a quarter of a gigabyte. Table sizes change by a detach.
        scene.cli(&["detach"])?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("the daemon did not end")?;
        scene.config = scene.config.replace("sessions = 65536", "sessions = 4194304\nsnapshot.every = \"never\"");
        scene.restart()?;
        let sessions = begin(scene, 500, "001")?;
        scene.cli(&["snapshot"])?;
        let late = begin(scene, 100, "001")?;

        let unfinished = scene.lab.dir().join("state/.sessions.snapshot.new");
        let caught = (0..20).find_map(|_| {
            // It will say that the daemon went away.
            let mut asked = scene.balancer.command(&["snapshot"]).stderr(Stdio::null()).spawn().ok()?;
            let deadline = Instant::now() + Duration::from_secs(2);
            while !unfinished.exists() && Instant::now() < deadline {
                thread::sleep(Duration::from_micros(200));
            }
            let caught = scene.balancer.process().signal(Signal::STOP).is_ok() && unfinished.exists();
            if !caught {
                scene.balancer.process().signal(Signal::CONT).ok()?;
            } else {
                scene.balancer.power_off().ok()?;
            }
            asked.wait().ok()?;
            caught.then_some(())
        });
        caught.context("no snapshot was caught in the middle")?;
        ensure!(unfinished.exists(), "it was finished after all");
        scene.restart()?;
        ensure!(!unfinished.exists(), "what was not finished is still there");
        let restored = restored(scene)?;
        ensure!(restored["sessions"] == sessions.len() && restored["problem"].is_null(), "{restored}");
        go_on(scene, &sessions)?;
        // Nobody knows these any more; they are served all the same.
        let mut connection = scene.connection()?;
        for session in &late {
            let answer = connection.get("/whoami", Some(&session.session))?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        Ok(())
    })
}

fn files_that_are_lost_are_missed_as_little_as_can_be(hook: Hook) -> Result<()> {
    Stage::new(hook, "lost").play(|scene| {
        let state = scene.lab.dir().join("state");
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        let generation = |scene: &Scene| -> Result<Option<u64>> {
            Ok(scene.json(&["status", "shop"])?["versions"][0]["generation"].as_u64())
        };
        let before = generation(scene)?;

        // Without the keys: the one that counts is in the snapshot, too.
        scene.cli(&["snapshot"])?;
        let keys = fs::read(state.join("keys"))?;
        scene.balancer.power_off()?;
        fs::remove_file(state.join("keys"))?;
        scene.restart()?;
        ensure!(restored(scene)?["sessions"] == 1, "{}", restored(scene)?);
        ensure!(fs::read(state.join("keys"))?[..16] == keys[..16], "another session key");
        anna.disconnect();
        goes_on(&mut anna, &mut annas)?;

        // Without the state, nobody knows what the bindings mean, and they must not come to mean something else.
        scene.cli(&["snapshot"])?;
        scene.balancer.power_off()?;
        fs::remove_file(state.join("state.json"))?;
        scene.restart()?;
        ensure!(restored(scene)?["gone"] == 1, "{}", restored(scene)?);
        ensure!(generation(scene)? > before, "a generation was used twice");
        begins_on(&mut scene.browser(), "001").map(drop)
    })
}

/// Begins so many sessions, each by a request of its own.
fn begin(scene: &Scene, count: usize, version: &str) -> Result<Vec<Whoami>> {
    let all = many(scene, &vec![(); count], |connection, ()| {
        let answer: Whoami = connection.get("/whoami", None)?.json()?;
        ensure!(answer.new && answer.version == version, "{answer:?} for a new session on {version}");
        Ok(answer)
    })?;
    Ok(all)
}

/// Every session goes on where it began.
fn go_on(scene: &Scene, sessions: &[Whoami]) -> Result<()> {
    many(scene, sessions, |connection, session| {
        let answer: Whoami = connection.get("/whoami", Some(&session.session))?.json()?;
        let wanted = Whoami { known: true, new: false, hits: session.hits + 1, ..session.clone() };
        ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
        Ok(())
    })
    .map(drop)
}

/// Does something for each item, by several clients on a connection each; neighbouring items meet on one connection.
fn many<T: Sync, A: Send>(
    scene: &Scene,
    items: &[T],
    request: impl Fn(&mut Connection, &T) -> Result<A> + Sync,
) -> Result<Vec<A>> {
    let (request, client, service) = (&request, scene.lab.client(), scene.lab.service());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|worker| {
                let own = items.iter().skip(worker).step_by(CLIENTS);
                scope.spawn(move || {
                    let mut connection = Connection::open(client, service)?;
                    own.map(|item| request(&mut connection, item)).collect::<Result<Vec<A>>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn snapshot(scene: &Scene) -> PathBuf {
    scene.lab.dir().join("state/sessions.snapshot")
}

/// What the start says that it brought back.
fn restored(scene: &Scene) -> Result<Value> {
    Ok(scene.json(&["status"])?["snapshots"]["restored"].clone())
}
