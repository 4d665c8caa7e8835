//! A flood from one core: packets with made-up sources, as fast as the kernel takes them.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use etherparse::{PacketBuilder, TcpOptionElement};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::lab::Lab;
use crate::progrun::World;

/// Where the flood says that it comes from: a network for benchmarks (RFC 2544), which leads nowhere.
pub const SOURCES: &str = "198.18.0.0/15";

/// Those of a SYN of Linux.
const OPTIONS: [TcpOptionElement; 5] = [
    TcpOptionElement::MaximumSegmentSize(1460),
    TcpOptionElement::SelectiveAcknowledgementPermitted,
    TcpOptionElement::Timestamp(1, 0),
    TcpOptionElement::Noop,
    TcpOptionElement::WindowScale(7),
];

/// Packets of one system call.
const BATCH: usize = 64;

/// What it consists of.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As Linux sends them.
    Syn,
    /// Without options: their answers need room, which only TC makes.
    BareSyn,
    /// Acknowledgements of SYN-ACKs that nobody sent.
    Ack,
    /// RSTs and data in the name of a connection that there is, by somebody who does not know its numbers.
    Forged { client: ([u8; 4], u16) },
}

/// A running flood.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Flood {
    /// From backend host 2, which had better serve nobody: it has a link of its own to the director, so that the answers to the flood do
    /// not fill the clients' queues, which would prove nothing about the director.
    pub fn start(lab: &Lab, kind: Kind) -> Result<Self> {
        Self::begin(lab, kind, None)
    }

    /// The same with some thousands of packets that are made once: several times as fast.
    pub fn start_with_few(lab: &Lab, kind: Kind) -> Result<Self> {
        Self::begin(lab, kind, Some(256))
    }

    fn begin(lab: &Lab, kind: Kind, batches: Option<usize>) -> Result<Self> {
        let (world, to, node) = (World::of(lab)?, lab.service(), lab.backend(2).clone());
        let link = *world.backends.get(1).context("there is no host 2")?;
        node.output("ip", &["route", "replace", "blackhole", SOURCES])?;
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let work = move || {
            node.enter()?;
            let mut cpus = CpuSet::new();
            cpus.set(0);
            sched_setaffinity(None, &cpus).context("stay on one core")?;
            send(kind, (link.peer_mac, link.mac), (of_ipv4(to.ip()), to.port()), batches, &over)
        };
        Ok(Self { stop, thread: Some(std::thread::spawn(work)) })
    }

    /// Ends it: how many packets it sent.
    pub fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it is finished once")?;
        thread.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // A test that failed must not leave it running.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends new packets each time, or so many batches of them again and again.
fn send(
    kind: Kind,
    macs: ([u8; 6], [u8; 6]),
    to: ([u8; 4], u16),
    batches: Option<usize>,
    over: &AtomicBool,
) -> Result<u64> {
    let socket = socket()?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut sent = 0;
    let mut batch = || (0..BATCH).map(|_| frame(kind, macs, to, &mut random)).collect::<Result<Vec<_>>>();
    let made = (0..batches.unwrap_or(0)).map(|_| batch()).collect::<Result<Vec<_>>>()?;
    let mut again = made.iter().cycle();
    while !over.load(Ordering::Relaxed) {
        sent += match again.next() {
            Some(frames) => send_all(&socket, frames)?,
            None => send_all(&socket, &batch()?)?,
        };
    }
    ensure!(sent > 0, "nothing was sent");
    Ok(sent)
}

fn frame(
    kind: Kind,
    (from, to): ([u8; 6], [u8; 6]),
    (vip, port): ([u8; 4], u16),
    random: &mut Xoshiro256PlusPlus,
) -> Result<Vec<u8>> {
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) | random.random_range(0..1 << 17));
    let source_port = 1024 + random.random_range(0..60_000);
    let (source, source_port) = match kind {
        Kind::Forged { client } => client,
        Kind::Syn | Kind::BareSyn | Kind::Ack => (source.octets(), source_port),
    };
    let (seq, ack) = (random.random(), random.random());
    let tcp = PacketBuilder::ethernet2(from, to).ipv4(source, vip, 64).tcp(source_port, port, seq, 64_240);
    let mut bytes = Vec::with_capacity(64);
    match kind {
        Kind::Syn => tcp.syn().options(&OPTIONS).context("options")?.write(&mut bytes, &[]),
        Kind::BareSyn => tcp.syn().write(&mut bytes, &[]),
        Kind::Ack => tcp.ack(ack).write(&mut bytes, &[]),
        Kind::Forged { .. } if random.random() => tcp.rst().write(&mut bytes, &[]),
        Kind::Forged { .. } => tcp.ack(ack).write(&mut bytes, b"GET /forged HTTP/1.1\r\nHost: a\r\n\r\n"),
    }
    .context("make a packet")?;
    Ok(bytes)
}

/// A packet socket for the host's interface that sends past its queue.
fn socket() -> Result<OwnedFd> {
    // SAFETY: a system call that takes numbers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("open a packet socket: this needs root");
    }
    // SAFETY: the call made the descriptor just now, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a structure of integers, for which zeroes are a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    // SAFETY: the name ends in a zero.
    address.sll_ifindex = unsafe { libc::if_nametoindex(c"eth0".as_ptr()) }.cast_signed();
    ensure!(address.sll_ifindex != 0, "the host has no eth0");
    // SAFETY: the address is of the size that is passed, and lives through the call.
    let bound =
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32) };
    ensure!(bound == 0, "bind the packet socket: {}", io::Error::last_os_error());
    let one: libc::c_int = 1;
    // SAFETY: the value is of the size that is passed, and lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    ensure!(set == 0, "PACKET_QDISC_BYPASS: {}", io::Error::last_os_error());
    Ok(socket)
}

/// Sends all of them with one system call; how many the kernel took.
fn send_all(socket: &OwnedFd, frames: &[Vec<u8>]) -> Result<u64> {
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: a structure of integers and pointers, for which zeroes are a value.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: as many messages as are passed, whose parts and frames live through the call; the kernel only reads the frames.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
    match u64::try_from(sent) {
        Ok(sent) => Ok(sent),
        // The other end's queue is full: that is what a flood is like.
        Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
        Err(_) => Err(io::Error::last_os_error()).context("send the flood"),
    }
}

/// The flood speaks IPv4.
fn of_ipv4(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => panic!("{address} is not of IPv4"),
    }
}
