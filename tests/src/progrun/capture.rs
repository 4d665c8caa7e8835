//! Catches what a program sends as a copy: a packet socket sees every frame that leaves an interface.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};

/// A frame that left.
#[derive(Clone, Debug)]
pub struct Caught {
    pub interface: u32,
    pub frame: Vec<u8>,
}

/// Sees all interfaces of the namespace that it was made in.
#[derive(Debug)]
pub struct Capture(OwnedFd);

impl Capture {
    pub fn new() -> Result<Self> {
        let everything = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: a system call that takes numbers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(everything)) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("open a packet socket: this needs root");
        }
        // SAFETY: the call made the descriptor just now, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The TCP frames that left since the last call. Copies leave within the system call that runs the program, so all of
    /// them are here when it returns.
    pub fn take(&self) -> Result<Vec<Caught>> {
        let mut caught = Vec::new();
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            // SAFETY: a structure of integers, for which zeroes are a value.
            let mut from: libc::sockaddr_ll = unsafe { zeroed() };
            let mut size = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: the buffer and the address are of the sizes that are passed, and live through the call.
            let len = unsafe {
                let address = (&raw mut from).cast();
                libc::recvfrom(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0, address, &raw mut size)
            };
            let Ok(len) = usize::try_from(len) else {
                match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => return Ok(caught),
                    error => bail!("read the packet socket: {error}"),
                }
            };
            let frame = buffer.get(..len).unwrap_or_default();
            let next = match frame.get(12..14) {
                Some([0x08, 0x00]) => frame.get(23),
                Some([0x86, 0xdd]) => frame.get(20),
                _ => None,
            };
            let tcp = next == Some(&6);
            if tcp && from.sll_pkttype == libc::PACKET_OUTGOING {
                caught.push(Caught { interface: from.sll_ifindex.cast_unsigned(), frame: frame.to_vec() });
            }
        }
    }
}
