//! Legs that die while they are idle, and those whose death is seen only when a request went out on them.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, FIN, RST, SYN};
use crate::verdict::{Note, Verdict};

/// A client has come and gone, and its leg is idle: the backend, and the first bytes that come next of either side.
fn idle(hook: Hook) -> (Rig, u8, i64, i64) {
    let mut rig = Rig::pooling(hook, 8);
    rig.connect();
    let (index, client, director) = rig.serve();
    rig.closes(client, director);
    assert_eq!(rig.pooled(index), 1);
    (rig, index, client, director)
}

/// The next client's request has just gone out on it.
fn taken(hook: Hook) -> (Rig, u8) {
    let (mut rig, index, ..) = idle(hook);
    rig.connect_another();
    rig.takes(0, &get(""), 0);
    (rig, index)
}

#[test]
fn what_an_idle_leg_says() {
    // From where, relative to what is expected of it; bytes; flags; what becomes of it; whether the leg lives on.
    let rows = [
        (0, 0, ACK, Verdict::IdleLegQuiet, true),
        (-1, 0, ACK, Verdict::IdleLegProbed, true),
        (-1, 1, ACK, Verdict::IdleLegProbed, true),
        (-20, 20, ACK, Verdict::IdleLegProbed, true),
        (0, 1, ACK, Verdict::IdleLegSpoke, false),
        (-20, 21, ACK, Verdict::IdleLegSpoke, false),
        (500, 1, ACK, Verdict::IdleLegSpoke, false),
        (0, 0, FIN | ACK, Verdict::IdleLegClosed, false),
        (-20, 20, FIN | ACK, Verdict::IdleLegClosed, false),
        (-20, 10, FIN | ACK, Verdict::IdleLegProbed, true),
        (0, 0, RST, Verdict::IdleLegReset, false),
        (0, 0, RST | ACK, Verdict::IdleLegReset, false),
        (-1, 0, RST, Verdict::ForgedReset, true),
        (1, 0, RST | ACK, Verdict::ForgedReset, true),
        (1 << 20, 0, RST, Verdict::ForgedReset, true),
    ];
    for hook in HOOKS {
        for (from, bytes, flags, verdict, lives) in rows {
            let (mut rig, index, client, director) = idle(hook);
            rig.wait(5000);
            let seg = Seg { from: director + from, acked: client, flags, data: vec![b'x'; bytes], ..Seg::default() };
            let out = rig.backend(index, seg.clone());
            assert_eq!(rig.verdict, verdict, "{seg:?}");
            match verdict {
                Verdict::IdleLegProbed => {
                    let [Out::Leg(to, ack)] = &out[..] else { panic!("{seg:?}: {out:?}") };
                    let answer = (*to, ack.flags, ack.from, ack.acked, ack.data.len());
                    assert_eq!(answer, (index, ACK, client, director, 0), "{seg:?}");
                }
                Verdict::IdleLegSpoke | Verdict::IdleLegClosed => {
                    let [Out::Leg(to, reset)] = &out[..] else { panic!("{seg:?}: {out:?}") };
                    assert_eq!((*to, reset.flags, reset.from), (index, RST, client), "{seg:?}");
                }
                _ => assert_eq!(out, [], "{seg:?}"),
            }
            assert_eq!(rig.pooled(index), 1, "a dead one stays until somebody comes upon it");
            rig.connect_another();
            if lives {
                rig.says(0, &get(""), 0);
                assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::RequestPooled, 0), "{seg:?}");
            } else {
                rig.opens(0, &get(""), 0);
                assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::RequestOpen, 0), "{seg:?}");
            }
        }
    }
}

#[test]
fn a_dead_leg_is_answered_with_a_reset_and_nothing_more() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = idle(hook);
        let fin = Seg { from: director, acked: client, flags: FIN | ACK, ..Seg::default() };
        rig.backend(index, fin.clone());
        // The reset was lost.
        let out = rig.backend(index, fin);
        assert!(matches!(&out[..], [Out::Leg(_, seg)] if seg.flags == RST && seg.from == client), "{out:?}");
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::OldLeg, 1));
    }
}

#[test]
fn a_stranger_does_not_speak_for_an_idle_leg() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = idle(hook);
        for flags in [RST, FIN | ACK] {
            rig.backend(1 - index, Seg { from: director, acked: client, flags, ..Seg::default() });
        }
        rig.connect_another();
        rig.takes(0, &get(""), 0);
    }
}

#[test]
fn dead_legs_on_top_of_a_living_one_are_passed_over() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        let ends = [(); 3].map(|()| {
            let port = rig.connect_another();
            (port, rig.serve(), rig.leg_port)
        });
        for (turn, (client_port, (index, client, director), leg_port)) in ends.into_iter().enumerate() {
            (rig.client_port, rig.leg_port) = (client_port, leg_port);
            rig.closes(client, director);
            rig.client(Seg { from: client + 1, acked: director + 1, ..Seg::default() });
            if turn != 0 {
                rig.backend(index, Seg { from: director, acked: client, flags: RST, ..Seg::default() });
                assert_eq!(rig.verdict, Verdict::IdleLegReset);
            }
        }
        let (_, (index, ..), leg_port) = ends[0];
        assert_eq!(rig.pooled(index), 3);
        rig.connect_another();
        rig.takes(0, &get(""), 0);
        assert_eq!((rig.leg_port, rig.pooled(index)), (leg_port, 0));
        let free = rig.maps.leg_owners.iter().filter(|owner| owner.get() == 0).count();
        assert_eq!(free, 3);
    }
}

#[test]
fn a_backend_that_closes_at_that_very_moment_costs_its_client_nothing() {
    for hook in HOOKS {
        for (flags, acked) in [(FIN | ACK, 0), (RST | ACK, 0), (RST, 0), (FIN | ACK, 1), (RST, 1)] {
            let (mut rig, index) = taken(hook);
            // It may have acknowledged the request before its process closed.
            let acked = acked * len(&get(""));
            rig.backend(index, Seg { acked, ..Seg::default() });
            assert_eq!(rig.verdict, Verdict::AckHeld);
            let out = rig.backend(index, Seg { acked, flags, ..Seg::default() });
            let [Out::Leg(old, reset), Out::Leg(to, syn)] = &out[..] else { panic!("{:?}: {out:?}", rig.verdict) };
            assert_eq!((*old, reset.flags, syn.flags), (index, RST, SYN));
            assert_eq!((rig.verdict, rig.in_flight(0), rig.noted(Note::LegRaced)), (Verdict::LegLost, 1, 1));
            let out = rig.accepts(*to);
            assert_eq!(data(&out), get(""));
            let answer = response("", 9);
            let out = rig.answers(*to, 0, &answer, len(&get("")));
            assert!(matches!(&out[..], [Out::Client(seg)] if seg.from == 0 && seg.data == answer), "{out:?}");
            assert_eq!((rig.in_flight(0), rig.stashes()), (0, 0));
            // The new leg is as good as any.
            rig.closes(len(&get("")), len(&answer));
            assert_eq!((rig.verdict, rig.pooled(*to)), (Verdict::LegParked, 1));
        }
    }
}

#[test]
fn a_backend_that_dies_behind_its_first_byte_is_no_race() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        let answer = response("", 50);
        rig.answers(index, 0, &answer[..30], len(&get("")));
        let out = rig.backend(index, Seg { from: 30, acked: len(&get("")), flags: RST, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Client(seg)] if seg.flags & RST != 0), "{out:?}");
        assert_eq!((rig.verdict, rig.noted(Note::LegRaced), rig.in_flight(0)), (Verdict::BackendReset, 0, 0));
    }
}

#[test]
fn a_reset_that_nobody_could_know_is_no_race() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        rig.backend(index, Seg { from: 1 << 24, flags: RST, ..Seg::default() });
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ForgedReset, 1));
    }
}

#[test]
fn a_leg_into_the_void_is_given_up_at_the_second_retransmission() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        rig.wait(200);
        let out = rig.says(0, &get(""), 0);
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.data == get("")), "{out:?}");
        assert_eq!(rig.verdict, Verdict::RequestFromStash);
        rig.wait(400);
        let out = rig.says(0, &get(""), 0);
        let Some(Out::Leg(to, syn)) = out.last() else { panic!("{out:?}") };
        assert_eq!((rig.verdict, syn.flags, rig.in_flight(0)), (Verdict::LegLost, SYN, 1));
        assert_eq!(data(&rig.accepts(*to)), get(""));
        rig.answers(*to, 0, &response("", 2), len(&get("")));
        assert_eq!((rig.in_flight(0), rig.stashes()), (0, 0));
    }
}

#[test]
fn what_the_backend_has_is_acknowledged_by_the_director() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        rig.backend(index, Seg { acked: len(&get("")), ..Seg::default() });
        assert_eq!((rig.verdict, rig.stashes()), (Verdict::AckHeld, 1));
        // A response that takes longer than the client's timer.
        rig.wait(200);
        let out = rig.says(0, &get(""), 0);
        let [Out::Client(ack)] = &out[..] else { panic!("{:?}: {out:?}", rig.verdict) };
        assert_eq!((ack.flags, ack.from, ack.acked), (ACK, 0, len(&get(""))));
        assert_eq!((rig.verdict, rig.stashes(), rig.in_flight(0)), (Verdict::ProbeAnswered, 0, 1));
        // From now on it is as on any other leg, also its end.
        let out = rig.backend(index, Seg { acked: len(&get("")), ..Seg::default() });
        assert!(matches!(&out[..], [Out::Client(_)]), "{out:?}");
        let out = rig.answers(index, 0, &response("", 2), len(&get("")));
        assert_eq!((data(&out), rig.in_flight(0)), (response("", 2), 0));
    }
}

#[test]
fn a_client_that_closes_while_the_leg_may_be_dead_is_served_all_the_same() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        let end = len(&get(""));
        let out = rig.closes(end, 0);
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == FIN | ACK), "{out:?}");
        let out = rig.backend(index, Seg { flags: RST, ..Seg::default() });
        let Some(Out::Leg(to, _)) = out.last() else { panic!("{out:?}") };
        assert_eq!(data(&rig.accepts(*to)), get(""));
        // Nobody has acknowledged its FIN.
        let out = rig.closes(end, 0);
        assert!(matches!(&out[..], [Out::Leg(_, seg)] if seg.flags == FIN | ACK && seg.from == end), "{out:?}");
        let answer = response("", 5);
        let out = rig.answers(*to, 0, &answer, end + 1);
        assert_eq!(data(&out), answer);
        let out = rig.backend(*to, Seg { from: len(&answer), acked: end + 1, flags: FIN | ACK, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Client(seg)] if seg.flags & FIN != 0), "{out:?}");
        assert_eq!((rig.flow().state, rig.pooled(index)), (FLOW_CLOSING, 0));
    }
}

#[test]
fn without_another_backend_the_client_is_told() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        for policy in &mut rig.maps.policies {
            policy.versions = [VersionPolicy::NONE; MAX_VERSIONS as usize];
        }
        let out = rig.backend(index, Seg { flags: RST, ..Seg::default() });
        assert!(
            out.iter().any(|out| matches!(out, Out::Client(seg) if seg.data.starts_with(b"HTTP/1.1 503 "))),
            "{out:?}"
        );
        assert_eq!((rig.verdict, rig.in_flight(0), rig.stashes()), (Verdict::Rejected, 0, 0));
    }
}

#[test]
fn what_must_not_be_done_twice_does_not_follow_on_a_leg_that_may_be_dead() {
    let tunnel = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let unreadable = b"POST / HTTP/1.1\nContent-Length: 0\n\n".to_vec();
    for hook in HOOKS {
        for second in [post(5), tunnel.clone(), unreadable.clone()] {
            let (mut rig, index) = taken(hook);
            let next = len(&get(""));
            // A RST without an acknowledgement would not say that the backend has not read it.
            let out = rig.says(next, &second, 0);
            assert_eq!((rig.verdict, data(&out), rig.in_flight(0)), (Verdict::AckAlone, vec![], 1));
            // A safe one may.
            rig.says(next, &get(""), 0);
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::RequestSame, 2));
            let out = rig.says(next + next, &second, 0);
            assert_eq!((rig.verdict, data(&out)), (Verdict::AckAlone, vec![]));
            let answer = response("", 5);
            rig.answers(index, 0, &answer, next + next);
            let out = rig.says(next + next, &second, len(&answer));
            assert_eq!(data(&out), second, "the leg lives");
        }
    }
}

#[test]
fn safe_requests_that_followed_on_a_dead_leg_come_again() {
    for hook in HOOKS {
        let (mut rig, index) = taken(hook);
        let next = len(&get(""));
        rig.says(next, &get("b"), 0);
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::RequestSame, 2));
        let out = rig.backend(index, Seg { flags: RST, ..Seg::default() });
        let Some(Out::Leg(to, _)) = out.last() else { panic!("{out:?}") };
        assert_eq!(data(&rig.accepts(*to)), get(""));
        // Nobody has acknowledged the second one, so its client sends it again.
        let out = rig.says(next, &get("b"), 0);
        assert_eq!((data(&out), rig.in_flight(0)), (get("b"), 2));
        let answers = [response("", 1), response("", 2)].concat();
        rig.answers(*to, 0, &answers, next + len(&get("b")));
        assert_eq!((rig.in_flight(0), rig.stashes()), (0, 0));
    }
}
