//! An attacker among honest users, behind a pooling proxy and directly: whatever it sends, nobody else's answers change, and no backend sees
//! a request that its sender did not mean.
//!
//! The honest ones come through nginx, which mixes everybody's requests on a few connections, and by themselves, over legs that the
//! director has pooled. The attacker uses both ways, too, with sessions on the same backends.

mod attacker;
mod honest;
mod tricks;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use balancer_tests::client::{Browser, Connection, Request, Whoami};
use balancer_tests::clients::nginx;
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Kind, Scene};
use balancer_tests::stage::Stage;
use balancer_tests::tomcat::Tomcat;

use attacker::Attacker;
use honest::Honest;

under_both_hooks! {
    a_head_that_is_not_followed_moves_nobody_else,
    nobody_is_hurt_by_an_attacker_behind_the_same_proxy,
}

/// Tomcat needs seconds to start, so the other hook is left to the demo.
#[test]
fn nobody_is_hurt_with_tomcat_behind() -> Result<()> {
    play(Hook::Tc, Kind::Tomcat)
}

fn nobody_is_hurt_by_an_attacker_behind_the_same_proxy(hook: Hook) -> Result<()> {
    play(hook, Kind::Demo)
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];
/// Honest users by each way.
const HONEST: usize = 6;
/// Connections of the attacker at a time, by each way.
const ATTACKS: usize = 4;

fn play(hook: Hook, kind: Kind) -> Result<()> {
    Stage::new(hook, "attack").explicit().versions(&VERSIONS).kind(kind).play(|scene| {
        let _proxy = nginx::start(scene.lab)?;
        let node = scene.lab.client();
        let ways = [nginx::ADDRESS, scene.lab.service()];
        let mut honest = Vec::new();
        let mut attackers = Vec::new();
        for label in ["001", "002"] {
            scene.cli(&["flip", "shop", label])?;
            for way in ways {
                for _ in 0..HONEST / 2 {
                    honest.push(Honest::new(Browser::new(node, way), honest.len(), kind == Kind::Demo)?);
                }
                for _ in 0..ATTACKS / 2 {
                    attackers.push(Attacker::new(node, way, attackers.len())?);
                }
            }
        }
        let over = AtomicBool::new(false);
        let sent: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
            let work = |mut honest: Honest| {
                let over = &over;
                scope.spawn(move || honest.ask_until(over).map(|sent| (honest.number, sent)))
            };
            let honest: Vec<_> = honest.into_iter().map(work).collect();
            let attacks: Vec<_> = attackers.into_iter().map(|one| scope.spawn(move || one.attack())).collect();
            let attacks =
                attacks.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("an attacker panicked"))?);
            let attacks: Result<Vec<()>> = attacks.collect();
            over.store(true, Ordering::Relaxed);
            let sent = honest.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a user panicked"))?);
            let sent = sent.collect::<Result<Vec<_>>>()?;
            attacks?;
            anyhow::Ok(sent)
        })?;
        let wanted: Requests = sent.into_iter().map(|(number, sent)| (number.to_string(), sent)).collect();
        ensure!(wanted.values().all(|sent| sent.len() > 100), "too few requests: {wanted:?}");
        let wanted = sorted(wanted);
        let seen = all_seen(scene, &wanted)?;
        for (user, sent) in &wanted {
            let seen = seen.get(user).context("a user was not seen")?;
            let differ = sent.iter().zip(seen).find(|(sent, seen)| sent != seen);
            ensure!(seen == sent, "of user {user}, the backends saw other requests than were sent, first {differ:?}");
        }
        let strangers: Vec<_> = seen.keys().filter(|user| !wanted.contains_key(*user)).collect();
        ensure!(strangers.is_empty(), "requests of nobody: {strangers:?}");
        for reason in tricks::reasons() {
            ensure!(scene.counter(&format!("unframed_{reason}"))? > 0, "{reason} was not counted");
        }
        let pooled = scene.counter("request_pooled_leg")?;
        ensure!(pooled > 0, "no leg was shared");
        scene.all_idle()
    })
}

/// D16: nginx takes heads of 32 KB, and of any number of cookies. A connection on which the director has lost its way is not for
/// anybody else.
fn a_head_that_is_not_followed_moves_nobody_else(hook: Hook) -> Result<()> {
    Stage::new(hook, "longhead").explicit().versions(&VERSIONS).play(|scene| {
        let _proxy = nginx::start(scene.lab)?;
        let mut users = Vec::new();
        for label in ["001", "002"] {
            scene.cli(&["flip", "shop", label])?;
            let mut browser = Browser::new(scene.lab.client(), nginx::ADDRESS);
            let session = browser.whoami()?;
            users.push((browser, session));
        }
        let fields = [("X-Fill", "h".repeat(7_900)), ("X-Fill", "h".repeat(8_150)), ("Cookie", ";".repeat(2_000))];
        for (turn, (name, value)) in fields.iter().cycle().take(9).enumerate() {
            let (browser, _) = &mut users[turn % 2];
            let response = browser.request(Request::get("/nosession").header(name, value))?;
            ensure!(response.status == 200, "a long head is legal, but got {}", response.status);
            for (browser, session) in &mut users {
                let answer = browser.whoami()?;
                let wanted = Whoami { known: true, new: false, hits: session.hits + 1, ..session.clone() };
                ensure!(answer == wanted, "behind {name} of {}: {answer:?} instead of {wanted:?}", value.len());
                *session = answer;
            }
        }
        ensure!(scene.counter("unframed_too_long")? > 0 && scene.counter("unframed_too_complex")? > 0);
        scene.all_idle()
    })
}

/// What each user asked for.
type Requests = BTreeMap<String, Vec<String>>;

/// Tomcat notes a request when its answer is out, which may be after the next one.
fn sorted(mut requests: Requests) -> Requests {
    requests.values_mut().for_each(|asked| asked.sort_unstable());
    requests
}

/// What the backends saw of each honest user, when they have noted as much as was sent, or should have.
fn all_seen(scene: &Scene, wanted: &Requests) -> Result<Requests> {
    let count = |requests: &Requests| requests.values().map(Vec::len).sum::<usize>();
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let seen = sorted(seen(scene)?);
        if count(&seen) >= count(wanted) || Instant::now() >= end {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the backends saw of each honest user.
fn seen(scene: &Scene) -> Result<Requests> {
    let mut seen = Requests::new();
    for host in [1, 2] {
        if scene.kind == Kind::Tomcat {
            for line in Tomcat::access_log(scene.lab, host)?.lines() {
                let (user, asked) = line.split_once('|').with_context(|| format!("the log says {line}"))?;
                if user != "-" {
                    seen.entry(user.to_owned()).or_default().push(asked.to_owned());
                }
            }
        } else {
            let mut connection = Connection::open(scene.lab.client(), scene.lab.application(host))?;
            let mut log: serde_json::Value = connection.get("/log", None)?.json()?;
            let users: Requests = serde_json::from_value(log["users"].take())?;
            for (user, asked) in users {
                seen.entry(user).or_default().extend(asked);
            }
        }
    }
    Ok(seen)
}
