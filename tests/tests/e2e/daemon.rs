//! The daemon stopped, killed and started again: traffic flows without it, and nothing that is open notices (D14).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Connection, Load, Whoami};
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::curl::Curl;
use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    a_stopped_and_a_killed_daemon_is_not_missed,
    a_restarted_daemon_breaks_and_changes_nothing,
    restarts_under_load_break_nothing,
    neighbours_that_move_while_nobody_looks_are_found,
}

/// Addresses of the client, so that sessions begin on both backends of a version.
const CLIENTS: u8 = 12;

/// D14: stopped and killed.
fn a_stopped_and_a_killed_daemon_is_not_missed(hook: Hook) -> Result<()> {
    Stage::new(hook, "killed").clients(CLIENTS).versions(&[("001", &[1, 2])]).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        let port = anna.local_port()?;

        scene.balancer.process().signal(Signal::STOP)?;
        let pid = scene.balancer.process().pid();
        wait_until("all threads are stopped", Duration::from_secs(5), || stopped(pid))?;
        let before = work_of(pid)?;
        goes_on(&mut anna, &mut annas)?;
        serves_everybody(scene, "stopped")?;
        // Stopped is stopped: not one instruction of the daemon ran, so no byte of a request went through it.
        ensure!(work_of(pid)? == before, "the daemon did something");
        ensure!(stopped(pid)?, "the daemon runs");
        nobody_listens(scene)?;

        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        goes_on(&mut anna, &mut annas)?;
        serves_everybody(scene, "killed")?;
        nobody_listens(scene)?;
        ensure!(anna.local_port()? == port && anna.connections() == 1, "Anna had to connect again");
        scene.restart()?;
        goes_on(&mut anna, &mut annas)?;
        serves_everybody(scene, "restarted")
    })
}

/// D14: restarted.
fn a_restarted_daemon_breaks_and_changes_nothing(hook: Hook) -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        Stage::new(hook, "restarted").hosts(3).play(|scene| {
            let mut people = Vec::new();
            for (host, label) in [(1, "001"), (2, "002"), (3, "003")] {
                if host > 1 {
                    scene.add(label, &[host])?;
                }
                let mut browser = scene.browser();
                let session = begins_on(&mut browser, label)?;
                people.push((browser, session));
            }
            // 003 is held by the flip, 002 active: neither is what a first start would choose.
            scene.cli(&["flip", "shop", "002"])?;
            let source = scene.lab.client().address().to_string();
            let seen = |scene: &Scene| -> Result<_> {
                let explain = |id: &str| scene.json(&["explain", "shop", "--cookie", id, "--source", &source]);
                let explained = people.iter().map(|(_, session)| explain(&session.session));
                let explained = explained.chain([explain("UNKNOWN")]).collect::<Result<Vec<_>>>()?;
                let status = scene.json(&["status", "shop"])?;
                let known = |version: &serde_json::Value| {
                    ["/state", "/generation", "/flows", "/sessions/issued", "/sessions/presented"]
                        .map(|pointer| version.pointer(pointer).cloned())
                };
                let versions: Vec<_> = status["versions"].as_array().into_iter().flatten().map(known).collect();
                Ok((explained, status["active"].clone(), status["previous"].clone(), versions))
            };
            let before = seen(scene)?;

            scene.balancer.process().signal(signal)?;
            scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not end")?;
            scene.restart()?;
            ensure!(seen(scene)? == before, "{:?}\nwas before {signal:?}\n{before:?}", seen(scene)?);
            begins_on(&mut scene.browser(), "002")?;
            for (browser, session) in &mut people {
                goes_on(browser, session)?;
                ensure!(browser.connections() == 1, "{session:?} had to connect again");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// D14, under load.
fn restarts_under_load_break_nothing(hook: Hook) -> Result<()> {
    Stage::new(hook, "restarts").hosts(4).explicit().versions(&[("001", &[1, 2]), ("002", &[3, 4])]).play(|scene| {
        let load = Load { clear_after: Some(20), disconnect_after: Some(7), ..scene.load(8) };
        let load = [load.start(scene.lab.client()), scene.load(8).start(scene.lab.client())];
        for label in ["002", "001", "002"] {
            scene.cli(&["flip", "shop", label])?;
            scene.balancer.process().signal(Signal::KILL)?;
            scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
            scene.restart()?;
            ensure!(scene.active()? == label);
            begins_on(&mut scene.browser(), label)?;
        }
        load.into_iter().try_for_each(|load| load.finish()?.expect_clean())?;
        scene.all_idle()
    })
}

/// The daemon's health checks keep the kernel's neighbours fresh. Without them, a link that was down for a moment must
/// not be the end.
/// N19.
fn neighbours_that_move_while_nobody_looks_are_found(hook: Hook) -> Result<()> {
    Stage::new(hook, "neighbours").play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        for interface in ["b1", "client0"] {
            scene.lab.director().output("ip", &["neighbour", "flush", "dev", interface])?;
        }
        goes_on(&mut anna, &mut annas).context("on an open connection")?;
        begins_on(&mut scene.browser(), "001").context("on a new one")?;
        goes_on(&mut anna, &mut annas)
    })
}

/// New clients are served, their sessions are learned, and what was learned is honoured.
fn serves_everybody(scene: &Scene, when: &str) -> Result<()> {
    let mut sessions: Vec<Whoami> = Vec::new();
    // Each new session from another address: some begin on b1, some on b2.
    for index in 0..CLIENTS {
        let curl = Curl::new(scene.lab, &format!("{when}-{index}")).from(scene.lab, index);
        curl.clear_cookie()?;
        let first = curl.whoami()?;
        ensure!(first.new && curl.whoami()? == Whoami { known: true, new: false, hits: 2, ..first.clone() });
        sessions.push(first);
    }
    let on = |backend: &str| {
        sessions.iter().find(|session| session.backend == backend).context(format!("none on {backend}"))
    };
    // From one address on one connection: only a binding explains that each is answered by its own backend.
    let mut connection = Connection::open(scene.lab.client(), scene.lab.service())?;
    for (hits, session) in [on("b1")?, on("b2")?].into_iter().cycle().take(10).enumerate() {
        let answer: Whoami = connection.get("/whoami", Some(&session.session))?.json()?;
        let hits = 3 + hits as u64 / 2;
        ensure!(answer == Whoami { known: true, new: false, hits, ..session.clone() }, "{answer:?} for {session:?}");
    }
    Ok(())
}

/// What follows the name in the `stat` of each of the process's threads, and its `status`.
fn threads(pid: u32) -> Result<Vec<(Vec<String>, String)>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let stat = fs::read_to_string(task.join("stat"))?;
        // The name, in parentheses, may have blanks.
        let (_, fields) = stat.rsplit_once(')').context("a thread without a name")?;
        let fields = fields.split_whitespace().map(str::to_owned).collect();
        threads.push((fields, fs::read_to_string(task.join("status"))?));
    }
    Ok(threads)
}

/// Whether no thread of the process runs.
fn stopped(pid: u32) -> Result<bool> {
    Ok(threads(pid)?.iter().all(|(stat, _)| stat[0] == "T"))
}

/// What the process has done so far: times and context switches of each of its threads.
fn work_of(pid: u32) -> Result<Vec<String>> {
    let work = threads(pid)?.into_iter().map(|(stat, status)| {
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        // Fields 14 and 15 of proc_pid_stat(5), counted from the third.
        format!("utime {} stime {} {}", stat[11], stat[12], switches.collect::<Vec<_>>().join(" "))
    });
    Ok(work.collect())
}

/// Nobody in the director's network has a TCP socket at the VIP or listens anywhere: userspace could not serve it.
fn nobody_listens(scene: &Scene) -> Result<()> {
    let table = scene.lab.director().output("cat", &["/proc/thread-self/net/tcp"])?;
    let vip = format!("{:08X}:0050", u32::from_ne_bytes(scene.lab.addresses().vip().octets()));
    let suspicious = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(1) == Some(&vip.as_str()) || fields.get(3) == Some(&"0A")
    };
    let found: Vec<_> = table.lines().skip(1).filter(suspicious).collect();
    ensure!(found.is_empty(), "sockets in the director: {found:?}");
    Ok(())
}
