//! Where requests end: in chunks, after an interim response, by an old version, without a body, several at once.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_sim::pattern;
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::lab::Hook;

use super::{of, with_two_sessions};

under_both_hooks! {
    bodies_in_chunks_are_followed,
    curl_uploads_in_chunks,
    a_body_waits_for_100_continue,
    http_1_0,
    head_has_no_body,
    pipelined_requests_are_answered_in_order,
    pipelined_requests_of_two_sessions_are_answered_in_order,
}

/// Behind a body in chunks the next request is somebody else's, on the same connection, wherever the segments were cut.
fn bodies_in_chunks_are_followed(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "chunks", |scene, sessions| {
        let head = |session: &Whoami| {
            let request = Request::new("POST", "/echo").header("Transfer-Encoding", "chunked");
            request.session(&session.session).encode("shop")
        };
        // Sizes in any case and with zeros in front, an extension, trailers, and what looks like the end and like a request.
        let body = b"1\r\na\r\n00A\r\n0123456789\r\n1a;name=\"value\"\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n";
        let content = b"a0123456789GET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n";
        let mut connection = scene.connection()?;
        let cuts = [vec![], (1..body.len()).step_by(7).collect(), (1..body.len()).collect::<Vec<_>>()];
        for (turn, cuts) in cuts.iter().cycle().take(6).enumerate() {
            let session = &sessions[turn % 2];
            connection.write(&head(session))?;
            let mut from = 0;
            for to in cuts.iter().copied().chain([body.len()]) {
                connection.write(&body[from..to])?;
                from = to;
            }
            let response = connection.receive("POST")?;
            of(session, &response)?;
            ensure!(response.body == content, "{:?}", String::from_utf8_lossy(&response.body));
        }
        for (host, _) in sessions.iter().enumerate() {
            let log: serde_json::Value =
                Connection::open(scene.lab.client(), scene.lab.application(host + 1))?.get("/log", None)?.json()?;
            ensure!(log["paths"]["/smuggled"].is_null(), "a body was taken for a request: {log}");
        }
        Ok(())
    })
}

/// `-T -`, which also waits for a 100, and `-H "Transfer-Encoding: chunked"`: for a session of each version on one connection.
fn curl_uploads_in_chunks(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "curlup", |scene, sessions| {
        let body = pattern::bytes(3, 3 << 20);
        let file = scene.lab.dir().join("upload");
        std::fs::write(&file, &body).context("write what is uploaded")?;
        let from_file = format!("@{}", file.display());
        let url = format!("http://{}/echo", scene.lab.service());
        for (first, second) in [(0, 1), (1, 0)] {
            let answers = [scene.lab.dir().join("answer-1"), scene.lab.dir().join("answer-2")];
            let outputs = answers.each_ref().map(|path| path.to_string_lossy());
            let cookies = [first, second].map(|index| format!("JSESSIONID={}", sessions[index].session));
            let report = "%{http_code} %header{x-backend} %{num_connects}\n";
            let mut command = scene.lab.client().command("curl");
            command.args([
                "-sS",
                "--max-time",
                "20",
                "-X",
                "POST",
                "-T",
                "-",
                "-b",
                &cookies[0],
                "-o",
                &outputs[0],
                "-w",
                report,
                &url,
            ]);
            command.args([
                "--next",
                "-sS",
                "--max-time",
                "20",
                "-H",
                "Transfer-Encoding: chunked",
                "--data-binary",
                &from_file,
            ]);
            command.args(["-b", &cookies[1], "-o", &outputs[1], "-w", report, &url]);
            let mut curl = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start curl")?;
            curl.stdin.take().context("curl's input")?.write_all(&body).context("write to curl")?;
            let output = curl.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            let wanted = format!("200 {} 1\n200 {} 0\n", sessions[first].backend, sessions[second].backend);
            ensure!(output.status.success() && said == wanted, "{}: {said} instead of {wanted}", output.status);
            for path in &answers {
                ensure!(std::fs::read(path)? == body, "{} differs from what was sent", path.display());
            }
        }
        Ok(())
    })
}

fn a_body_waits_for_100_continue(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "expect", |scene, sessions| {
        let mut connection = scene.connection()?;
        for turn in 0..6 {
            let session = &sessions[turn % 2];
            let body = pattern::bytes(turn as u64, 20_000);
            let request =
                Request::new("POST", "/echo").header("Content-Length", "20000").header("Expect", "100-continue");
            connection.send(&request.session(&session.session))?;
            // Every third client does not wait.
            if turn % 3 != 2 {
                ensure!(connection.interim()? == 100, "no 100");
            }
            connection.write(&body)?;
            let response = connection.receive("POST")?;
            of(session, &response)?;
            ensure!(response.body == body, "{} bytes came back, or others", response.body.len());
        }
        Ok(())
    })
}

/// Without `keep-alive` the response ends with the connection; with it, the next request may be somebody else's.
fn http_1_0(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "oldhttp", |scene, sessions| {
        let request = |session: &Whoami, more: &str| {
            format!("GET /whoami HTTP/1.0\r\nCookie: JSESSIONID={}\r\n{more}\r\n", session.session).into_bytes()
        };
        for session in &sessions {
            let mut connection = scene.connection()?;
            connection.write(&request(session, ""))?;
            of(session, &connection.receive("GET")?)?;
            connection.expect_close()?;
        }
        let mut connection = scene.connection()?;
        for turn in 0..6 {
            let session = &sessions[turn % 2];
            connection.write(&request(session, "Connection: keep-alive\r\n"))?;
            of(session, &connection.receive("GET")?)?;
        }
        Ok(())
    })
}

fn head_has_no_body(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "head", |scene, sessions| {
        let mut connection = scene.connection()?;
        for turn in 0..8 {
            let session = &sessions[turn % 2];
            // In turns with a length and in chunks, neither of which comes.
            let target = if turn % 4 < 2 { "/bytes?n=70000" } else { "/chunked?n=70000" };
            let response = connection.request(&Request::new("HEAD", target).session(&session.session))?;
            of(session, &response)?;
            of(session, &connection.get("/nosession", Some(&session.session))?)?;
        }
        Ok(())
    })
}

/// Five requests of one session in one write, on a connection that is new and on one that is not.
fn pipelined_requests_are_answered_in_order(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "pipeline", |scene, sessions| {
        pipeline(&mut scene.connection()?, &[&sessions[0]; 5], 2)?;
        pipeline(&mut scene.connection()?, &[&sessions[1]; 5], 2)
    })
}

/// Each answer comes from the request's own backend: those that belong elsewhere wait for their turn.
fn pipelined_requests_of_two_sessions_are_answered_in_order(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "mixedpipeline", |scene, [a, b]| {
        for pattern in [[&a, &b, &a, &b, &a], [&a, &a, &b, &b, &a]] {
            pipeline(&mut scene.connection()?, &pattern, 2)?;
        }
        Ok(())
    })
}

fn pipeline(connection: &mut Connection, sessions: &[&Whoami], rounds: usize) -> Result<()> {
    for round in 0..rounds {
        let length = |number: usize| 10 + number * 997 + round;
        let request = |(number, session): (usize, &&Whoami)| {
            let body = pattern::bytes(number as u64, length(number));
            let request = if number % 2 == 0 {
                Request::post("/echo", body)
            } else {
                Request::get(&format!("/bytes?n={}&seed={number}", length(number)))
            };
            request.session(&session.session).encode("shop")
        };
        connection.write(&sessions.iter().enumerate().flat_map(request).collect::<Vec<u8>>())?;
        for (number, session) in sessions.iter().enumerate() {
            let response = connection.receive(if number % 2 == 0 { "POST" } else { "GET" })?;
            of(session, &response).with_context(|| format!("request {number} of round {round}"))?;
            ensure!(response.body == pattern::bytes(number as u64, length(number)), "another body: {number}");
        }
        // Now and then with a pause, in which acknowledgements come by themselves.
        std::thread::sleep(Duration::from_millis((round as u64 % 2) * 50));
    }
    Ok(())
}
