//! Hooks: an operator's programs and web addresses at flips.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Request;
use balancer_tests::lab::Hook;
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    a_hook_is_asked_before_and_told_behind,
    d10_a_migration_runs_while_nobody_works,
    d10_a_migration_that_fails_or_takes_too_long_sends_everybody_back,
    d10_a_migration_ends_with_its_daemon,
    what_a_hook_was_not_told_the_next_daemon_tells_it,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

/// A program of the lab that writes down what it is told as `NAME.told`, and then does this.
fn program(scene: &Scene, name: &str, does: &str) -> Result<PathBuf> {
    let path = scene.lab.dir().join(name);
    let told = told(scene, name);
    let script = format!("#!/bin/sh\ncat >>{0}; echo >>{0}\n{does}\n", told.display());
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn told(scene: &Scene, name: &str) -> PathBuf {
    scene.lab.dir().join(format!("{name}.told"))
}

/// What a program was told, document by document.
fn documents(scene: &Scene, name: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(told(scene, name)).unwrap_or_default();
    // The last one may be half written.
    Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// Puts hooks into the daemon's file, and has it read.
fn reload(scene: &mut Scene, hooks: &str) -> Result<()> {
    let text = scene.config.replacen("[[service]]", &format!("{hooks}\n[[service]]"), 1);
    scene.lab.write_config(&text)?;
    scene.cli(&["config", "reload"]).map(drop)
}

/// D21: a flip can be refused, a way back cannot, and both are told.
fn a_hook_is_asked_before_and_told_behind(hook: Hook) -> Result<()> {
    Stage::new(hook, "hooks").explicit().versions(&VERSIONS).play(|scene| {
        let asked = program(scene, "asked", "if test \"$BALANCER_TO\" = 002; then echo not on a Friday; exit 3; fi")?;
        let behind = program(scene, "behind", "echo thanks")?;
        let events = program(scene, "events", "")?;
        // A file that somebody else can write names no hooks.
        let config = scene.lab.dir().join("balancer.toml");
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666))?;
        let hooks = format!(
            "[hooks.pre_flip]\ncommand = [{asked:?}]\ntimeout = \"5s\"\n[hooks.post_flip]\ncommand = [{behind:?}]\n\
             [hooks.event]\ncommand = [{events:?}]\n"
        );
        let refused = reload(scene, &hooks).map_err(|error| format!("{error:#}")).expect_err("taken from anybody");
        ensure!(refused.contains("belongs to root") && refused.contains("mode 666"), "{refused}");
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644))?;
        reload(scene, &hooks)?;

        let planned = scene.cli(&["flip", "shop", "002", "--dry-run"])?;
        ensure!(
            planned.contains("will:    the hook pre-flip is asked first") && planned.contains("(5s at most)"),
            "{planned}"
        );
        ensure!(documents(scene, "asked")?.is_empty(), "a dry run asked");
        for mode in [
            &["--mode", "new-sessions"][..],
            &["--mode", "forced"],
            &["--mode", "exclusive"],
            &["--mode", "percent", "--percent", "5"],
        ] {
            let before = scene.json(&["status", "shop"])?["generation"].clone();
            let output = scene.balancer.try_cli(&[&["flip", "shop", "002", "--confirm", "shop"][..], mode].concat())?;
            let says = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(3) && says.contains("not on a Friday"), "{mode:?}: {says}");
            ensure!(scene.json(&["status", "shop"])?["generation"] == before, "{mode:?} changed something");
        }
        ensure!(documents(scene, "behind")?.is_empty(), "told of what was not begun");
        let document = documents(scene, "asked")?.pop().context("it was told nothing")?;
        ensure!(document["hook"] == "pre-flip" && document["from"] == "001" && document["to"] == "002", "{document}");
        let audit = std::fs::read_to_string(scene.lab.dir().join("state/audit.log"))?;
        let last = audit.lines().last().context("nothing is written down")?;
        ensure!(last.contains("not on a Friday") && last.contains(r#""result":"refused""#), "{last}");

        // Another one agrees. Whoever goes back asks nobody.
        program(scene, "asked", "exit 0")?;
        scene.cli(&["flip", "shop", "002", "--reason", "release"])?;
        program(scene, "asked", "exit 1")?;
        scene.cli(&["rollback", "shop"])?;
        wait_until("it was told of both", Duration::from_secs(5), || Ok(documents(scene, "behind")?.len() == 2))?;
        let told = documents(scene, "behind")?;
        ensure!(told[0]["verb"] == "flip" && told[0]["result"] == "done" && told[0]["reason"] == "release", "{told:?}");
        ensure!(told[1]["verb"] == "rollback" && told[1]["to"] == "001", "{told:?}");
        wait_until("events were told", Duration::from_secs(10), || {
            let told = documents(scene, "events")?;
            let has =
                |text: &str| told.iter().any(|told| told["event"]["text"].as_str().is_some_and(|t| t.contains(text)));
            Ok(has("not on a Friday") && has("rolled back from 002 to 001"))
        })?;

        // One that does not end is ended, and a web address is asked like a program.
        program(scene, "asked", "sleep 60")?;
        reload(scene, &hooks.replace("5s", "300ms"))?;
        let began = Instant::now();
        let output = scene.balancer.try_cli(&["flip", "shop", "002"])?;
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(3) && says.contains("within 300ms"), "{says}");
        ensure!(began.elapsed() < Duration::from_secs(5));
        // It blocks nobody: what else is asked meanwhile is answered.
        let listener = scene.lab.director().run(|| Ok(TcpListener::bind("127.0.0.1:0")?))?;
        let url = format!("http://{}/flips", listener.local_addr()?);
        let server = std::thread::spawn(move || -> Result<String> {
            let (mut stream, _) = listener.accept()?;
            let mut got = Vec::new();
            let mut some = [0; 4096];
            while !String::from_utf8_lossy(&got).contains("\"will\"") {
                let len = stream.read(&mut some)?;
                ensure!(len > 0, "it ends");
                got.extend(&some[..len]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            Ok(String::from_utf8_lossy(&got).into_owned())
        });
        reload(scene, &format!("[hooks.pre_flip]\nurl = \"{url}\"\n"))?;
        scene.cli(&["flip", "shop", "002"])?;
        let got = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
        ensure!(got.starts_with("POST /flips HTTP/1.1") && got.contains("\"service\":\"shop\""), "{got}");
        ensure!(scene.active()? == "002");
        Ok(())
    })
}

fn d10_a_migration_runs_while_nobody_works(hook: Hook) -> Result<()> {
    Stage::new(hook, "migrates").explicit().versions(&VERSIONS).play(|scene| {
        // Its times are of the clock that the applications write theirs in.
        let times = scene.lab.dir().join("times");
        let now = "awk '{printf \"%d\\n\", $1 * 1000}' /proc/uptime";
        let does = format!("{now} >{0}; sleep 0.5; {now} >>{0}", times.display());
        let migration = program(scene, "migration", &does)?;
        reload(scene, &format!("[hooks.during]\ncommand = [{migration:?}]\ntimeout = \"5s\"\n"))?;
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=600"))?;
        std::thread::sleep(Duration::from_millis(100));
        // A hold that is shorter than the hook may take would be no promise.
        let short = scene.balancer.try_cli(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "5s"])?;
        ensure!(short.status.code() == Some(2), "{short:?}");
        let mut late = scene.connection()?;
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            late.get("/slow?ms=1", None)
        });
        let said = scene.cli(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "20s"])?;
        ensure!(said.contains("the hook during is run while requests are held"), "{said}");
        let (old, new) = (slow.receive("GET")?, late.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        ensure!(old.version() == "001" && new.version() == "002");
        let worked = |response: &balancer_tests::client::Response| -> Result<(u64, u64)> {
            let value = response.header("x-worked").context("it does not say when it worked")?;
            let (began, ended) = value.split_once('-').context("not two times")?;
            Ok((began.parse::<u64>()? / 1_000_000, ended.parse::<u64>()? / 1_000_000))
        };
        let times = std::fs::read_to_string(times)?;
        let times: Vec<u64> = times.lines().map(str::parse).collect::<Result<_, _>>()?;
        let ((_, ended), (began, _)) = (worked(&old)?, worked(&new)?);
        // /proc/uptime counts hundredths of a second.
        ensure!(ended <= times[0] + 10 && times[1] <= began + 10, "{ended} {times:?} {began}");
        let document = documents(scene, "migration")?.pop().context("it was told nothing")?;
        ensure!(
            document["hook"] == "during" && document["mode"] == "exclusive" && document["to"] == "002",
            "{document}"
        );
        scene.all_idle()
    })
}

fn d10_a_migration_that_fails_or_takes_too_long_sends_everybody_back(hook: Hook) -> Result<()> {
    Stage::new(hook, "migratesnot").explicit().versions(&VERSIONS).play(|scene| {
        let migration = program(scene, "migration", "echo no such column; exit 1")?;
        let behind = program(scene, "behind", "")?;
        // A service's own hooks come first.
        let of_service =
            format!("[hooks.post_flip]\ncommand = [{behind:?}]\n[hooks.during]\ncommand = [\"/bin/true\"]\n");
        let text = scene.config.replacen("[[service]]", &format!("{of_service}\n[[service]]"), 1);
        let own =
            format!("[service.hooks.during]\ncommand = [{migration:?}]\ntimeout = \"700ms\"\n[[service.version]]");
        scene.lab.write_config(&text.replacen("[[service.version]]", &own, 1))?;
        scene.cli(&["config", "reload"])?;
        for (does, says) in [("echo no such column; exit 1", "no such column"), ("sleep 60", "within 700ms")] {
            program(scene, "migration", does)?;
            let mut held = scene.browser();
            let held = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                held.whoami()
            });
            let output = scene.balancer.try_cli(&["flip", "shop", "002", "--mode", "exclusive"])?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(3) && text.contains(says) && text.contains("as it was"), "{text}");
            ensure!(held.join().map_err(|_| anyhow::anyhow!("a client panicked"))??.version == "001");
            let status = scene.json(&["status", "shop"])?;
            ensure!(status["active"] == "001" && status["hold"].is_null(), "{status}");
            let audit = std::fs::read_to_string(scene.lab.dir().join("state/audit.log"))?;
            ensure!(audit.lines().last().is_some_and(|line| line.contains(says)), "{audit}");
        }
        wait_until("it was told of both", Duration::from_secs(5), || Ok(documents(scene, "behind")?.len() == 2))?;
        let told = documents(scene, "behind")?;
        ensure!(told.iter().all(|told| told["result"] == "refused"), "{told:?}");
        scene.all_idle()
    })
}

/// The daemon dies while a migration runs: so does the migration, the old version goes on, and the next daemon says so.
fn d10_a_migration_ends_with_its_daemon(hook: Hook) -> Result<()> {
    Stage::new(hook, "migrateskilled").explicit().versions(&VERSIONS).play(|scene| {
        let pid = scene.lab.dir().join("pid");
        let migration = program(scene, "migration", &format!("echo $$ >{}; exec sleep 600", pid.display()))?;
        reload(scene, &format!("[hooks.during]\ncommand = [{migration:?}]\ntimeout = \"20s\"\n"))?;
        let mut flip = scene
            .balancer
            .command(&["flip", "shop", "002", "--mode", "exclusive", "--max-hold", "22s"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        wait_until("the migration runs", Duration::from_secs(5), || {
            Ok(std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')))
        })?;
        let mut held = scene.browser();
        let held = std::thread::spawn(move || held.whoami());
        std::thread::sleep(Duration::from_millis(300));
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        ensure!(flip.wait()?.code() == Some(5), "the flip did not notice");
        let running = format!("/proc/{}/stat", std::fs::read_to_string(&pid)?.trim());
        wait_until("the migration has ended", Duration::from_secs(5), || {
            Ok(std::fs::read_to_string(&running).map_or(true, |stat| stat.contains(") Z ")))
        })?;
        ensure!(!held.is_finished(), "the hold did not last");
        scene.restart()?;
        ensure!(held.join().map_err(|_| anyhow::anyhow!("a client panicked"))??.version == "001");
        let history = scene.cli(&["history", "shop"])?;
        ensure!(
            history.contains("was cut off by the end of the daemon")
                && history.contains("the hook `during` was running"),
            "{history}"
        );
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["active"] == "001" && status["hold"].is_null(), "{status}");
        begins_on(&mut scene.browser(), "001").map(drop)
    })
}

/// D21: the daemon dies while the hook behind a flip runs: the next one tells it again, and then no more.
fn what_a_hook_was_not_told_the_next_daemon_tells_it(hook: Hook) -> Result<()> {
    Stage::new(hook, "untold").explicit().versions(&VERSIONS).play(|scene| {
        let behind = program(scene, "behind", "exec sleep 60")?;
        let hooks = format!("[hooks.post_flip]\ncommand = [{behind:?}]\ntimeout = \"100s\"\n");
        reload(scene, &hooks)?;
        scene.cli(&["flip", "shop", "002", "--reason", "release"])?;
        wait_until("it is being told", Duration::from_secs(5), || Ok(documents(scene, "behind")?.len() == 1))?;
        // This one waits for the other.
        scene.cli(&["flip", "shop", "001"])?;
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        program(scene, "behind", "")?;
        scene.config = scene.config.replacen("[[service]]", &format!("{hooks}\n[[service]]"), 1);
        scene.restart()?;
        wait_until("it was told of both", Duration::from_secs(5), || Ok(documents(scene, "behind")?.len() >= 3))?;
        // Who dies between the telling and the writing down tells once more.
        let state = scene.lab.dir().join("state/state.json");
        wait_until("nothing is left to be told", Duration::from_secs(5), || {
            let state: Value = serde_json::from_str(&std::fs::read_to_string(&state)?)?;
            Ok(state["untold"].as_array().is_none_or(Vec::is_empty))
        })?;
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        scene.restart()?;
        std::thread::sleep(Duration::from_millis(500));
        let told = documents(scene, "behind")?;
        let to: Vec<_> = told.iter().map(|told| told["to"].as_str().unwrap_or_default()).collect();
        ensure!(to == ["002", "002", "001"] && told[1]["reason"] == "release", "{told:?}");
        Ok(())
    })
}
