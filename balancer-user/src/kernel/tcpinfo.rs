//! What a backend's TCP supports, from `TCP_INFO` of a connection to it.

#![expect(unsafe_code, reason = "there is no safe wrapper of TCP_INFO")]

use std::{
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsRawFd as _, BorrowedFd},
};

use balancer_ebpf::layout::{OFFER_SACK, OFFER_SCALE, OFFER_TIMESTAMPS};

use crate::plan::{MAX_MSS, Offers};

// include/uapi/linux/tcp.h.
const TCPI_OPT_TIMESTAMPS: u8 = 1;
const TCPI_OPT_SACK: u8 = 2;
const TCPI_OPT_WSCALE: u8 = 4;

/// Bytes of the timestamp option in every segment, with its padding.
const TIMESTAMP_BYTES: u32 = 12;

/// What the other end of an established connection agreed to.
pub fn offers(socket: BorrowedFd<'_>) -> io::Result<Offers> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `info`, which outlives the call.
    let failed = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the struct is made of integers and was zeroed, so it is initialised however much the kernel wrote.
    let info = unsafe { info.assume_init() };
    Ok(from_info(info.tcpi_options, info.tcpi_snd_rcv_wscale, info.tcpi_snd_mss))
}

/// Of the two scales in `scales` the low four bits are what the other end announced (`tcpi_snd_wscale`). `snd_mss` is what
/// is left for payload after the timestamp option (`tcp_mss_to_mtu` in the kernel): the announced MSS, or the path's.
fn from_info(options: u8, scales: u8, snd_mss: u32) -> Offers {
    let mut bits = 0;
    for (option, offer) in
        [(TCPI_OPT_TIMESTAMPS, OFFER_TIMESTAMPS), (TCPI_OPT_SACK, OFFER_SACK), (TCPI_OPT_WSCALE, OFFER_SCALE)]
    {
        if options & option != 0 {
            bits |= offer;
        }
    }
    let timestamps = if options & TCPI_OPT_TIMESTAMPS != 0 { TIMESTAMP_BYTES } else { 0 };
    let scale = if options & TCPI_OPT_WSCALE != 0 { u32::from(scales & 0xf) } else { 0 };
    Offers { bits, mss: (snd_mss + timestamps).min(MAX_MSS), scale }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsFd as _,
    };

    use super::*;

    #[test]
    fn fields() {
        let all = OFFER_TIMESTAMPS | OFFER_SACK | OFFER_SCALE;
        assert_eq!(from_info(7, 0x97, 1448), Offers { bits: all, mss: 1460, scale: 7 });
        assert_eq!(from_info(2, 0x97, 1400), Offers { bits: OFFER_SACK, mss: 1400, scale: 0 });
        assert_eq!(from_info(7, 0x70, 65483).mss, 1460);
    }

    /// The field positions, against the kernel: a connection to ourselves has what our own TCP has.
    #[test]
    fn the_kernel_agrees() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let offers = offers(stream.as_fd()).unwrap();
        assert_eq!(offers.mss, 1460);
        let sysctl = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        let on = |name: &str, bit: u32| if sysctl(name).trim() == "0" { 0 } else { bit };
        let expected =
            on("tcp_timestamps", OFFER_TIMESTAMPS) | on("tcp_sack", OFFER_SACK) | on("tcp_window_scaling", OFFER_SCALE);
        assert_eq!(offers.bits, expected);
    }
}
