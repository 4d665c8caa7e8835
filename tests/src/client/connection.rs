//! One TCP connection on which a test decides about every request.

mod receive;

use std::io::Write;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_sim::pattern;

use rustix::net::{self, AddressFamily, SocketType};

use super::message::{Request, Response};
use crate::lab::node::Node;

/// How long a connection waits for anything before that is an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection. It never retries and never reconnects: what goes wrong is the test's to see.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    /// What has been received and not yet been part of a response.
    received: Vec<u8>,
}

impl Connection {
    /// Connects from inside `node`.
    pub fn open(node: &Node, to: SocketAddr) -> Result<Self> {
        node.run(|| Self::here(to))
    }

    /// Connects from the namespace that the calling thread is in.
    pub fn here(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("connect to {to}"))?;
        Self::over(stream, to)
    }

    /// Connects from one of several addresses that `node` has.
    pub fn open_from(node: &Node, from: impl Into<IpAddr>, to: SocketAddr) -> Result<Self> {
        let from = from.into();
        node.run(|| Self::here_from(from, to))
    }

    /// The same from the namespace that the calling thread is in.
    pub fn here_from(from: impl Into<IpAddr>, to: SocketAddr) -> Result<Self> {
        Self::here_at(SocketAddr::new(from.into(), 0), to)
    }

    /// Connects from inside `node`, from this very port.
    pub fn open_at(node: &Node, from: SocketAddr, to: SocketAddr) -> Result<Self> {
        node.run(|| Self::here_at(from, to))
    }

    fn here_at(from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let family = if from.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = net::socket(family, SocketType::STREAM, None).context("make a socket")?;
        net::bind(&socket, &from).with_context(|| format!("bind {from}"))?;
        net::connect(&socket, &to).with_context(|| format!("connect to {to}"))?;
        Self::over(socket.into(), to)
    }

    fn over(stream: TcpStream, to: SocketAddr) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, host: to.to_string(), received: Vec::new() })
    }

    /// The client's port, which tells this connection from others.
    pub fn local_port(&self) -> Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    /// The client forgets the connection, without a word to the other end: as if its host had lost its power. Its address and port.
    pub fn forget(self) -> Result<SocketAddr> {
        let (address, on) = (self.stream.local_addr()?, 1i32);
        // SAFETY: the socket is open, and the option's value is an int that lives until the call returns.
        let failed = unsafe {
            let value = std::ptr::from_ref(&on).cast();
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_REPAIR,
                value,
                size_of::<i32>() as u32,
            )
        };
        ensure!(failed == 0, "TCP_REPAIR: {}", std::io::Error::last_os_error());
        Ok(address)
    }

    /// The socket, for options and half-closing.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and waits for its response.
    pub fn request(&mut self, request: &Request) -> Result<Response> {
        self.send(request)?;
        self.receive(request.method())
    }

    /// A GET, with a session's cookie if there is one.
    pub fn get(&mut self, target: &str, session: Option<&str>) -> Result<Response> {
        let request = Request::get(target);
        self.request(&match session {
            Some(id) => request.session(id),
            None => request,
        })
    }

    /// Sends a request without waiting: for pipelining.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        let bytes = request.encode(&self.host);
        self.write(&bytes)
    }

    /// Sends any bytes at all.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send")
    }

    /// Waits for the final response to a request of this method.
    pub fn receive(&mut self, method: &str) -> Result<Response> {
        loop {
            let mut response = self.head()?;
            if response.status == 101 || response.status >= 200 {
                response.body = self.body(method, &response)?;
                return Ok(response);
            }
        }
    }

    /// Waits for an interim response and returns its status.
    pub fn interim(&mut self) -> Result<u16> {
        let status = self.head()?.status;
        ensure!((100..200).contains(&status), "status {status} instead of an interim one");
        Ok(status)
    }

    /// Waits for a final response whose body is the pattern of `seed`, and looks at each piece when it comes: for bodies that no memory
    /// should hold.
    pub fn receive_pattern(&mut self, seed: u64) -> Result<Response> {
        let response = self.head()?;
        let length = response.header("Content-Length").context("a pattern has a length")?.parse()?;
        let mut offset = 0;
        let mut expected = Vec::new();
        while offset < length {
            if self.received.is_empty() {
                ensure!(self.fill()?, "the connection was closed after {offset} of {length} bytes");
            }
            expected.resize(self.received.len(), 0);
            pattern::fill(seed, offset, &mut expected);
            ensure!(self.received == expected, "other bytes behind {offset} of {length}");
            offset += self.received.len() as u64;
            self.received.clear();
        }
        Ok(response)
    }

    /// Receives exactly so many bytes of whatever protocol the connection speaks by now.
    pub fn receive_bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        self.take(length)
    }

    /// Says that nothing more will be sent; what comes is still received.
    pub fn half_close(&self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write).context("half-close")
    }

    /// Waits for the other end to close; bytes that come instead are an error.
    pub fn expect_close(&mut self) -> Result<()> {
        ensure!(
            !self.fill().context("wait for the close")?,
            "received {} bytes instead of a close",
            self.received.len()
        );
        Ok(())
    }
}
