//! Metrics, health and readiness, as Prometheus and a load balancer ask for them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Request;
use balancer_tests::lab::Hook;

use crate::exposition::{Page, parse};
use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    metrics_tell_what_happens,
    ready_is_who_can_serve,
}

pub(crate) const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:9114\"\n";
pub(crate) const PLACE: &str = "127.0.0.1:9114";

/// A new namespace has its loopback down.
pub(crate) fn loopback(scene: &Scene) -> Result<()> {
    scene.lab.director().output("ip", &["link", "set", "lo", "up"]).map(drop)
}

/// Asks the daemon with curl, in the director's namespace: status code, content type and body.
pub(crate) fn ask(scene: &Scene, place: &str, path: &str, options: &[&str]) -> Result<(String, String, String)> {
    let url = format!("http://{place}{path}");
    let written = "\n%{http_code} %{content_type}";
    let arguments = [&["-sS", "--max-time", "10", "-w", written][..], options, &[url.as_str()]].concat();
    let text = scene.lab.director().output("curl", &arguments)?;
    let (body, last) = text.rsplit_once('\n').context("no status")?;
    let (code, content_type) = last.split_once(' ').context("no content type")?;
    Ok((code.to_owned(), content_type.to_owned(), body.to_owned()))
}

pub(crate) fn scrape(scene: &Scene, place: &str) -> Result<Page> {
    let (code, content_type, body) = ask(scene, place, "/metrics", &[])?;
    ensure!(code == "200" && content_type.starts_with("text/plain; version=0.0.4"), "{code} {content_type}");
    for address in [scene.lab.application(1).ip().to_string(), scene.lab.client().address().to_string()] {
        ensure!(!body.contains(&address), "an address is told: {address}");
    }
    parse(&body)
}

fn metrics_tell_what_happens(hook: Hook) -> Result<()> {
    let versions: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];
    Stage::new(hook, "metrics").explicit().versions(&versions).director_lines(METRICS).play(|scene| {
        loopback(scene)?;
        let of = |page: &Page, series: &str| page.get(series).copied().with_context(|| format!("no {series}"));
        let packets = |page: &Page| {
            page.iter().filter(|(name, _)| name.starts_with("balancer_packets_total")).map(|(_, n)| n).sum::<f64>()
        };
        let requests = "balancer_requests_total{service=\"shop\",version=\"001\"}";
        let in_flight = "balancer_requests_in_flight{service=\"shop\",version=\"001\"}";
        let presented = "balancer_version_sessions{service=\"shop\",version=\"001\",kind=\"presented\"}";
        let before = scrape(scene, PLACE)?;
        ensure!(before.len() > 100, "{before:?}");

        let mut people: Vec<_> = (0..3).map(|_| scene.browser()).collect();
        for browser in &mut people {
            begins_on(browser, "001")?;
            browser.whoami()?;
        }
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=2000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let after = scrape(scene, PLACE)?;
        let rise = |series: &str| Ok::<_, anyhow::Error>(of(&after, series)? - of(&before, series)?);
        ensure!(rise(requests)? == 7.0, "{}", rise(requests)?);
        ensure!(rise("balancer_sessions_born_total{service=\"shop\",version=\"001\"}")? >= 3.0);
        ensure!(of(&after, in_flight)? == 1.0 && of(&before, in_flight)? == 0.0);
        ensure!(packets(&after) > packets(&before) + 7.0);
        ensure!(rise("balancer_notes_total{note=\"session_issued\"}")? >= 3.0);
        ensure!(slow.receive("GET")?.version() == "001");
        // Sessions are counted at most once a second.
        wait_until("three sessions are presented", Duration::from_secs(5), || {
            let page = scrape(scene, PLACE)?;
            Ok(of(&page, presented)? == 3.0 && of(&page, in_flight)? == 0.0)
        })?;

        scene.cli(&["flip", "shop", "002", "--mode", "forced"])?;
        let page = scrape(scene, PLACE)?;
        let state = |version: &str, state: &str| {
            of(&page, &format!("balancer_version_state{{service=\"shop\",version=\"{version}\",state=\"{state}\"}}"))
        };
        ensure!(of(&page, "balancer_flips_total{service=\"shop\",mode=\"forced\"}")? == 1.0);
        ensure!(state("002", "active")? == 1.0 && state("001", "active")? == 0.0);
        let status = scene.json(&["status", "shop"])?;
        let generation = status["generation"].as_f64().context("no generation")?;
        ensure!(of(&page, "balancer_service_generation{service=\"shop\"}")? == generation);
        for (path, options, expected) in
            [("/", &[][..], "404"), ("/metrics", &["-X", "POST"], "405"), ("/metrics", &["-I"], "200")]
        {
            let (code, ..) = ask(scene, PLACE, path, options)?;
            ensure!(code == expected, "{path} {options:?}: {code}");
        }
        Ok(())
    })
}

fn ready_is_who_can_serve(hook: Hook) -> Result<()> {
    Stage::new(hook, "ready").hosts(1).versions(&[("001", &[1])]).director_lines(METRICS).play(|scene| {
        loopback(scene)?;
        let is = |scene: &Scene, path: &str, expected: &str, says: &str| -> Result<bool> {
            let (code, _, body) = ask(scene, PLACE, path, &[])?;
            Ok(code == expected && body.contains(says))
        };
        scene.healthy("001")?;
        ensure!(is(scene, "/healthz", "200", "ok")? && is(scene, "/readyz", "200", "ready")?);
        scene.kill(1);
        let patience = Duration::from_secs(10);
        wait_until("it is not ready", patience, || {
            is(scene, "/readyz", "503", "shop: the active version 001 has no healthy backend")
        })?;
        ensure!(is(scene, "/healthz", "200", "ok")?, "who is not ready lives all the same");
        scene.start(1, "001")?;
        wait_until("it is ready again", patience, || is(scene, "/readyz", "200", "ready"))
    })
}
