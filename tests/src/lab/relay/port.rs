//! A packet socket on one interface: whole frames in and out, none of its own.

use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::net::netdevice::name_to_index;

use super::frame::Frame;

/// `PACKET_IGNORE_OUTGOING` (include/uapi/linux/if_packet.h, Linux 4.20): what is sent here must not come back.
const IGNORE_OUTGOING: libc::c_int = 23;
/// Room for what comes while the thread does not run.
const ROOM: libc::c_int = 64 << 20;
/// The largest frame: 64 KiB, its Ethernet header and its note.
const LARGEST: usize = (1 << 16) + 64;

/// An interface's socket. Both directions share it: one receives, the other sends.
#[derive(Debug)]
pub(super) struct Port(OwnedFd);

impl Port {
    /// Opens the interface of the namespace that the calling thread is in.
    pub(super) fn open(interface: &str) -> Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Bound to no protocol yet: what other interfaces receive before the bind below would be taken for this one's.
        // SAFETY: a system call that takes numbers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("open a packet socket: this needs root");
        }
        // SAFETY: the call made the descriptor just now, and nobody else has it.
        let port = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        port.set(libc::SOL_PACKET, IGNORE_OUTGOING, 1)?;
        port.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        port.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, ROOM)?;
        port.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, ROOM)?;
        let index = name_to_index(&port.0, interface).with_context(|| format!("find {interface}"))?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the address is of the size that is passed, and lives through the call.
        let failed =
            unsafe { libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
        if failed != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("bind a packet socket to {interface}"));
        }
        Ok(port)
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
        let size = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the value is of the size that is passed, and lives through the call.
        let failed = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const value).cast(), size) };
        if failed != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("set option {option} of a packet socket"));
        }
        Ok(())
    }

    /// The next frame that came in, `None` if there is none at the moment.
    pub(super) fn receive(&self, buffer: &mut Vec<u8>) -> Result<Option<Frame>> {
        buffer.resize(LARGEST, 0);
        match rustix::net::recv(&self.0, buffer.as_mut_slice(), rustix::net::RecvFlags::empty()) {
            Ok((_, length)) => Ok(Some(Frame(buffer[..length].to_vec()))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error).context("receive a frame"),
        }
    }

    /// Sends a frame; false if the kernel does not take it, as a full queue would not.
    pub(super) fn send(&self, frame: &Frame) -> bool {
        rustix::net::send(&self.0, &frame.0, rustix::net::SendFlags::empty()).is_ok()
    }

    /// Frames that came while there was no room for them, since the last time.
    pub(super) fn overrun(&self) -> Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut size = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        let into = (&raw mut statistics).cast();
        // SAFETY: the structure is of the size that is passed, and lives through the call.
        let failed = unsafe {
            libc::getsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, into, &raw mut size)
        };
        if failed != 0 {
            return Err(io::Error::last_os_error()).context("ask a packet socket what it lost");
        }
        Ok(u64::from(statistics.tp_drops))
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
