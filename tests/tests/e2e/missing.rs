//! Versions that are missing: gone, or without a healthy backend (C14, D12); and what a client sees when nobody is there.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_tests::client::Request;
use balancer_tests::lab::Hook;

use crate::curl::Curl;
use crate::scene::wait_until;
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    c14_d12_a_missing_version_is_the_active_one_by_default,
    c14_d12_a_missing_version_is_a_503_where_the_config_says_so,
    nobody_is_there,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

fn c14_d12_a_missing_version_is_the_active_one_by_default(hook: Hook) -> Result<()> {
    Stage::new(hook, "missing").explicit().versions(&VERSIONS).play(|scene| {
        let (mut anna, mut bert) = (scene.browser(), scene.browser());
        begins_on(&mut anna, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        scene.kill(1);
        begins_on(&mut anna, "002")?;
        scene.start(1, "001")?;
        scene.healthy("001")?;
        scene.cli(&["flip", "shop", "001"])?;
        begins_on(&mut bert, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        scene.cli(&["version", "rm", "shop", "001"])?;
        begins_on(&mut bert, "002").map(drop)
    })
}

fn c14_d12_a_missing_version_is_a_503_where_the_config_says_so(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "rejects").explicit().versions(&VERSIONS);
    stage.service_lines("missing_version = \"reject\"\n").play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        goes_on(&mut anna, &mut annas)?;
        // Down: a 503 until it is back, at once and when the checks know it; nobody else notices.
        scene.kill(1);
        for wait in [0, 3000] {
            std::thread::sleep(Duration::from_millis(wait));
            let response = scene.connection()?.get("/whoami", Some(&annas.session))?;
            ensure!(response.status == 503 && response.closes(), "{response:?}");
            begins_on(&mut scene.browser(), "002")?;
        }
        // As real clients see it, also with a body that is still on its way.
        let curl = Curl::new(scene.lab, "curl");
        ensure!(curl.status(&["-b", &format!("JSESSIONID={}", annas.session)], "/whoami")? == "503");
        let upload = ["-b", &format!("JSESSIONID={}", annas.session), "--data-binary", &"x".repeat(100_000)];
        ensure!(curl.status(&upload, "/echo")? == "503");
        wait_until("it is an event", Duration::from_secs(3), || {
            Ok(scene.cli(&["events", "shop"])?.contains("answered with a 503: 001 has no healthy backend"))
        })?;
        ensure!(scene.cli(&["events"])?.contains("001 has no healthy backend left"));
        scene.start(1, "001")?;
        scene.healthy("001")?;
        let mut connection = scene.connection()?;
        ensure!(connection.get("/whoami", Some(&annas.session))?.version() == "001");

        // A forced flip moves all the same; a removal is told once.
        let mut bert = scene.browser();
        scene.cli(&["flip", "shop", "001"])?;
        begins_on(&mut bert, "001")?;
        let mut carl = scene.browser();
        let carls = begins_on(&mut carl, "001")?;
        scene.cli(&["flip", "shop", "002", "--mode", "forced"])?;
        begins_on(&mut bert, "002")?;
        scene.cli(&["flip", "shop", "001"])?;
        let mut dora = scene.browser();
        let doras = begins_on(&mut dora, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        scene.cli(&["version", "rm", "shop", "001"])?;
        let mut connection = scene.connection()?;
        ensure!(connection.get("/whoami", Some(&doras.session))?.status == 503);
        let again = scene.connection()?.get("/whoami", Some(&doras.session))?;
        ensure!(again.version() == "002", "{again:?}");
        let moved = scene.connection()?.get("/whoami", Some(&carls.session))?;
        ensure!(moved.status == 503, "a session of a version that is gone: {moved:?}");
        scene.all_idle()
    })
}

fn nobody_is_there(hook: Hook) -> Result<()> {
    Stage::new(hook, "nobody").versions(&[("001", &[1])]).play(|scene| {
        let mut open = scene.connection()?;
        open.get("/nosession", None)?;
        scene.kill(1);
        let response = open.get("/nosession", None)?;
        ensure!(response.status == 503, "on an open connection: {response:?}");
        let response = scene.connection()?.request(&Request::post("/echo", vec![b'x'; 50_000]))?;
        ensure!(response.status == 503, "with a body: {response:?}");
        let response = scene.connection()?.request(&Request::new("HEAD", "/nosession"))?;
        ensure!(response.status == 503 && response.body.is_empty(), "{response:?}");
        scene.start(1, "001")?;
        scene.healthy("001")?;
        begins_on(&mut scene.browser(), "001")?;
        scene.all_idle()
    })
}
