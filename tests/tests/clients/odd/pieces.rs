//! What comes in very small pieces: heads, and uploads that take their time.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::lab::Hook;

use super::{of, with_two_sessions};

under_both_hooks! {
    heads_in_one_byte_pieces,
    heads_in_one_byte_pieces_with_nagle,
    uploads_of_a_byte_at_a_time,
}

fn heads_in_one_byte_pieces(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "bytes", |scene, sessions| pieces(scene.connection()?, sessions, true))
}

/// Nagle's algorithm sends the first byte, and the rest when that is acknowledged.
fn heads_in_one_byte_pieces_with_nagle(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "nagle", |scene, sessions| pieces(scene.connection()?, sessions, false))
}

fn pieces(mut connection: Connection, mut sessions: [Whoami; 2], nodelay: bool) -> Result<()> {
    connection.stream().set_nodelay(nodelay)?;
    for turn in 0..6 {
        let session = &mut sessions[turn % 2];
        for byte in Request::get("/whoami").session(&session.session).encode("shop") {
            connection.write(&[byte])?;
        }
        let answer: Whoami = connection.receive("GET")?.json()?;
        let wanted = Whoami { known: true, new: false, hits: session.hits + 1, ..session.clone() };
        ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
        *session = answer;
    }
    Ok(())
}

/// The bodies of four clients, two of them in chunks, take three seconds, in which everybody is moved by force: not they, until
/// their next request.
fn uploads_of_a_byte_at_a_time(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "slowup", |scene, sessions| {
        let uploads: Vec<_> =
            (0..4).map(|number| Ok((number, scene.connection()?, &sessions[number % 2]))).collect::<Result<_>>()?;
        std::thread::scope(|scope| {
            let work =
                |(number, connection, session)| scope.spawn(move || slow_upload(connection, session, number > 1));
            let threads: Vec<_> = uploads.into_iter().map(work).collect();
            std::thread::sleep(Duration::from_millis(1500));
            scene.cli(&["flip", "shop", "001", "--mode", "forced"])?;
            threads.into_iter().try_for_each(|thread| {
                let mut connection = thread.join().expect("the thread lives")?;
                let next: Whoami = connection.get("/whoami", Some(&sessions[1].session))?.json()?;
                ensure!(next.version == "001", "not moved after its upload: {next:?}");
                Ok(())
            })
        })
    })
}

fn slow_upload(mut connection: Connection, session: &Whoami, chunked: bool) -> Result<Connection> {
    const BODY: &[u8] = b"GET /smuggled HTTP/1.1\r\n\r\n 0\r\n\r\n";
    let request = Request::new("POST", "/echo").session(&session.session);
    let request = match chunked {
        true => request.header("Transfer-Encoding", "chunked"),
        false => request.header("Content-Length", &BODY.len().to_string()),
    };
    connection.send(&request)?;
    for byte in BODY {
        std::thread::sleep(Duration::from_millis(100));
        match chunked {
            true => connection.write(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n'])?,
            false => connection.write(&[*byte])?,
        }
    }
    if chunked {
        connection.write(b"0\r\n\r\n")?;
    }
    let response = connection.receive("POST")?;
    of(session, &response)?;
    ensure!(response.body == BODY, "{:?} came back", String::from_utf8_lossy(&response.body));
    Ok(connection)
}
