//! Heads in pieces, and what lies beyond one that has not been seen.

use super::rig::{HOOKS, Out, Rig, Seg, data, get, len, response};
use crate::layout::*;
use crate::net::{ACK, FIN};
use crate::verdict::{Note, Verdict};

#[test]
fn nothing_passes_beyond_a_head_that_has_not_been_seen() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        assert_eq!(rig.says(client + 10, b"GET / HTTP/1.1\r\n\r\n", director), []);
        assert_eq!(rig.verdict, Verdict::BeyondHead);
        rig.says(client, &get(""), director);
        let next = client + len(&get(""));
        assert_eq!(rig.answers(index, director + 10, &response("", 1), next), []);
        assert_eq!(rig.verdict, Verdict::BeyondResponseHead);
        assert_eq!((rig.in_flight(0), rig.flow().sent), (1, rig.flow().acked));
    }
}

#[test]
fn a_head_in_pieces_on_a_leg_leaves_the_flow_framed() {
    for hook in HOOKS {
        let (mut rig, index, mut client, mut director) = Rig::served(hook);
        // Again and again: what the stash held for one must not be in the way of the next.
        for turn in 0..4 {
            let request = get("");
            let out = rig.says(client, &request[..10], director);
            assert_eq!((rig.verdict, out[0].seg().acked), (Verdict::HeadPart, client + 10), "turn {turn}");
            let out = rig.says(client + 10, &request[10..20], director);
            assert_eq!((rig.verdict, out[0].seg().acked), (Verdict::HeadPart, client + 20));
            let out = rig.says(client + 20, &request[20..], director);
            assert_eq!((rig.verdict, data(&out)), (Verdict::RequestFromStash, request.clone()));
            assert_eq!(out[0].seg().from, client);
            client += len(&request);
            let answer = response("", 20);
            rig.answers(index, director, &answer, client);
            director += len(&answer);
            let flow = rig.flow();
            assert_eq!(flow.flags & (REQUESTS_UNFRAMED | RESPONSES_UNFRAMED), 0, "turn {turn}");
            assert_eq!((rig.stashes(), rig.in_flight(0), flow.received), (0, 0, flow.request.next));
        }
    }
}

#[test]
fn a_head_in_pieces_is_answered_for_until_the_backend_has_it() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = get("");
        rig.says(client, &request[..20], director);
        rig.says(client + 20, &request[20..], director);
        // All of it was lost on its way. The client sends only what nobody acknowledged.
        let out = rig.says(client + 20, &request[20..], director);
        assert_eq!((data(&out), out[0].seg().from), (request.clone(), client));
        rig.backend(index, Seg { from: director, acked: client + len(&request), ..Seg::default() });
        assert_eq!(rig.stashes(), 0);
    }
}

#[test]
fn the_clients_end_in_the_middle_of_a_head_ends_the_flow() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = Rig::served(hook);
        rig.says(client, b"GET / HT", director);
        let out = rig.client(Seg { from: client + 8, acked: director, flags: FIN | ACK, ..Seg::default() });
        assert!(
            out.iter().any(|out| matches!(out, Out::Client(_))),
            "{:?}: the client sends its FIN for ever",
            rig.verdict
        );
        assert_eq!((rig.flow().state, rig.stashes(), rig.in_flight(0)), (FLOW_CLOSING, 0, 0));
    }
}

/// N6.
#[test]
fn an_acknowledgement_of_the_directors_own_does_not_overtake_the_backends_clock() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = Rig::served(hook);
        let clock = rig.flow().clock;
        // A minute later the backend's clock, which ticks every 10 ms as some do, is far behind the director's.
        rig.wait(60_000);
        rig.says(client, b"GET / HT", director);
        assert_eq!(rig.verdict, Verdict::HeadPart);
        assert_eq!(
            rig.flow().clock,
            clock,
            "the client drops what comes with an older timestamp than it has seen (PAWS)"
        );
    }
}

/// N11.
#[test]
fn half_a_head_is_not_waited_for_as_long_as_a_silent_client() {
    for hook in HOOKS {
        for (part, seconds, collected) in [("", 61, 0), ("GET / HT", 59, 0), ("GET / HT", 61, 1)] {
            let mut rig = Rig::new(hook);
            rig.connect();
            if !part.is_empty() {
                rig.says(0, part.as_bytes(), 0);
                assert_eq!((rig.verdict, rig.stashes()), (Verdict::HeadPart, 1));
            }
            rig.wait(seconds * 1000);
            let (globals, now) = (rig.maps.globals, rig.maps.now.get() / 1_000_000);
            for _ in 0..globals.flows {
                crate::splice::claim_slot(&rig.maps, &globals, now);
            }
            assert_eq!(rig.noted(Note::FlowCollected), collected, "{part:?} after {seconds} s");
            assert_eq!(rig.stashes(), usize::from(!part.is_empty() && collected == 0));
        }
    }
}
