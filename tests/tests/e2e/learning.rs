//! Learning: a session is bound before the response that issues it reaches the client (D8), however heads are cut.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Expect, Load, Request, Response, Whoami};
use balancer_tests::lab::Hook;

use crate::scene::Scene;
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    the_first_response_binds_before_it_arrives,
    sessions_born_during_flips_stay,
    the_list_of_sessions_shows_each,
    a_session_that_ended_is_unknown,
    response_heads_of_several_segments,
    request_heads_of_several_segments,
    request_heads_in_pieces,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

/// D8: the only request that could tell comes right behind the response: on a new connection, after a flip.
fn the_first_response_binds_before_it_arrives(hook: Hook) -> Result<()> {
    Stage::new(hook, "first").explicit().versions(&VERSIONS).play(|scene| {
        for (born, other) in [("001", "002"), ("002", "001")].into_iter().cycle().take(10) {
            let (mut stays, mut connects) = (scene.browser(), scene.browser());
            let (mut first, mut second) = (begins_on(&mut stays, born)?, begins_on(&mut connects, born)?);
            scene.cli(&["flip", "shop", other])?;
            goes_on(&mut stays, &mut first)?;
            connects.disconnect();
            goes_on(&mut connects, &mut second)?;
        }
        Ok(())
    })
}

/// D6, D8: every session is presented once, at once, on another connection, while flips go on all the time. A request that
/// was decided by a mix of two policies would be answered by a version that its session was not born on.
fn sessions_born_during_flips_stay(hook: Hook) -> Result<()> {
    Stage::new(hook, "born").explicit().versions(&VERSIONS).play(|scene| {
        let load = Load { clear_after: Some(2), disconnect_after: Some(1), expect: Expect::Stays, ..scene.load(8) };
        let load = load.start(scene.lab.client());
        for label in ["002", "001"].into_iter().cycle().take(60) {
            scene.cli(&["flip", "shop", label])?;
        }
        let tally = load.finish()?;
        tally.expect_clean()?;
        ensure!(tally.versions.len() == 2 && tally.sessions > 100, "too little happened: {tally:?}");
        Ok(())
    })
}

fn the_list_of_sessions_shows_each(hook: Hook) -> Result<()> {
    Stage::new(hook, "list").play(|scene| {
        let list = |scene: &Scene| scene.json(&["session", "ls", "shop"]);
        let mut browsers: Vec<_> = (0..5).map(|_| scene.browser()).collect();
        for (number, browser) in (1..).zip(&mut browsers) {
            begins_on(browser, "001")?;
            ensure!(list(scene)?["total"] == number, "after {number} first responses: {}", list(scene)?);
        }
        let kinds = |scene: &Scene| -> Result<Vec<String>> {
            let listed = list(scene)?["sessions"].as_array().context("no list")?.clone();
            let address = scene.lab.application(1).to_string();
            ensure!(listed.iter().all(|session| session["version"] == "001" && session["backend"] == address));
            let mut kinds: Vec<_> = listed.iter().map(|session| session["kind"].to_string()).collect();
            kinds.sort();
            Ok(kinds)
        };
        ensure!(kinds(scene)? == [r#""issued""#; 5]);
        browsers[0].whoami()?;
        ensure!(kinds(scene)? == [[r#""issued""#; 4].as_slice(), &[r#""presented""#]].concat());
        // The id itself is nowhere in it.
        let id = browsers[0].session().context("a cookie")?;
        ensure!(!list(scene)?.to_string().to_lowercase().contains(&id[..8].to_lowercase()), "an id leaked");
        Ok(())
    })
}

/// C16: the server deletes the cookie, and with it goes the binding; made-up ids change no table (D13).
fn a_session_that_ended_is_unknown(hook: Hook) -> Result<()> {
    Stage::new(hook, "ended").play(|scene| {
        let mut anna = scene.browser();
        let begun = begins_on(&mut anna, "001")?;
        scene.add("002", &[2])?;
        anna.request(Request::post("/clear", ""))?;
        ensure!(scene.json(&["session", "ls", "shop"])?["total"] == 0, "the binding is still there");
        // Somebody kept the id: it counts as unknown, and is not taken over.
        let mut connection = scene.connection()?;
        for id in [begun.session.as_str(), "0123456789ABCDEF0123456789ABCDEF"] {
            let answer: Whoami = connection.get("/whoami", Some(id))?.json()?;
            ensure!(answer.version == "002" && answer.new && answer.session != id, "{answer:?}");
        }
        ensure!(scene.json(&["session", "ls", "shop"])?["total"] == 2, "made-up ids were bound");
        Ok(())
    })
}

fn response_heads_of_several_segments(hook: Hook) -> Result<()> {
    Stage::new(hook, "longheads").play(|scene| {
        let mut issued = Vec::new();
        for padding in ["pad=5000", "before=5000", "pad=7800", "before=7800", "before=1400", "before=2860"] {
            let mut connection = scene.connection()?;
            let response = connection.get(&format!("/whoami?{padding}"), None)?;
            issued.push((padding, response.set_cookie("JSESSIONID").context("no cookie")?, response.json::<Whoami>()?));
        }
        scene.add("002", &[2])?;
        for (padding, id, begun) in issued {
            let answer: Whoami = scene.connection()?.get("/whoami", Some(&id))?.json()?;
            ensure!(
                answer == Whoami { known: true, new: false, hits: 2, ..begun },
                "issued with {padding}: {answer:?}"
            );
        }
        Ok(())
    })
}

/// A session on 001, while 002 is active.
fn bound(scene: &mut Scene) -> Result<Whoami> {
    let begun = begins_on(&mut scene.browser(), "001")?;
    scene.add("002", &[2])?;
    Ok(begun)
}

fn request_heads_of_several_segments(hook: Hook) -> Result<()> {
    Stage::new(hook, "longrequests").play(|scene| {
        let begun = bound(scene)?;
        let mut connection = scene.connection()?;
        for (number, filler) in (2..).zip([10, 1300, 1400, 1448, 5000, 8000, 5000, 10]) {
            // Between two of them a request for 002, so that each has to be re-bound.
            let other = connection.get("/nosession", None)?;
            let request = Request::get("/whoami").header("X-Filler", &"f".repeat(filler)).session(&begun.session);
            let began = Instant::now();
            let response = connection.request(&request)?;
            // Quicker than any timer: nothing had to be sent twice.
            ensure!(began.elapsed() < Duration::from_millis(190), "{number}: {:?}", began.elapsed());
            is_request(number, &response, &begun).with_context(|| format!("after {other:?}"))?;
            connection.get("/nosession", None)?;
        }
        scene.all_idle()
    })
}

fn request_heads_in_pieces(hook: Hook) -> Result<()> {
    Stage::new(hook, "pieces").play(|scene| {
        let begun = bound(scene)?;
        let head = Request::get("/whoami").header("X-Filler", "in the middle").session(&begun.session);
        let bytes = head.encode("shop");
        let mut connection = scene.connection()?;
        let (half, id, end) = (bytes.len() / 2, bytes.len() - 20, bytes.len() - 2);
        let cuts = [vec![1], vec![half], vec![id], vec![end], vec![1, half, id, end], (1..bytes.len()).collect()];
        for (number, cuts) in (2..).zip(cuts) {
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let mut from = 0;
            for to in ends {
                connection.write(&bytes[from..to])?;
                from = to;
                std::thread::sleep(Duration::from_millis(if cuts.len() > 5 { 1 } else { 60 }));
            }
            is_request(number, &connection.receive("GET")?, &begun).with_context(|| format!("cut at {cuts:?}"))?;
        }
        // Nagle's algorithm holds the second piece back until the first is acknowledged.
        let mut connection = scene.connection()?;
        connection.stream().set_nodelay(false)?;
        connection.write(&bytes[..half])?;
        connection.write(&bytes[half..])?;
        is_request(8, &connection.receive("GET")?, &begun)?;
        scene.all_idle()
    })
}

fn is_request(number: u64, response: &Response, begun: &Whoami) -> Result<()> {
    let answer: Whoami = response.json()?;
    let wanted = Whoami { known: true, new: false, hits: number, ..begun.clone() };
    ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
    Ok(())
}
