//! A client's port that is used again while its former connection lives here: by the client itself, which has forgotten that one, or by
//! somebody who only wants to end it.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, data, get, len};
use crate::cookie::{self, Offer, Proof};
use crate::host::Maps;
use crate::layout::*;
use crate::net::{ACK, RST};
use crate::verdict::Verdict;

/// A connection that lives, as far as it has come: what its backend has acknowledged of the client.
type Life = (&'static str, fn(Hook) -> (Rig, i64));

const LIVES: [Life; 5] = [
    ("connected", |hook| {
        let mut rig = Rig::new(hook);
        rig.connect();
        (rig, 0)
    }),
    ("half a head", |hook| {
        let mut rig = Rig::new(hook);
        rig.connect();
        rig.says(0, &get("")[..10], 0);
        assert_eq!(rig.verdict, Verdict::HeadPart);
        (rig, 0)
    }),
    ("a leg that is being opened", |hook| {
        let mut rig = Rig::new(hook);
        rig.connect();
        rig.opens(0, &get(""), 0);
        (rig, 0)
    }),
    ("served", |hook| {
        let (rig, _, client, _) = Rig::served(hook);
        (rig, client)
    }),
    ("megabytes of an upload under way", |hook| {
        let (mut rig, _, client, director) = Rig::served(hook);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n";
        rig.says(client, head, director);
        for piece in 0..40 {
            rig.says(client + len(head) + piece * 60_000, &[b'a'; 60_000], director);
            assert_eq!(rig.verdict, Verdict::ToBackend);
        }
        (rig, client)
    }),
];

/// Everything that is known of the present client's connection, but for times.
fn known(rig: &Rig) -> String {
    format!("{:?}", Flow { clock: 0, challenged: 0, ..rig.flow() })
}

/// N23 (RFC 5961, section 4).
#[test]
fn a_syn_ends_no_flow_that_lives_and_its_answer_frees_a_client_that_has_begun_anew() {
    for hook in HOOKS {
        for (life, begin) in LIVES {
            let (mut rig, acked) = begin(hook);
            let (before, in_flight) = (known(&rig), rig.in_flight(0));
            let out = rig.knocks();
            assert_eq!(rig.verdict, Verdict::SynChallenged, "{life}");
            assert!(
                matches!(&out[..], [Out::Client(seg)] if seg.flags == ACK && seg.acked == acked),
                "{life}: {out:?}"
            );
            assert_eq!((known(&rig), rig.in_flight(0)), (before, in_flight), "{life}");
            // A client that has sent a SYN answers an acknowledgement of something else so (RFC 9293, section 3.10.7.3).
            rig.client(Seg { from: acked, flags: RST, ..Seg::default() });
            assert!(
                matches!(rig.verdict, Verdict::ClientReset | Verdict::ClientResetAlone),
                "{life}: {:?}",
                rig.verdict
            );
            assert_eq!((rig.flow().state, rig.in_flight(0), rig.stashes()), (FLOW_CLOSING, 0, 0), "{life}");
            // Its SYN comes again.
            rig.connect();
            rig.serve();
        }
    }
}

/// N23 (RFC 5961, section 7).
#[test]
fn syns_for_a_flow_that_lives_are_answered_twice_a_second() {
    for hook in HOOKS {
        let (mut rig, ..) = Rig::served(hook);
        for _ in 0..3 {
            assert_eq!((rig.knocks().len(), rig.verdict), (1, Verdict::SynChallenged));
            for ms in [0, 100, 399] {
                rig.wait(ms);
                assert_eq!((rig.knocks(), rig.verdict), (vec![], Verdict::SynIgnored));
            }
            rig.wait(1);
        }
    }
}

/// N23. One cookie in 16 million is good, and whoever sends enough segments finds it.
#[test]
fn a_good_cookie_ends_no_flow_that_lives() {
    for hook in HOOKS {
        for (life, begin) in LIVES {
            let (mut rig, _) = begin(hook);
            let (key, secret, now) = (rig.flow().key, rig.maps.globals.cookie_key, rig.maps.now.get() / 1_000_000);
            let offer = Offer { mss: 1460, scale: 7, sack: true };
            for turn in 1..8 {
                let seq = rig.flow().received.plus(turn << 29);
                let ack = cookie::make(&mut cookie::Secret::default(), &secret, &key, seq.minus(1), offer, now).plus(1);
                assert_eq!(
                    cookie::check(&mut cookie::Secret::default(), &secret, &key, seq, ack, now),
                    Proof::First(offer)
                );
                let (state, in_flight) = (rig.flow().state, rig.in_flight(0));
                let out = rig.forges(seq, ack, &get("forged"));
                assert!(data(&out).is_empty(), "{life}: {:?} lets it pass", rig.verdict);
                assert_eq!((rig.flow().state, rig.in_flight(0)), (state, in_flight), "{life}: {:?}", rig.verdict);
                assert_eq!(rig.maps.flow_slot(&key), Some(rig.flow().slot), "{life}");
            }
        }
    }
}

/// N23. Its numbers are as far from the present ones as those of a new connection, and its cookie is good.
#[test]
fn a_late_copy_of_the_first_segment_ends_no_flow() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n";
        rig.says(client, head, director);
        let mut sent = client + len(head);
        for _ in 0..40 {
            rig.says(sent, &[b'a'; 60_000], director);
            sent += 60_000;
            rig.backend(index, Seg { from: director, acked: sent, ..Seg::default() });
        }
        rig.client(Seg::default());
        assert_eq!((rig.flow().state, rig.in_flight(0)), (FLOW_SPLICED, 1), "{:?}", rig.verdict);
    }
}
