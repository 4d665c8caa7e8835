//! Sends one trick after the other, each on a connection of its own, and does not care for answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Browser;
use balancer_tests::clients::nginx;
use balancer_tests::lab::node::Node;

use super::tricks::{Then, tricks};

/// How long an answer may take to begin before the attack goes on: most tricks are answered at once or never.
const QUIET: Duration = Duration::from_millis(15);

/// nginx passes on longer and richer heads than the director follows; what becomes of these has a test of its own.
const LONG: usize = 2_000;

/// An attacker with a session.
pub(super) struct Attacker {
    node: Node,
    to: SocketAddr,
    session: String,
    number: usize,
}

impl Attacker {
    pub(super) fn new(node: &Node, to: SocketAddr, number: usize) -> Result<Self> {
        let session = Browser::new(node, to).whoami()?.session;
        Ok(Self { node: node.clone(), to, session, number })
    }

    /// Tries everything: in one piece or two, with its session or without.
    pub(super) fn attack(&self) -> Result<()> {
        self.node.enter()?;
        let mut tricks = tricks(self.number as u64 + 1);
        if self.to == nginx::ADDRESS {
            tricks.retain(|trick| trick.bytes.len() < LONG);
        }
        let mut reached = 0;
        for (turn, trick) in tricks.iter().enumerate() {
            let bytes = if turn % 3 == 0 { trick.bytes.clone() } else { self.with_session(&trick.bytes) };
            let mut stream = TcpStream::connect(self.to).context("connect")?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(QUIET))?;
            let cut = if turn % 2 == 0 { bytes.len() } else { turn % bytes.len().max(1) };
            // A server may well have had enough in between.
            let _ = send(&mut stream, &bytes[..cut], &bytes[cut..]);
            if matches!(trick.then, Then::Request) {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"GET /attacker HTTP/1.1\r\nHost: a\r\n\r\n");
                reached += usize::from(answered(&mut stream));
            }
        }
        ensure!(reached > tricks.len() / 10, "only {reached} of {} attacks were answered at all", tricks.len());
        Ok(())
    }

    /// The cookie goes behind the first `Host`, where most tricks have one.
    fn with_session(&self, bytes: &[u8]) -> Vec<u8> {
        const HOST: &[u8] = b"Host: a\r\n";
        let Some(at) = bytes.windows(HOST.len()).position(|window| window == HOST) else { return bytes.to_vec() };
        let (before, behind) = bytes.split_at(at + HOST.len());
        [before, format!("Cookie: JSESSIONID={}\r\n", self.session).as_bytes(), behind].concat()
    }
}

fn send(stream: &mut TcpStream, first: &[u8], second: &[u8]) -> std::io::Result<()> {
    stream.write_all(first)?;
    if !second.is_empty() {
        std::thread::sleep(Duration::from_millis(2));
        stream.write_all(second)?;
    }
    Ok(())
}

/// Whether anything came at all.
fn answered(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64 * 1024]) {
        Ok(length) => length > 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
