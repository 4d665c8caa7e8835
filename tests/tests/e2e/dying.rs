//! Backends that die between two requests of a session: the next request is answered by another, without an error.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Expect, Load, Whoami};
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::scene::{Kind, Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    killed_between_two_requests,
    killed_between_two_requests_of_tomcat,
    refused_on_a_new_connection,
    refused_by_a_firewall,
    a_whole_version_dies,
    everything_dies_and_comes_back,
    killed_under_load,
}

pub(crate) const TWO_BACKENDS: [(&str, &[usize]); 1] = [("001", &[1, 2])];

/// The number of a backend's host.
pub(crate) fn host(answer: &Whoami) -> usize {
    if answer.backend == "b1" { 1 } else { 2 }
}

/// The next answer comes from the other backend, in a new session, soon.
pub(crate) fn moves_over(browser: &mut Browser, last: &mut Whoami) -> Result<()> {
    let began = std::time::Instant::now();
    let answer = browser.whoami()?;
    ensure!(answer.new && answer.backend != last.backend, "{answer:?} after {last:?}");
    ensure!(began.elapsed() < Duration::from_secs(2), "only after {:?}", began.elapsed());
    *last = answer;
    goes_on(browser, last)
}

fn killed_between_two_requests(hook: Hook) -> Result<()> {
    Stage::new(hook, "dies").versions(&TWO_BACKENDS).play(one_dies)
}

fn killed_between_two_requests_of_tomcat(hook: Hook) -> Result<()> {
    Stage::new(hook, "diestomcat").versions(&TWO_BACKENDS).kind(Kind::Tomcat).play(one_dies)
}

/// The daemon is stopped, so that no health check helps: the data path finds out on its own, at the first request.
fn one_dies(scene: &mut Scene) -> Result<()> {
    let mut anna = scene.browser();
    let mut annas = begins_on(&mut anna, "001")?;
    goes_on(&mut anna, &mut annas)?;
    let port = anna.local_port()?;
    scene.balancer.process().signal(Signal::STOP)?;
    scene.kill(host(&annas));
    moves_over(&mut anna, &mut annas)?;
    ensure!(anna.local_port()? == port && anna.connections() == 1, "Anna had to connect again");
    begins_on(&mut scene.browser(), "001")?;
    scene.balancer.process().signal(Signal::CONT)?;
    goes_on(&mut anna, &mut annas)
}

fn refused_on_a_new_connection(hook: Hook) -> Result<()> {
    Stage::new(hook, "refuses").versions(&TWO_BACKENDS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        scene.balancer.process().signal(Signal::STOP)?;
        scene.kill(host(&annas));
        anna.disconnect();
        moves_over(&mut anna, &mut annas)?;
        scene.balancer.process().signal(Signal::CONT)?;
        ensure!(scene.counter("backend_refused")? > 0, "nobody refused");
        Ok(())
    })
}

/// The server lives and its connections too, but it takes no new ones.
fn refused_by_a_firewall(hook: Hook) -> Result<()> {
    Stage::new(hook, "firewall").versions(&TWO_BACKENDS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        let rules = "add table ip t; add chain ip t in { type filter hook input priority 0; }; \
                     add rule ip t in tcp dport 8080 tcp flags syn reject with tcp reset";
        let host = scene.lab.backend(host(&annas));
        host.output("nft", &[rules])?;
        // The leg that is there goes on, and on behalf of the next connection too.
        goes_on(&mut anna, &mut annas)?;
        anna.disconnect();
        goes_on(&mut anna, &mut annas)?;
        anna.disconnect();
        host.output("nft", &["add rule ip t in tcp dport 8080 reject with tcp reset"])?;
        moves_over(&mut anna, &mut annas)
    })
}

fn a_whole_version_dies(hook: Hook) -> Result<()> {
    Stage::new(hook, "allofit").hosts(3).versions(&[("001", &[3]), ("002", &[1, 2])]).play(|scene| {
        let (mut anna, mut bert) = (scene.browser(), scene.browser());
        begins_on(&mut anna, "002")?;
        begins_on(&mut bert, "002")?;
        bert.disconnect();
        // At once, before any check could have seen it: both requests find out themselves.
        scene.balancer.process().signal(Signal::STOP)?;
        scene.kill(1);
        scene.kill(2);
        let mut annas = begins_on(&mut anna, "001").context("on an open connection")?;
        let mut berts = begins_on(&mut bert, "001").context("on a new connection")?;
        ensure!(anna.connections() == 1, "Anna had to connect again");
        scene.balancer.process().signal(Signal::CONT)?;
        // Newest means newest healthy (C6); and when it heals, new sessions get it again.
        wait_until("001 is active", Duration::from_secs(10), || Ok(scene.active()? == "001"))?;
        scene.start(1, "002")?;
        wait_until("002 is active", Duration::from_secs(10), || Ok(scene.active()? == "002"))?;
        begins_on(&mut scene.browser(), "002")?;
        goes_on(&mut anna, &mut annas)?;
        goes_on(&mut bert, &mut berts)
    })
}

/// Nobody is left: a clear end, no hanging; and service as soon as there is somebody again.
fn everything_dies_and_comes_back(hook: Hook) -> Result<()> {
    Stage::new(hook, "everything").versions(&TWO_BACKENDS).play(|scene| {
        let mut anna = scene.browser();
        begins_on(&mut anna, "001")?;
        scene.kill(1);
        scene.kill(2);
        let began = std::time::Instant::now();
        ensure!(anna.whoami().is_err() && scene.browser().whoami().is_err(), "who was that?");
        ensure!(began.elapsed() < Duration::from_secs(2), "the end came after {:?} only", began.elapsed());
        scene.start(2, "001")?;
        scene.healthy("001")?;
        begins_on(&mut scene.browser(), "001")?;
        scene.all_idle()
    })
}

/// Two of four backends go and come again. A request that is being worked on dies with its server: at most one for each
/// browser and death. Whoever comes later sees no error.
fn killed_under_load(hook: Hook) -> Result<()> {
    Stage::new(hook, "dyingload").hosts(4).versions(&[("001", &[1, 2]), ("002", &[3, 4])]).play(|scene| {
        let pause = Duration::from_millis(20);
        let load =
            |scene: &Scene, disconnect_after| Load { expect: Expect::Moves, pause, disconnect_after, ..scene.load(6) };
        let running = [None, Some(3)].map(|after| load(scene, after).start(scene.lab.client()));
        let deaths = [3, 4, 3];
        for dies in deaths {
            std::thread::sleep(Duration::from_millis(300));
            scene.kill(dies);
            std::thread::sleep(Duration::from_millis(300));
            scene.start(dies, "002")?;
        }
        for load in running {
            let tally = load.finish()?;
            ensure!(tally.wrong == 0 && tally.errors <= 6 * deaths.len() as u64, "{tally:#?}");
            ensure!(tally.slowest < Duration::from_secs(3), "somebody had to wait for {:?}", tally.slowest);
            eprintln!("{} errors in {} requests", tally.errors, tally.responses);
        }
        scene.all_idle()
    })
}
