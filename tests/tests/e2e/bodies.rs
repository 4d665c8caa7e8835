//! Bodies arrive byte for byte: big ones, both ways, of several clients, on connections whose sessions change.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_sim::pattern;
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::lab::Hook;

use crate::scene::Scene;
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    eight_uploads_and_downloads_at_once,
    bodies_between_sessions_of_two_versions,
    a_body_that_looks_like_a_request,
}

const UPLOAD: usize = 1 << 20;
const DOWNLOAD: usize = 20 << 20;

/// N1, N2.
fn eight_uploads_and_downloads_at_once(hook: Hook) -> Result<()> {
    Stage::new(hook, "bodies").versions(&[("001", &[1, 2])]).play(|scene| {
        let connections: Vec<_> = (0..8).map(|_| scene.connection()).collect::<Result<_>>()?;
        std::thread::scope(|scope| {
            let threads = (0..).zip(connections).map(|(seed, mut connection)| {
                scope.spawn(move || upload_and_download(&mut connection, seed, UPLOAD, DOWNLOAD))
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("the thread lives"))
        })?;
        scene.all_idle()
    })
}

pub(crate) fn upload_and_download(connection: &mut Connection, seed: u64, up: usize, down: usize) -> Result<()> {
    let body = pattern::bytes(seed, up);
    let response = connection.request(&Request::post("/echo", body.clone()))?;
    ensure!(response.body == body, "{up} bytes came back as {} or with others among them", response.body.len());
    let response = connection.get(&format!("/bytes?n={down}&seed={seed}"), None)?;
    ensure!(response.body == pattern::bytes(seed, down), "{} of {down} bytes, or others", response.body.len());
    Ok(())
}

fn two_sessions(scene: &mut Scene) -> Result<[Whoami; 2]> {
    let first = begins_on(&mut scene.browser(), "001")?;
    scene.add("002", &[2])?;
    Ok([first, begins_on(&mut scene.browser(), "002")?])
}

fn bodies_between_sessions_of_two_versions(hook: Hook) -> Result<()> {
    Stage::new(hook, "between").play(|scene| {
        let sessions = two_sessions(scene)?;
        let mut connection = scene.connection()?;
        for (round, length) in [0, 1, 700, 1448, 1449, 5000, 20_000, 100_000, 300_000, 1 << 20].into_iter().enumerate()
        {
            for session in [&sessions[round % 2], &sessions[(round + 1) % 2], &sessions[round % 2]] {
                let body = pattern::bytes(round as u64, length);
                let response = connection.request(&Request::post("/echo", body.clone()).session(&session.session))?;
                ensure!(response.body == body, "{length} bytes to {}", session.version);
                ensure!(response.version() == session.version, "{length} bytes went to {}", response.version());
                let response = connection.get(&format!("/bytes?n={length}&seed={round}"), Some(&session.session))?;
                ensure!(
                    response.body == body && response.version() == session.version,
                    "{length} bytes from {session:?}"
                );
            }
        }
        scene.all_idle()
    })
}

/// Request smuggling: what lies inside a body by its Content-Length is no request, however it is cut into segments.
fn a_body_that_looks_like_a_request(hook: Hook) -> Result<()> {
    Stage::new(hook, "smuggling").play(|scene| {
        let [first, second] = two_sessions(scene)?;
        let smuggled = Request::get("/smuggled").session(&second.session).encode("shop");
        let request = Request::post("/echo", smuggled.clone()).session(&first.session).encode("shop");
        let body_at = request.len() - smuggled.len();
        let mut connection = scene.connection()?;
        for cut in [0, body_at, body_at + 1, request.len() - 1] {
            connection.write(&request[..cut])?;
            std::thread::sleep(Duration::from_millis(30));
            connection.write(&request[cut..])?;
            let response = connection.receive("POST")?;
            ensure!(response.body == smuggled && response.version() == "001", "cut at {cut}: {response:?}");
        }
        for (host, session) in [(1, &first), (2, &second)] {
            let log = Connection::open(scene.lab.client(), scene.lab.application(host))?.get("/log", None)?;
            let log: serde_json::Value = log.json()?;
            ensure!(log["paths"]["/smuggled"].is_null(), "{} got a request out of a body", session.version);
        }
        Ok(())
    })
}
