//! Every real client through a flip of each mode and a rollback, while its users go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::clients::crowd::{Crowd, PEOPLE};
use balancer_tests::clients::judge::judge;
use balancer_tests::clients::nginx::KEPT;
use balancer_tests::clients::{Client, KEEPERS, Moves, NEWCOMERS, Timeline, ab, chromium, curl, java, python, wrk};
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::scene::Scene;
use balancer_tests::stage::Stage;

under_both_hooks! {
    with_ab,
    with_aiohttp,
    with_chromium,
    with_curl,
    with_java,
    with_nginx_as_a_pooling_proxy,
    with_requests,
    with_wrk,
}

const VERSIONS: [(&str, &[usize]); 3] = [("001", &[1, 2]), ("002", &[3]), ("003", &[4])];
const USERS: u64 = (KEEPERS + NEWCOMERS) as u64;
/// How long the slowest client may take for them: a virtual machine and a browser have to start first.
const PATIENCE: Duration = Duration::from_secs(40);

fn with_ab(hook: Hook) -> Result<()> {
    Trial::new(Connections::OfRuns).play(hook, "ab", |lab| Ok(Box::new(ab::ab(lab))))
}

fn with_aiohttp(hook: Hook) -> Result<()> {
    Trial::new(Connections::UpTo(USERS)).play(hook, "aiohttp", |lab| Ok(Box::new(python::aiohttp(lab)?)))
}

/// One browser: six connections at most for the keeper, and others for a newcomer, since Chromium shares none between those with and
/// without a cookie; and perhaps some that it opens in case they are needed.
fn with_chromium(hook: Hook) -> Result<()> {
    Trial::new(Connections::UpTo(16)).play(hook, "chromium", |lab| Ok(Box::new(chromium::Chromium::start(lab)?)))
}

fn with_curl(hook: Hook) -> Result<()> {
    Trial::new(Connections::OfRuns).play(hook, "curl", |lab| Ok(Box::new(curl::curl(lab))))
}

fn with_java(hook: Hook) -> Result<()> {
    Trial::new(Connections::UpTo(USERS)).play(hook, "java", |lab| Ok(Box::new(java::http_client(lab)?)))
}

fn with_requests(hook: Hook) -> Result<()> {
    Trial::new(Connections::UpTo(USERS)).play(hook, "requests", |lab| Ok(Box::new(python::requests(lab)?)))
}

/// wrk tries the address with a connection of its own first.
fn with_wrk(hook: Hook) -> Result<()> {
    Trial::new(Connections::UpTo(USERS + 1)).play(hook, "wrk", |lab| Ok(Box::new(wrk::Wrk::start(lab)?)))
}

/// 1,000 sessions mixed over 16 kept-alive connections: every request on its own backend.
fn with_nginx_as_a_pooling_proxy(hook: Hook) -> Result<()> {
    let trial = Trial { answers: 3 * PEOPLE, connections: Connections::UpTo(KEPT as u64) };
    trial.play(hook, "nginx", |lab| Ok(Box::new(Crowd::behind_proxy(lab)?)))
}

/// How many connections a client needs: many connect again without a word when one has been closed.
enum Connections {
    /// So many, from the beginning to the end.
    UpTo(u64),
    /// New ones with each run; the driver has looked at them.
    OfRuns,
}

/// What varies.
struct Trial {
    connections: Connections,
    /// Answers in each period between flips before the next one.
    answers: usize,
}

impl Trial {
    fn new(connections: Connections) -> Self {
        Self { connections, answers: 60 }
    }

    /// 0 errors; a flip for new sessions moves nobody, a forced one everybody at the next request, a rollback those of the bad version.
    fn play(self, hook: Hook, label: &str, start: impl FnOnce(&Lab) -> Result<Box<dyn Client>>) -> Result<()> {
        Stage::new(hook, label).explicit().hosts(4).versions(&VERSIONS).play(|scene| {
            let client = start(scene.lab)?;
            let mut timeline = Timeline::new("001");
            self.wait_for_answers(&*client, &timeline)?;
            flip(scene, &mut timeline, "002", Moves::Nobody, &["flip", "shop", "002"])?;
            self.wait_for_answers(&*client, &timeline)?;
            flip(scene, &mut timeline, "003", Moves::Everybody, &["flip", "shop", "003", "--mode", "forced"])?;
            self.wait_for_answers(&*client, &timeline)?;
            flip(scene, &mut timeline, "002", Moves::OfTheLast, &["rollback", "shop"])?;
            self.wait_for_answers(&*client, &timeline)?;
            let verdict = judge(&client.finish()?, &timeline)?;
            // Those that were under way when a flip began belong to no period.
            ensure!(verdict.periods.iter().all(|answers| *answers > self.answers / 2), "too few answers: {verdict:?}");
            ensure!(verdict.moved > 1 && verdict.versions.len() == 3, "nobody moved: {verdict:?}");
            let opened = scene.counter("flow_begun")?;
            match self.connections {
                Connections::UpTo(most) => ensure!(opened <= most, "{opened} connections instead of {most}"),
                Connections::OfRuns => {}
            }
            println!("{label}: {verdict:?}, {opened} connections");
            scene.all_idle()
        })
    }

    /// Waits until the client's users got enough answers in the present period.
    fn wait_for_answers(&self, client: &dyn Client, timeline: &Timeline) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let verdict = judge(&client.visits()?, timeline)?;
            if *verdict.periods.last().context("there is a period")? >= self.answers {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not {} answers in {PATIENCE:?}: {verdict:?}", self.answers);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn flip(scene: &Scene, timeline: &mut Timeline, to: &str, moves: Moves, command: &[&str]) -> Result<()> {
    timeline.flip(to, moves, || scene.cli(command).map(drop))
}
