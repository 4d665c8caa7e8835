//! The CLI and the API: what they say is so, what they promise happens, and what undoes it does.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::balancer::Balancer;
use balancer_tests::client::{Request, Whoami};
use balancer_tests::lab::Hook;
use serde_json::{Value, json};

use crate::curl::Curl;
use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    a_flip_says_what_it_does_and_how_to_undo_it,
    a_rollback_moves_or_keeps_sessions,
    explain_names_where_the_next_request_goes,
    status_counts_what_happens,
    curl_talks_to_the_api,
    wait_for_idle_waits_for_the_last_request,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

/// The rest of each line that begins with `word:`.
fn lines<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| Some(line.strip_prefix(word)?.strip_prefix(':')?.trim())).collect()
}

/// Runs a command that the CLI printed, as a person would paste it.
fn paste(scene: &Scene, command: &str) -> Result<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    let (program, arguments) = words.split_first().context("an empty command")?;
    ensure!(*program == "balancer", "{command} is no command of ours");
    scene.cli(arguments)
}

fn a_flip_says_what_it_does_and_how_to_undo_it(hook: Hook) -> Result<()> {
    Stage::new(hook, "undo").explicit().versions(&VERSIONS).play(|scene| {
        for mode in ["new-sessions", "forced"] {
            let mut anna = scene.browser();
            begins_on(&mut anna, "001")?;
            let dry = scene.cli(&["flip", "shop", "002", "--mode", mode, "--dry-run"])?;
            ensure!(
                scene.active()? == "001" && !lines(&dry, "will").is_empty() && lines(&dry, "done").is_empty(),
                "{dry}"
            );

            let said = scene.cli(&["flip", "shop", "002", "--mode", mode])?;
            ensure!(lines(&said, "will") == lines(&dry, "will"), "{said}\nafter the dry run said\n{dry}");
            ensure!(lines(&said, "done").iter().any(|line| line.contains("002")), "{said}");
            let undo = lines(&said, "undo");
            ensure!(undo.len() == 1, "{said}");
            let stays = anna.whoami()?.version;
            ensure!(stays == if mode == "forced" { "002" } else { "001" }, "{mode}: Anna is on {stays}");

            paste(scene, undo[0])?;
            ensure!(scene.active()? == "001", "{} did not undo it", undo[0]);
            ensure!(anna.whoami()?.version == "001");
            begins_on(&mut scene.browser(), "001")?;
        }
        // Removing and adding versions have an undo, too.
        let said = scene.cli(&["version", "rm", "shop", "002"])?;
        paste(scene, lines(&said, "undo")[0])?;
        scene.healthy("002")?;
        let said = scene.cli(&["version", "add", "shop", "003", "--backend", &scene.lab.application(2).to_string()])?;
        paste(scene, lines(&said, "undo")[0])?;
        let versions = scene.json(&["version", "ls", "shop"])?;
        let labels: Vec<_> =
            versions.as_array().into_iter().flatten().map(|version| version["label"].clone()).collect();
        ensure!(labels == ["001", "002"], "{labels:?}");
        Ok(())
    })
}

/// D18.
fn a_rollback_moves_or_keeps_sessions(hook: Hook) -> Result<()> {
    Stage::new(hook, "rollback").explicit().versions(&VERSIONS).play(|scene| {
        let mut old = scene.browser();
        let mut olds = begins_on(&mut old, "001")?;
        for (how, stays) in [(None, false), (Some("keep"), true), (Some("move"), false)] {
            scene.cli(&["flip", "shop", "002"])?;
            let mut born = scene.browser();
            let mut borns = begins_on(&mut born, "002")?;
            let choice = how.map(|how| ["--sessions", how]);
            scene.cli(&[["rollback", "shop"].as_slice(), choice.as_ref().map_or(&[], |choice| choice)].concat())?;
            if stays {
                goes_on(&mut born, &mut borns)?
            } else {
                begins_on(&mut born, "001").map(drop)?
            }
            goes_on(&mut old, &mut olds)?;
            begins_on(&mut scene.browser(), "001")?;
        }
        Ok(())
    })
}

/// D1: for bound, unknown and moved sessions, from several addresses.
fn explain_names_where_the_next_request_goes(hook: Hook) -> Result<()> {
    const CLIENTS: u8 = 6;
    let versions: [(&str, &[usize]); 2] = [("001", &[1, 2]), ("002", &[3, 4])];
    Stage::new(hook, "explain").clients(CLIENTS).hosts(4).explicit().versions(&versions).play(|scene| {
        let explained = |scene: &Scene, id: Option<&str>, index: u8| -> Result<(Value, Value, String)> {
            let source = scene.lab.addresses().client_nth(index).to_string();
            let cookie = id.map(|id| ["--cookie", id]);
            let cookie = cookie.as_ref().map_or(&[][..], |cookie| cookie);
            let said = scene.json(&[["explain", "shop", "--source", &source].as_slice(), cookie].concat())?;
            Ok((said["version"].clone(), said["backend"].clone(), said["reason"].as_str().unwrap_or("").to_owned()))
        };
        let is = |scene: &Scene, answer: &Whoami, said: &(Value, Value, String)| -> Result<()> {
            let host = answer.backend.trim_start_matches('b').parse()?;
            let address = scene.lab.application(host).to_string();
            ensure!(
                said.0 == json!(answer.version) && said.1 == json!(address),
                "{answer:?}, but explain says {said:?}"
            );
            Ok(())
        };
        let mut people = Vec::new();
        for index in 0..CLIENTS {
            let said = explained(scene, None, index)?;
            let curl = Curl::new(scene.lab, &format!("person{index}")).from(scene.lab, index);
            curl.clear_cookie()?;
            let answer = curl.whoami()?;
            is(scene, &answer, &said).context("without a session")?;
            ensure!(said.2 == "active", "{said:?}");
            people.push((index, curl, answer));
        }
        let reasons = [("new-sessions", "002", "bound"), ("forced", "001", "moved"), ("forced", "002", "moved")];
        for (mode, to, reason) in reasons {
            scene.cli(&["flip", "shop", to, "--mode", mode])?;
            for (index, curl, last) in &mut people {
                let said = explained(scene, Some(&last.session), *index)?;
                ensure!(explained(scene, Some(&last.session), *index)? == said, "asking changed the answer");
                let answer = curl.whoami()?;
                is(scene, &answer, &said).with_context(|| format!("after {mode} to {to}"))?;
                ensure!(said.2 == reason || last.version == to, "{reason} expected: {said:?}");
                *last = answer;
            }
        }
        ensure!(explained(scene, Some("UNKNOWN"), 0)?.2 == "active");
        Ok(())
    })
}

fn status_counts_what_happens(hook: Hook) -> Result<()> {
    Stage::new(hook, "counts").versions(&[("001", &[1])]).play(|scene| {
        let mut browsers: Vec<_> = (0..3).map(|_| scene.browser()).collect();
        browsers.iter_mut().try_for_each(|browser| browser.whoami().map(drop))?;
        browsers[0].whoami()?;
        let status = scene.json(&["status"])?;
        let version = &status["services"][0]["versions"][0];
        ensure!(version["requests"] == 4 && version["issued"] == 3 && version["flows"] == 3, "{version}");
        let sessions = &version["sessions"];
        ensure!(version["in_flight"] == 0 && sessions["issued"] == 2 && sessions["presented"] == 1, "{version}");
        ensure!(version["backends"][0]["condition"] == "up", "{version}");
        let hooks: Vec<_> = status["interfaces"].as_array().into_iter().flatten().map(|i| i["hook"].clone()).collect();
        ensure!(hooks == vec![json!(scene.lab.hook().name()); 3], "{hooks:?}");
        // For people: the same numbers, and nothing that is not text.
        let text = scene.cli(&["status"])?;
        ensure!(text.contains("001") && text.contains("session_issued") && !text.contains('\x1b'), "{text}");
        drop(browsers);
        wait_until("no flow is left", Duration::from_secs(3), || {
            Ok(scene.json(&["status", "shop"])?["versions"][0]["flows"] == 0)
        })
    })
}

fn curl_talks_to_the_api(hook: Hook) -> Result<()> {
    Stage::new(hook, "api").explicit().versions(&VERSIONS).play(|scene| {
        let ask = |arguments: &[&str], path: &str| -> Result<(String, Value)> {
            let mut command = Command::new("curl");
            command.args(["-sS", "--max-time", "5", "-w", "\n%{http_code}", "--unix-socket"]);
            let output =
                command.arg(Balancer::socket(scene.lab)).args(arguments).arg(format!("http://x{path}")).output()?;
            let text = String::from_utf8(output.stdout)?;
            let (body, code) = text.rsplit_once('\n').context("no code")?;
            Ok((code.to_owned(), serde_json::from_str(body).with_context(|| text.clone())?))
        };
        let (code, status) = ask(&[], "/v1/status")?;
        ensure!(code == "200" && status["services"][0]["active"] == "001", "{code} {status}");
        let (code, done) = ask(&["-d", r#"{"version": "002"}"#], "/v1/services/shop/flip")?;
        ensure!(code == "200" && done["active"] == "002" && done["undo"] == "balancer flip shop 001", "{code} {done}");
        begins_on(&mut scene.browser(), "002")?;
        for (arguments, path, expected) in [
            (&["-d", r#"{"version": "009"}"#][..], "/v1/services/shop/flip", "409"),
            (&["-d", r#"{"versoin": "001"}"#], "/v1/services/shop/flip", "400"),
            (&["-d", "nonsense"], "/v1/services/shop/flip", "400"),
            (&[], "/v1/services/shop/flip", "405"),
            (&[], "/v1/nothing", "404"),
        ] {
            let (code, error) = ask(arguments, path)?;
            ensure!(code == expected && error["error"].is_string(), "{path}: {code} {error}");
        }
        ensure!(scene.active()? == "002");
        Ok(())
    })
}

fn wait_for_idle_waits_for_the_last_request(hook: Hook) -> Result<()> {
    Stage::new(hook, "idle").explicit().versions(&VERSIONS).play(|scene| {
        let mut connection = scene.connection()?;
        connection.send(&Request::get("/slow?ms=1000"))?;
        std::thread::sleep(Duration::from_millis(100));
        scene.cli(&["flip", "shop", "002", "--mode", "forced"])?;
        let waits = scene.balancer.try_cli(&["wait", "shop", "--for", "idle=001", "--timeout", "200ms"])?;
        ensure!(waits.status.code() == Some(4), "it did not wait: {waits:?}");
        scene.idle("001")?;
        ensure!(connection.receive("GET")?.version() == "001", "the request was moved");
        ensure!(connection.get("/nosession", None)?.version() == "002", "the next one was not");
        Ok(())
    })
}
