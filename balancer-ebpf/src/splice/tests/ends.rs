//! How connections and legs end, and who is believed that they do.

use super::rig::{HOOKS, Out, Rig, Seg, binding, data, get, len, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH, RST};
use crate::verdict::Verdict;

#[test]
fn an_idle_leg_that_ends_is_replaced_unnoticed() {
    for hook in HOOKS {
        for flags in [FIN | ACK, RST] {
            let (mut rig, index, client, director) = Rig::served(hook);
            let out = rig.backend(index, Seg { from: director, acked: client, flags, ..Seg::default() });
            assert!(!out.iter().any(|out| matches!(out, Out::Client(_))), "{out:?}");
            assert_eq!((rig.flow().state, rig.maps.traffic[0].flows.get()), (FLOW_UNBOUND, 0));
            let index = rig.opens(client, &get(""), director);
            rig.accepts(index);
            let out = rig.answers(index, director, &response("", 3), client + len(&get("")));
            assert_eq!((out[0].seg().from, rig.in_flight(0)), (director, 0));
        }
    }
}

#[test]
fn a_request_that_crossed_the_backends_end_is_decided_anew() {
    for hook in HOOKS {
        for flags in [FIN | ACK, RST | ACK] {
            let (mut rig, index, client, director) = Rig::served(hook);
            rig.says(client, &get(""), director);
            let out = rig.backend(index, Seg { from: director, acked: client, flags, ..Seg::default() });
            assert!(!out.iter().any(|out| matches!(out, Out::Client(_))), "{out:?}");
            assert_eq!(rig.in_flight(0), 0);
            let index = rig.opens(client, &get(""), director);
            assert_eq!(data(&rig.accepts(index)), get(""));
            assert_eq!(rig.in_flight(0), 1);
        }
    }
}

#[test]
fn resets_out_of_the_window_are_not_believed() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        rig.client(Seg { from: client + (1 << 24), acked: director, flags: RST, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ForgedReset);
        rig.backend(index, Seg { from: director + (1 << 24), acked: client, flags: RST, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ForgedReset);
        let out = rig.client(Seg { from: client, acked: director, flags: RST, ..Seg::default() });
        assert_eq!((rig.verdict, out[0].seg().flags), (Verdict::ClientReset, RST));
    }
}

/// RFC 5961, section 3.2.
#[test]
fn a_reset_that_is_only_near_ends_no_flow() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        for off in [-1000, -1, 2, 1000, 1 << 19] {
            let out = rig.client(Seg { from: client + off, acked: director, flags: RST, ..Seg::default() });
            assert_eq!((rig.verdict, out.len(), rig.flow().state), (Verdict::ToBackend, 1, FLOW_SPLICED), "{off}");
        }
        rig.says(client, &get(""), director);
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::RequestSame, 1));
        rig.answers(index, director, &response("", 0), client + len(&get("")));
        assert_eq!(rig.in_flight(0), 0);
    }
}

#[test]
fn a_leg_that_ends_before_the_client_has_everything_is_not_idle() {
    for hook in HOOKS {
        for flags in [FIN | ACK, RST] {
            let (mut rig, index, client, director) = Rig::served(hook);
            rig.says(client, &get(""), director);
            let next = client + len(&get(""));
            let answer = response("", 200);
            rig.answers(index, director, &answer[..100], next);
            // The middle was lost on its way.
            rig.answers(index, director + 150, &answer[150..], next);
            let end = director + len(&answer);
            let last = Seg { from: end, acked: next, flags, ..Seg::default() };
            let out = rig.backend(index, last.clone());
            if flags & RST != 0 {
                assert!(matches!(&out[..], [Out::Client(_)]), "{:?}: {out:?}", rig.verdict);
                continue;
            }
            assert_eq!((rig.verdict, out), (Verdict::EndWaits, vec![]));
            let out = rig.answers(index, director + 100, &answer[100..150], next);
            assert_eq!(data(&out), answer[100..150]);
            rig.client(Seg { from: next, acked: end, ..Seg::default() });
            rig.backend(index, last);
            assert_eq!(rig.verdict, Verdict::LegLost);
        }
    }
}

#[test]
fn a_request_that_was_not_heard_does_not_lose_the_response_before_it() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        rig.says(client, &get(""), director);
        let next = client + len(&get(""));
        let answer = response("", 200);
        rig.answers(index, director, &answer[..100], next);
        rig.answers(index, director + 150, &answer[150..], next);
        // Pipelined, as the response has holes.
        rig.says(next, &get(""), director + 100);
        let end = director + len(&answer);
        let out = rig.backend(index, Seg { from: end, acked: next, flags: FIN | ACK, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Client(_)]), "{:?}: {out:?}", rig.verdict);
    }
}

#[test]
fn a_request_with_the_clients_end_in_it_ends_the_flow() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = get("");
        let flags = FIN | PSH | ACK;
        let out = rig.client(Seg { from: client, acked: director, flags, data: request.clone(), window: 0 });
        assert_eq!(out[0].seg().flags, flags);
        let next = client + len(&request);
        let answer = response("", 5);
        rig.answers(index, director, &answer, next + 1);
        let end = director + len(&answer);
        rig.client(Seg { from: next + 1, acked: end, ..Seg::default() });
        let out = rig.backend(index, Seg { from: end, acked: next + 1, flags: FIN | ACK, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Client(seg)] if seg.flags & FIN != 0), "{:?}: {out:?}", rig.verdict);
        assert_eq!((rig.flow().state, rig.in_flight(0)), (FLOW_CLOSING, 0));
    }
}

#[test]
fn an_end_that_overtakes_its_response_waits() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        rig.says(client, &get(""), director);
        let next = client + len(&get(""));
        rig.client(Seg { from: next, acked: director, flags: FIN | ACK, ..Seg::default() });
        let answer = response("Set-Cookie: JSESSIONID=late\r\nConnection: close\r\n", 5);
        let end = director + len(&answer);
        let fin = Seg { from: end, acked: next + 1, flags: FIN | ACK, ..Seg::default() };
        rig.backend(index, fin.clone());
        let out = rig.answers(index, director, &answer, next + 1);
        assert_eq!(data(&out), answer);
        assert!(binding(&rig, "late").is_some(), "an id is bound before the packet that issues it leaves");
        let out = rig.backend(index, fin);
        assert_eq!(out[0].seg().flags & FIN, FIN);
        assert_eq!((rig.flow().state, rig.in_flight(0)), (FLOW_CLOSING, 0));
    }
}

#[test]
fn a_bare_acknowledgement_moves_nothing() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        rig.says(client, &get(""), director);
        let next = client + len(&get(""));
        let answer = response("", 5);
        // The response was lost; what the backend acknowledges next stands behind it.
        rig.backend(index, Seg { from: director + len(&answer), acked: next, ..Seg::default() });
        assert_eq!((rig.verdict, rig.flow().sent == rig.flow().acked), (Verdict::ToClient, true));
        let out = rig.answers(index, director, &answer, next);
        assert_eq!((data(&out), rig.in_flight(0)), (answer, 0));
    }
}

#[test]
fn a_backend_does_not_wait_for_a_client_that_has_gone() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let index = rig.opens(0, &get(""), 0);
        rig.client(Seg { from: len(&get("")), acked: 0, flags: RST, ..Seg::default() });
        assert_eq!((rig.verdict, rig.in_flight(0), rig.stashes()), (Verdict::ClientResetAlone, 0, 0));
        let out = rig.accepts(index);
        assert!(
            matches!(&out[..], [Out::Leg(_, seg)] if seg.flags == RST && seg.from == 0),
            "{:?}: {out:?}",
            rig.verdict
        );
    }
}

#[test]
fn a_client_who_has_closed_and_asks_whether_anybody_is_there_begins_no_request() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = get("");
        let fin = client + len(&request);
        rig.client(Seg { from: client, acked: director, flags: ACK | PSH | FIN, data: request.clone(), window: 0 });
        assert_eq!(rig.verdict, Verdict::RequestSame);
        // The number before the next one is that of the FIN, and there is a byte there.
        rig.client(Seg { from: fin, acked: director, flags: ACK, data: vec![0], window: 0 });
        assert_eq!((rig.verdict, rig.flow().flags & REQUESTS_UNFRAMED), (Verdict::ToBackend, 0));
        rig.answers(index, director, &response("", 5), fin + 1);
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, 0));
    }
}
