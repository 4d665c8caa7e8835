//! SYN cookies: a handshake without state.
//!
//! The initial sequence number that the director sends carries what the client's SYN said and a keyed proof:
//!
//! | bits | |
//! |---|---|
//! | 31–20 | proof *A*, of the connection's addresses and ports and the data bits, by the epoch's key |
//! | 19–8 | proof *B*, of all that and the client's initial sequence number |
//! | 7–6 | index of the MSS |
//! | 5–2 | the client's window scale, 15 for none |
//! | 1 | SACK permitted |
//! | 0 | the epoch's lowest bit |
//!
//! Timestamps need no bit: a client that negotiated them sends one in every segment (RFC 7323, section 3.2). A holds for
//! *any* segment of a connection that has just begun, B only for the first: so a later segment that comes first is known
//! for what it is, and neither begins a flow in the middle of a request nor gets a RST.
//!
//! The secret is another one in each epoch, derived from the daemon's key and the time since boot: so it rotates without the
//! daemon, two CPUs agree about it without a word, and the key that lies on disk is never what a cookie was made with. Of the
//! cookies that an attacker collects, those of one minute say nothing about the next one's.

use crate::layout::{FlowKey, Key};
use crate::net::Seq;
use crate::sip::{derive, sip64};

/// An epoch is 64 s; a cookie is good in its own and the next, but for the last moment of that ([`AHEAD`]).
const EPOCH_SHIFT: u64 = 16;
/// Milliseconds by which the CPU that made a cookie may be ahead of the one that checks it: each knows the time of a tick from its own first
/// packet in it (`Maps::now`), and a tick is 10 ms at most. Where an epoch begins between the two, whoever went by his own time alone would take
/// a cookie of the new epoch for one of the epoch before his own, and refuse every connection whose handshake is on two CPUs.
pub(crate) const AHEAD: u64 = 16;
/// The sizes that a cookie can say, in bytes of payload: the smallest that IPv4 allows, and IPv6 (1220, of its least MTU of 1280), and
/// what Ethernet has of IPv6 (1440) and of IPv4.
pub(crate) const SIZES: [u32; 4] = [536, 1220, 1440, 1460];

/// What a client's SYN said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub mss: u32,
    /// [`crate::net::NO_SCALE`] for none.
    pub scale: u32,
    pub sack: bool,
}

/// What a returning cookie proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The segment is the first one of a connection whose SYN was answered.
    First(Offer),
    /// The segment belongs to such a connection but is not its first.
    Later,
    /// Nothing.
    None,
}

/// An epoch's secret, kept for the next cookie: to derive it costs nearly as much as the cookie.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Secret {
    /// The epoch and one; 0 for none.
    epoch: u64,
    key: Key,
}

impl Secret {
    #[inline(always)]
    fn of(&mut self, key: &Key, epoch: u32) -> Key {
        let wanted = u64::from(epoch) + 1;
        if self.epoch != wanted {
            *self = Self { epoch: wanted, key: derive(*key, u64::from(epoch)) };
        }
        self.key
    }
}

/// A function of its own: addresses of 16 bytes would crowd the stack of whoever makes a cookie.
#[inline(never)]
fn hash(secret: &Key, flow: &FlowKey, data: u32) -> u64 {
    let ports = u32::from(u16::from_be_bytes(flow.client_port)) << 16 | u32::from(u16::from_be_bytes(flow.port));
    let ([c0, c1], [v0, v1]) = (flow.client.pairs(), flow.vip.pairs());
    sip64(*secret, [c0, c1, v0, v1, u64::from(ports) | u64::from(data) << 32])
}

/// Proof B, from a hash that nobody without the key knows. The client's number goes in as it is: so a later segment of the
/// same connection, which lies less than a first window away, fails for certain and not only mostly. (Beyond 4096 bytes it
/// passes at the multiples of that, where segments of no usual size begin.)
#[inline(always)]
fn proof_b(hash: u64, client: Seq) -> u32 {
    ((hash >> 12) as u32 ^ client.0) & 0xfff
}

/// The initial sequence number for a SYN with the number `client`, at millisecond `now`. `secret` is always used with the same key.
#[inline(always)]
pub fn make(secret: &mut Secret, key: &Key, flow: &FlowKey, client: Seq, offer: Offer, now: u64) -> Seq {
    let epoch = (now >> EPOCH_SHIFT) as u32 & 0xff_ffff;
    let mut size = 0;
    for (index, bytes) in SIZES.iter().enumerate() {
        if offer.mss >= *bytes {
            size = index as u32;
        }
    }
    let data = size << 6 | (offer.scale & 15) << 2 | u32::from(offer.sack) << 1 | epoch & 1;
    let hash = hash(&secret.of(key, epoch), flow, data);
    Seq((hash as u32 & 0xfff) << 20 | proof_b(hash, client) << 8 | data)
}

/// Checks a segment with sequence number `seq` and acknowledgement `ack` that belongs to no flow.
#[inline(always)]
pub fn check(secret: &mut Secret, key: &Key, flow: &FlowKey, seq: Seq, ack: Seq, now: u64) -> Proof {
    let cookie = ack.minus(1).0;
    let data = cookie & 0xff;
    let present = ((now + AHEAD) >> EPOCH_SHIFT) as u32 & 0xff_ffff;
    // The epoch's lowest bit tells which of the two it was.
    let epoch = if (present ^ data) & 1 == 0 { present } else { present.wrapping_sub(1) & 0xff_ffff };
    let hash = hash(&secret.of(key, epoch), flow, data);
    if hash as u32 & 0xfff != cookie >> 20 {
        return Proof::None;
    }
    if proof_b(hash, seq.minus(1)) != cookie >> 8 & 0xfff {
        return Proof::Later;
    }
    Proof::First(Offer::of(data))
}

impl Offer {
    /// Back from the cookie's data bits.
    #[inline(always)]
    const fn of(data: u32) -> Self {
        Self { mss: SIZES[(data >> 6 & 3) as usize], scale: data >> 2 & 15, sack: data & 2 != 0 }
    }
}

/// [`check`], with an answer that fits a register: the kind of proof behind the data bits, which are the cookie's own.
#[inline(always)]
pub fn check_packed(secret: &mut Secret, key: &Key, flow: &FlowKey, seq: Seq, ack: Seq, now: u64) -> u32 {
    let data = ack.minus(1).0 & 0xff;
    match check(secret, key, flow, seq, ack, now) {
        Proof::None => 0,
        Proof::Later => 1 << 8,
        Proof::First(_) => 2 << 8 | data,
    }
}

impl Proof {
    /// Back from [`check_packed`].
    #[inline(always)]
    pub const fn unpack(packed: u32) -> Self {
        match packed >> 8 {
            0 => Self::None,
            1 => Self::Later,
            _ => Self::First(Offer::of(packed & 0xff)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Address;

    const KEY: Key = Key { k0: 1, k1: 2 };
    const FLOW: FlowKey = FlowKey {
        client: Address::v4([10, 0, 0, 1]),
        vip: Address::v4([10, 0, 0, 2]),
        client_port: [200, 1],
        port: [0, 80],
    };
    const OFFER: Offer = Offer { mss: 1460, scale: 7, sack: true };

    #[test]
    fn a_cookie_proves_what_the_syn_said() {
        for (mss, size) in [(1460, 1460), (9000, 1460), (1459, 1440), (1300, 1220), (536, 536), (100, 536)] {
            for scale in [0, 7, 14, 15] {
                for sack in [false, true] {
                    let isn = make(&mut Secret::default(), &KEY, &FLOW, Seq(77), Offer { mss, scale, sack }, 5_000_000);
                    assert_eq!(
                        check(&mut Secret::default(), &KEY, &FLOW, Seq(78), isn.plus(1), 5_000_100),
                        Proof::First(Offer { mss: size, scale, sack })
                    );
                }
            }
        }
    }

    #[test]
    fn a_cookie_ages() {
        let isn = make(&mut Secret::default(), &KEY, &FLOW, Seq(77), OFFER, 65_535);
        assert_eq!(
            check(&mut Secret::default(), &KEY, &FLOW, Seq(78), isn.plus(1), 65_536 + 65_535 - AHEAD),
            Proof::First(OFFER)
        );
        let late = check(&mut Secret::default(), &KEY, &FLOW, Seq(78), isn.plus(1), 65_536 * 3);
        assert_ne!(late, Proof::First(OFFER));
    }

    /// N9.
    #[test]
    fn each_epoch_has_a_secret_of_its_own() {
        let at = |epoch: u64| epoch << EPOCH_SHIFT;
        let mut seen = std::collections::HashSet::new();
        for epoch in 0..512 {
            let isn = make(&mut Secret::default(), &KEY, &FLOW, Seq(77), OFFER, at(epoch));
            for (later, good) in [(0, true), (1, true), (2, false), (3, false), (4, false), (1 << 20, false)] {
                let proof = check(&mut Secret::default(), &KEY, &FLOW, Seq(78), isn.plus(1), at(epoch + later));
                assert_eq!(proof == Proof::First(OFFER), good, "{later} epochs after epoch {epoch}");
            }
            seen.insert(isn.0 >> 8);
        }
        // Everything else was the same: so it is the secret that changed. Two of 24 bits may happen to be equal.
        assert!(seen.len() > 500, "only {} secrets in 512 epochs", seen.len());
    }

    /// N9: the CPU that checks a cookie may be behind the one that made it, by as much as a tick, and an epoch may have begun meanwhile.
    #[test]
    fn a_cookie_is_good_on_another_cpu_when_an_epoch_begins() {
        for turn in [7 << EPOCH_SHIFT, 8 << EPOCH_SHIFT] {
            for made in turn - 12..turn + 12 {
                let isn = make(&mut Secret::default(), &KEY, &FLOW, Seq(77), OFFER, made);
                for checked in made - 10..made + 12 {
                    let proof = check(&mut Secret::default(), &KEY, &FLOW, Seq(78), isn.plus(1), checked);
                    assert_eq!(proof, Proof::First(OFFER), "made at {made}, checked at {checked}, new epoch at {turn}");
                }
            }
        }
    }

    /// N9.
    #[test]
    fn later_segments_and_strangers_are_told_apart() {
        let isn = make(&mut Secret::default(), &KEY, &FLOW, Seq(77), OFFER, 9_000_000);
        let mut later = 0;
        for distance in 1..4000u32 {
            if check(&mut Secret::default(), &KEY, &FLOW, Seq(78 + distance), isn.plus(1), 9_000_000) == Proof::Later {
                later += 1;
            }
        }
        assert!(later > 3990, "proof B lets {} of 4000 wrong numbers pass", 3999 - later);
        let mut none = 0;
        for guess in 0..4000u32 {
            let guess = Seq(guess.wrapping_mul(0x9e37_79b9));
            if check(&mut Secret::default(), &KEY, &FLOW, Seq(78), guess, 9_000_000) == Proof::None {
                none += 1;
            }
        }
        assert!(none > 3980, "proof A lets {} of 4000 guesses pass", 4000 - none);
    }
}
