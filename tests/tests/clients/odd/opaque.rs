//! What is no HTTP/1, or is none any more: it goes through as it is, by where it comes from, and is counted.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Request};
use balancer_tests::echo;
use balancer_tests::lab::Hook;
use balancer_tests::scene::Scene;
use balancer_tests::stage::Stage;

use super::with_two_sessions;

under_both_hooks! {
    an_upgraded_connection_lives_through_flips,
    tls_and_http_2_go_by_source_address,
    a_tunnel_through_connect,
}

/// After a 101, bytes are bytes, also those that look like a request of another session.
fn an_upgraded_connection_lives_through_flips(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "upgrade", |scene, sessions| {
        let mut sockets = Vec::new();
        for session in &sessions {
            let mut connection = scene.connection()?;
            // Its first request is another session's: the upgrade comes after a change of legs.
            connection.get("/nosession", Some(&sessions[0].session))?;
            let request = Request::get("/upgrade").header("Connection", "Upgrade").header("Upgrade", "websocket");
            let response = connection.request(&request.session(&session.session))?;
            ensure!(response.status == 101 && response.backend() == session.backend, "{response:?}");
            sockets.push(connection);
        }
        let foreign = Request::get("/nosession").session(&sessions[0].session).encode("shop");
        let flips = [&["flip", "shop", "001"][..], &["flip", "shop", "002", "--mode", "forced"], &["rollback", "shop"]];
        for flip in [&[][..]].into_iter().chain(flips) {
            if !flip.is_empty() {
                scene.cli(flip)?;
            }
            for socket in &mut sockets {
                for message in [b"\x81\x05hello", &foreign[..], &[0x16; 5000]] {
                    socket.write(message)?;
                    ensure!(socket.receive_bytes(message.len())? == message, "not what was sent, after {flip:?}");
                }
            }
        }
        for socket in &mut sockets {
            socket.half_close()?;
            socket.expect_close()?;
        }
        Ok(())
    })
}

/// The beginning of a TLS ClientHello, and what a client with prior knowledge of HTTP/2 begins with (RFC 9113, section 3.4).
const FOREIGN: [(&[u8], &str); 2] = [
    (b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03 and so on \x00\x00\x13\x01\r\n\r\n", "unframed_not_http"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "unframed_preface"),
];
/// With so many, each of two backends gets some, but for one lab in half a million.
const SOURCES: u8 = 20;

/// D16.
fn tls_and_http_2_go_by_source_address(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "opaque").clients(SOURCES).versions(&[("001", &[1, 2])]);
    stage.play(|scene| {
        echoes(scene)?;
        for (bytes, counter) in FOREIGN {
            let before = scene.counter(counter)?;
            let mut backends = BTreeSet::new();
            for index in 0..SOURCES {
                let [first, again] = [greeted(scene, index, bytes)?, greeted(scene, index, bytes)?];
                ensure!(first == again, "one address, two backends: {first} and {again}");
                backends.insert(first);
            }
            ensure!(backends.len() == 2, "all went to {backends:?}");
            let counted = scene.counter(counter)? - before;
            ensure!(counted == 2 * u64::from(SOURCES), "{counted} of {} are counted as {counter}", 2 * SOURCES);
        }
        Ok(())
    })
}

/// Which backend answered; from then on both ends may say what they like.
fn greeted(scene: &Scene, source: u8, bytes: &[u8]) -> Result<String> {
    let from = scene.lab.addresses().client_nth(source);
    let mut connection = Connection::open_from(scene.lab.client(), from, scene.lab.service())?;
    connection.write(bytes)?;
    let name = String::from_utf8(connection.receive_bytes(3)?)?;
    ensure!(connection.receive_bytes(bytes.len())? == bytes, "other bytes than were sent");
    for message in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x00\x01\x02", &[0xff; 3000]] {
        connection.write(message)?;
        ensure!(connection.receive_bytes(message.len())? == message, "other bytes than were sent");
    }
    Ok(name)
}

fn a_tunnel_through_connect(hook: Hook) -> Result<()> {
    Stage::new(hook, "connect").play(|scene| {
        echoes(scene)?;
        let mut connection = scene.connection()?;
        connection.write(b"CONNECT inside:443 HTTP/1.1\r\nHost: inside:443\r\n\r\n")?;
        let answer = b"HTTP/1.1 200 Connected\r\n\r\n";
        ensure!(connection.receive_bytes(answer.len())? == answer, "the tunnel is not open");
        connection.write(b"GET / HTTP/1.1\r\n\r\n")?;
        ensure!(connection.receive_bytes(3)? == b"b1:", "nobody at the other end");
        ensure!(connection.receive_bytes(18)? == b"GET / HTTP/1.1\r\n\r\n", "other bytes than were sent");
        ensure!(scene.counter("request_body_unframed")? == 1, "the tunnel is not counted");
        connection.half_close()?;
        connection.expect_close()
    })
}

/// Servers without a protocol where the applications were.
fn echoes(scene: &mut Scene) -> Result<()> {
    for index in scene.applications.keys().copied().collect::<Vec<_>>() {
        scene.kill(index);
        echo::start(scene.lab, index)?;
    }
    scene.healthy("001")
}
