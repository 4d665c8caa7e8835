//! Much at once: 100 MB down and 10 MB up, sixteen at a time, byte for byte.

use anyhow::{Result, ensure};
use balancer_sim::pattern;
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::lab::Hook;

use super::{of, with_two_sessions};

under_both_hooks! {
    a_hundred_megabytes_down_and_ten_up_sixteen_at_once,
}

const AT_ONCE: usize = 16;
const DOWN: usize = 100_000_000;
const UP: usize = 10_000_000;
/// Over veth, XDP gets each segment by itself: a quarter of the bytes takes as long.
const LESS_BY_XDP: usize = 4;

fn a_hundred_megabytes_down_and_ten_up_sixteen_at_once(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "bulk", |scene, sessions| {
        let less = if hook == Hook::Xdp { LESS_BY_XDP } else { 1 };
        // A body that is sent is compared at its end only, so all of them are the same one.
        let body = pattern::bytes(0, UP / less);
        let connections = (0..AT_ONCE).map(|_| scene.connection()).collect::<Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let (body, sessions) = (&body, &sessions);
            let work =
                |(number, connection)| scope.spawn(move || exchange(connection, number, body, DOWN / less, sessions));
            let threads: Vec<_> = connections.into_iter().enumerate().map(work).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("the thread lives"))
        })
    })
}

/// Up to one session, down from the other: the connection changes its leg in between.
fn exchange(
    mut connection: Connection,
    number: usize,
    body: &[u8],
    length: usize,
    sessions: &[Whoami; 2],
) -> Result<()> {
    let (up, down) = (&sessions[number % 2], &sessions[(number + 1) % 2]);
    let response = connection.request(&Request::post("/echo", body).session(&up.session))?;
    of(up, &response)?;
    ensure!(response.body == body, "{} of {} bytes came back, or others", response.body.len(), body.len());
    let request = Request::get(&format!("/bytes?n={length}&seed={number}")).session(&down.session);
    connection.send(&request)?;
    of(down, &connection.receive_pattern(number as u64)?)
}
