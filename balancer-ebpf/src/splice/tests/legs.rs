//! The slots of legs: when one comes free, and what becomes of a request for which there is none.

use super::rig::{HOOKS, Out, Rig, Seg, bind, data, get, len, response};
use crate::layout::*;
use crate::net::{ACK, FIN, RST};
use crate::verdict::Verdict;

/// Slots that no leg lies in.
fn free(rig: &Rig) -> usize {
    rig.maps.leg_owners.iter().filter(|owner| owner.get() == 0).count()
}

/// All slots that are free belong to flows of elsewhere now; or they are free again.
fn occupy(rig: &Rig, occupied: bool) {
    const ELSEWHERE: u64 = owned_by(1 << 20);
    let (from, to) = if occupied { (0, ELSEWHERE) } else { (ELSEWHERE, 0) };
    rig.maps.leg_owners.iter().filter(|owner| owner.get() == from).for_each(|owner| owner.set(to));
}

fn fin(from: i64, acked: i64) -> Seg {
    Seg { from, acked, flags: FIN | ACK, ..Seg::default() }
}

fn ack(from: i64, acked: i64) -> Seg {
    Seg { from, acked, ..Seg::default() }
}

// When one comes free.

/// N17.
#[test]
fn a_leg_is_free_when_each_end_has_acknowledged_the_others_fin() {
    for hook in HOOKS {
        // The client closes first: the last word is its own.
        let (mut rig, index, client, director) = Rig::served(hook);
        let all = rig.maps.leg_owners.len();
        rig.client(fin(client, director));
        rig.backend(index, fin(director, client + 1));
        assert_eq!((free(&rig), rig.flow().state), (all - 1, FLOW_CLOSING));
        let out = rig.client(ack(client + 1, director + 1));
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.acked == director + 1), "{out:?}");
        assert_eq!((free(&rig), rig.flow().seen), (all, 0));
        // It was lost: the backend asks again, and is told that there is nothing to wait for.
        let out = rig.backend(index, fin(director, client + 1));
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == RST && seg.from == client + 1));

        // The backend closes first: the last word is its own.
        let (mut rig, index, client, director) = Rig::served(hook);
        rig.says(client, &get(""), director);
        let (client, answer) = (client + len(&get("")), response("Connection: close\r\n", 5));
        rig.answers(index, director, &answer, client);
        let director = director + len(&answer);
        rig.backend(index, fin(director, client));
        rig.client(fin(client, director + 1));
        assert_eq!((free(&rig), rig.flow().state), (all - 1, FLOW_CLOSING));
        let out = rig.backend(index, ack(director + 1, client + 1));
        assert_eq!(out.len(), 1);
        assert!(matches!(&out[..], [Out::Client(seg)] if seg.acked == client + 1), "{out:?}");
        assert_eq!((free(&rig), rig.flow().seen), (all, 0));
        // It was lost: the client asks again, and the director knows.
        let out = rig.client(fin(client, director + 1));
        assert_eq!(rig.verdict, Verdict::FinAnswered);
        assert!(matches!(&out[..], [Out::Client(seg)] if (seg.from, seg.acked) == (director, client + 1)), "{out:?}");
    }
}

#[test]
fn a_leg_is_not_free_while_an_end_may_ask_again() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let used = free(&rig);
        rig.client(fin(client, director));
        // The backend has not acknowledged the client's FIN: it is lost.
        rig.backend(index, fin(director, client));
        rig.client(ack(client + 1, director + 1));
        assert_eq!((free(&rig), rig.flow().state), (used, FLOW_CLOSING));
        let out = rig.client(fin(client, director + 1));
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == FIN | ACK), "{out:?}");
        rig.backend(index, ack(director + 1, client + 1));
        assert_eq!(free(&rig), used + 1);
    }
}

#[test]
fn a_leg_that_was_reset_is_free_at_once() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let used = free(&rig);
        rig.client(Seg { from: client, acked: director, flags: RST, ..Seg::default() });
        assert_eq!((rig.verdict, free(&rig)), (Verdict::ClientReset, used + 1));
        // The reset is lost, or has passed what the backend says on its way.
        let out = rig.answers(index, director, b"late", client);
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == RST), "{out:?}");

        let (mut rig, index, client, director) = Rig::served(hook);
        rig.says(client, &get(""), director);
        rig.answers(index, director, &response("", 100)[..60], client + len(&get("")));
        rig.backend(index, Seg { from: director + 60, acked: 0, flags: RST, ..Seg::default() });
        assert_eq!((rig.verdict, free(&rig)), (Verdict::BackendReset, used + 1));
        let out = rig.says(client + len(&get("")), &get(""), director + 60);
        assert!(matches!(&out[..], [Out::Client(seg)] if seg.flags == RST), "{out:?}");
    }
}

// What becomes of a request for which there is none.

/// N17.
#[test]
fn a_request_waits_for_a_free_leg_with_its_client() {
    for hook in HOOKS {
        let request = get("");
        let half = request.len() / 2;
        for stashed in [0, half] {
            let mut rig = Rig::new(hook);
            rig.connect();
            if stashed != 0 {
                rig.says(0, &request[..stashed], 0);
                assert_eq!(rig.verdict, Verdict::HeadPart);
            }
            occupy(&rig, true);
            for _ in 0..3 {
                assert_eq!(rig.says(stashed as i64, &request[stashed..], 0), []);
                assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::LegsFull, 0));
                assert_eq!((rig.stashes(), rig.flow().outstanding), (usize::from(stashed != 0), 0));
            }
            occupy(&rig, false);
            let out = rig.says(stashed as i64, &request[stashed..], 0);
            let [Out::Leg(index, _)] = out[..] else { panic!("{:?}: {out:?}", rig.verdict) };
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::RequestOpen, 1));
            assert_eq!(data(&rig.accepts(index)), request);
        }
    }
}

#[test]
fn a_connection_that_moves_has_its_own_leg_if_no_other_is_free() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        rig.connect();
        let (index, client, director) = rig.serve();
        occupy(&rig, true);
        bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
        let out = {
            let to = rig.opens(client, &get("old"), director);
            assert_eq!((to, rig.verdict, rig.pooled(index)), (3, Verdict::RequestRebind, 0));
            rig.accepts(to)
        };
        assert_eq!(data(&out), get("old"));
        assert_eq!(free(&rig), 0);
    }
}

#[test]
fn a_leg_that_no_pool_takes_gives_back_the_slot_of_the_next() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 1);
        rig.connect();
        let (index, client, director) = rig.serve();
        rig.closes(client, director);
        assert_eq!(rig.pooled(index), 1);
        rig.connect_another();
        // Not of a safe method, so not on the leg that lies there.
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nCookie: JSESSIONID=here\r\nContent-Length: 1\r\n\r\nx";
        bind(&rig, "here", Binding::new(0, 10, index.into(), KIND_PRESENTED));
        assert_eq!(rig.opens(0, request, 0), index);
        rig.accepts(index);
        let answer = response("", 10);
        rig.answers(index, 0, &answer, len(request));
        rig.client(ack(len(request), len(&answer)));
        let used = free(&rig);
        bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
        assert_eq!(rig.opens(len(request), &get("old"), len(&answer)), 3);
        assert_eq!((rig.verdict, rig.pooled(index), free(&rig)), (Verdict::RequestRebind, 1, used));
    }
}
