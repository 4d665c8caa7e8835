//! Sessions that the table alone does not explain: routes, adoption, ids that change at a login.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Request, Whoami};
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Kind, Scene, wait_until};
use balancer_tests::stage::Stage;
use balancer_tests::under_both_hooks;

use crate::users::{begins_on, goes_on};

under_both_hooks! {
    c29_routes_steer_when_the_table_is_gone,
    c9_unknown_ids_are_adopted_on_request,
    c34_c35_c36_a_login_on_an_old_version,
    c34_a_login_on_a_real_tomcat,
}

/// A reboot of the director of which no snapshot was left.
fn forgets_everybody(scene: &mut Scene) -> Result<()> {
    scene.balancer.power_off()?;
    let state = scene.lab.dir().join("state");
    for entry in fs::read_dir(&state)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains("sessions")) {
            fs::remove_file(path)?;
        }
    }
    scene.restart()?;
    let known = &scene.json(&["session", "ls", "shop"])?["total"];
    ensure!(known == 0, "{known} sessions are known");
    Ok(())
}

fn explained(scene: &Scene, id: &str) -> Result<(String, String)> {
    let source = scene.lab.addresses().client_nth(0).to_string();
    let said = scene.json(&["explain", "shop", "--cookie", id, "--source", &source])?;
    let text = |key: &str| said[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {said}"));
    Ok((text("reason")?, text("backend")?))
}

fn c29_routes_steer_when_the_table_is_gone(hook: Hook) -> Result<()> {
    let versions: [(&str, &[usize]); 2] = [("001", &[1, 2]), ("002", &[3])];
    Stage::new(hook, "routes").hosts(3).explicit().versions(&versions).routed().play(|scene| {
        let (mut anna, mut berta) = (scene.browser(), scene.browser());
        let mut annas = begins_on(&mut anna, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        let mut bertas = begins_on(&mut berta, "002")?;
        ensure!(annas.session.contains(".n") && bertas.session.ends_with(".n3"), "{annas:?} {bertas:?}");
        forgets_everybody(scene)?;
        anna.disconnect();
        berta.disconnect();
        for _ in 0..3 {
            goes_on(&mut anna, &mut annas)?;
            goes_on(&mut berta, &mut bertas)?;
        }
        // On one connection of somebody else's, in turn: a re-bind each time, and still no entry.
        let mut connection = scene.connection()?;
        for last in [&annas, &bertas, &annas] {
            let answer: Whoami = connection.get("/whoami", Some(&last.session))?.json()?;
            ensure!(answer.known && answer.version == last.version && answer.backend == last.backend, "{answer:?}");
        }
        ensure!(scene.json(&["session", "ls", "shop"])?["total"] == 0, "a route made an entry");
        let home = |host: usize| scene.lab.application(host).to_string();
        let host: usize = annas.session.rsplit('n').next().context("no route")?.parse()?;
        ensure!(explained(scene, &annas.session)? == ("route".to_owned(), home(host)));
        ensure!(explained(scene, &bertas.session)? == ("route".to_owned(), home(3)));

        // Everybody moves: a route does not hold its sessions back.
        scene.cli(&["flip", "shop", "002", "--mode", "forced"])?;
        let moved = anna.whoami()?;
        ensure!(moved.version == "002" && moved.new, "{moved:?}");
        ensure!(explained(scene, &annas.session)?.0 == "active");
        scene.all_idle()
    })
}

fn c9_unknown_ids_are_adopted_on_request(hook: Hook) -> Result<()> {
    Stage::new(hook, "adopts").play(|scene| {
        // The application ran before the director came.
        let (mut anna, mut berta) = (scene.browser(), scene.browser());
        let (mut annas, bertas) = (begins_on(&mut anna, "001")?, begins_on(&mut berta, "001")?);
        scene.add("002", &[2])?;
        forgets_everybody(scene)?;
        anna.disconnect();
        berta.disconnect();
        scene.cli(&["service", "adopt", "shop", "001"])?;
        ensure!(scene.json(&["status", "shop"])?["adopt"] == "001");
        ensure!(explained(scene, &annas.session)?.0 == "adopted");
        goes_on(&mut anna, &mut annas)?;
        let kind = |scene: &Scene| Ok::<_, anyhow::Error>(scene.json(&["session", "ls", "shop"])?["sessions"].clone());
        ensure!(kind(scene)?[0]["kind"] == "adopted", "{}", kind(scene)?);
        goes_on(&mut anna, &mut annas)?;
        ensure!(kind(scene)?[0]["kind"] == "presented", "{}", kind(scene)?);
        // Whoever has no id gets what new sessions get.
        begins_on(&mut scene.browser(), "002")?;

        let done = scene.json(&["service", "adopt", "shop", "off"])?;
        ensure!(done["undo"] == "balancer service adopt shop 001", "{done}");
        goes_on(&mut anna, &mut annas)?;
        // Too late.
        let lost = berta.whoami()?;
        ensure!(lost.version == "002" && lost.new && lost.session != bertas.session, "{lost:?}");
        ensure!(scene.counter("session_adopted")? == 1);
        Ok(())
    })
}

/// Requests that were on their way when a user logged in still carry the old id.
fn login(scene: &mut Scene) -> Result<()> {
    scene.config = scene.config.replace("idle = \"30m\"", "idle = \"30m\"\nrename_grace = \"3s\"");
    scene.balancer.power_off()?;
    scene.restart()?;
    let mut anna = scene.browser();
    let begun = begins_on(&mut anna, "001")?;
    ensure!(anna.whoami()?.hits == 2);
    scene.add("002", &[2])?;

    // Connections that are open when it happens, and one that is not.
    let mut parallel = (0..4).map(|_| scene.connection()).collect::<Result<Vec<_>>>()?;
    let login: Whoami = anna.request(Request::get("/login"))?.json()?;
    ensure!(login.version == "001" && login.known && login.hits == 3 && login.session != begun.session, "{login:?}");
    parallel.push(scene.connection()?);
    for connection in &mut parallel {
        let answer: Whoami = connection.get("/whoami", Some(&begun.session))?.json()?;
        // The application has forgotten the id; but its version has not changed.
        ensure!(answer.version == "001" && answer.backend == begun.backend && !answer.known, "{answer:?}");
    }
    ensure!(scene.counter("session_renamed")? == 1, "{}", scene.counter("session_renamed")?);
    let mut last = login.clone();
    goes_on(&mut anna, &mut last)?;

    // The grace ends by itself, whoever comes with the old id meanwhile.
    let mut stranger = scene.connection()?;
    wait_until("the old id is forgotten", Duration::from_secs(20), || {
        thread::sleep(Duration::from_millis(200));
        let answer: Whoami = stranger.get("/whoami", Some(&begun.session))?.json()?;
        Ok(answer.version == "002")
    })?;
    goes_on(&mut anna, &mut last)?;
    scene.all_idle()
}

fn c34_c35_c36_a_login_on_an_old_version(hook: Hook) -> Result<()> {
    Stage::new(hook, "login").play(login)
}

fn c34_a_login_on_a_real_tomcat(hook: Hook) -> Result<()> {
    Stage::new(hook, "loginreal").kind(Kind::Tomcat).play(login)
}
