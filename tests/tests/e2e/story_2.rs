//! Story 2, parallel versions: a session stays on the version that it began on, a new one gets the highest.

use anyhow::{Result, ensure};
use balancer_tests::lab::Hook;

use crate::curl;
use crate::scene::{Kind, Scene};
use crate::stage::Stage;
use crate::users::{Person, begins_on, goes_on};

under_both_hooks! {
    with_the_demo,
    with_tomcat,
    curl_keeps_its_connection_while_sessions_move,
}

fn with_the_demo(hook: Hook) -> Result<()> {
    Stage::new(hook, "story2").hosts(3).play(|scene| {
        let (anna, bert, carl) = (scene.browser(), scene.browser(), scene.browser());
        story(scene, anna, bert, carl)?;
        scene.all_idle()
    })
}

fn with_tomcat(hook: Hook) -> Result<()> {
    Stage::new(hook, "story2tomcat").hosts(3).kind(Kind::Tomcat).play(|scene| {
        let (anna, bert, carl) = (scene.browser(), scene.browser(), scene.browser());
        story(scene, anna, bert, carl)?;
        // Once more from the start, with curl for the browsers.
        scene.cli(&["version", "rm", "shop", "002"])?;
        let [anna, bert, carl] = curl::people(scene.lab, ["anna", "bert", "carl"])?;
        story(scene, anna, bert, carl)
    })
}

/// The story, sentence by sentence. It leaves 001 and 002.
pub(crate) fn story<P: Person>(scene: &mut Scene, mut anna: P, mut bert: P, mut carl: P) -> Result<()> {
    // 001 runs, two browsers have sessions on it.
    let mut annas = begins_on(&mut anna, "001")?;
    let mut berts = begins_on(&mut bert, "001")?;
    let ports = (anna.port()?, bert.port()?);

    // 002 is added: those two stay on 001, a third browser gets 002.
    scene.add("002", &[2])?;
    goes_on(&mut anna, &mut annas)?;
    goes_on(&mut bert, &mut berts)?;
    let mut carls = begins_on(&mut carl, "002")?;

    // One clears its cookie while its connection stays open: its next request, on the same connection, gets 002.
    anna.clear_cookie()?;
    annas = begins_on(&mut anna, "002")?;
    goes_on(&mut anna, &mut annas)?;

    // 003 is added: three versions run in parallel.
    scene.add("003", &[3])?;
    goes_on(&mut anna, &mut annas)?;
    goes_on(&mut bert, &mut berts)?;
    goes_on(&mut carl, &mut carls)?;

    // The next browser that clears its cookie moves from 001 straight to 003.
    bert.clear_cookie()?;
    berts = begins_on(&mut bert, "003")?;
    goes_on(&mut bert, &mut berts)?;
    goes_on(&mut anna, &mut annas)?;

    // 003 is removed: its users get 002, now the highest; and nobody else notices.
    scene.cli(&["version", "rm", "shop", "003"])?;
    berts = begins_on(&mut bert, "002")?;
    goes_on(&mut bert, &mut berts)?;
    goes_on(&mut anna, &mut annas)?;
    goes_on(&mut carl, &mut carls)?;
    ensure!((anna.port()?, bert.port()?) == ports, "somebody had to connect again");
    Ok(())
}

fn curl_keeps_its_connection_while_sessions_move(hook: Hook) -> Result<()> {
    Stage::new(hook, "story2curl").play(|scene| {
        let [anna] = curl::people(scene.lab, ["anna"])?;
        anna.whoami()?;
        scene.add("002", &[2])?;
        // On one connection a page for everybody, from 002, and one of the session, from 001.
        let begun = scene.counter("flow_begun")?;
        anna.get(&["/nosession", "/whoami"])?;
        ensure!(scene.counter("flow_begun")? == begun + 1, "curl did not use one connection");
        ensure!(anna.whoami()?.hits == 3, "the session did not go on");
        Ok(())
    })
}
