//! Connections whose requests or responses cannot be followed.

use super::flows::flip;
use super::rig::{HOOKS, Hook, Out, Rig, Seg, data, get, len, response};
use crate::layout::*;
use crate::net::{ACK, FIN, RST};
use crate::verdict::Verdict;

#[test]
fn a_flow_with_unframed_responses_goes_on_for_ever() {
    for hook in HOOKS {
        let (mut rig, index, mut client, mut director) = Rig::served(hook);
        for turn in 0..100 {
            let request = get("");
            let out = if turn % 10 == 9 {
                rig.says(client, &request[..9], director);
                assert_eq!(rig.verdict, Verdict::HeadPart, "turn {turn}");
                rig.says(client + 9, &request[9..], director)
            } else {
                rig.says(client, &request, director)
            };
            assert_eq!(data(&out), request, "turn {turn}: {:?}", rig.verdict);
            client += len(&request);
            let answer = b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx";
            rig.answers(index, director, answer, client);
            assert_eq!(rig.verdict, Verdict::ToClient);
            director += len(answer);
        }
        assert_eq!(rig.flow().flags & RESPONSES_UNFRAMED, RESPONSES_UNFRAMED);
        rig.client(Seg { from: client, acked: director, flags: RST, ..Seg::default() });
        assert_eq!(rig.in_flight(0), 0);
    }
}

/// A head with two lengths, and its answer.
fn ambiguous(hook: Hook) -> (Rig, u8, i64, i64) {
    let (mut rig, index, client, director) = Rig::served(hook);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc";
    rig.says(client, head, director);
    assert_eq!(rig.verdict, Verdict::Unframed);
    (rig, index, client + len(head), director)
}

#[test]
fn the_answer_to_a_head_that_is_not_followed_is_the_last_one() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = ambiguous(hook);
        let answer = response("", 50);
        rig.answers(index, director, &answer[..30], client);
        let out = rig.answers(index, director + 30, &answer[30..], client);
        assert_eq!(out[0].seg().flags & FIN, FIN, "with its last byte");
        // It may be lost, and comes again as it was; what a smuggled request is answered by goes to nobody.
        let out = rig.answers(index, director + 30, &answer[30..], client);
        assert_eq!((data(&out), out[0].seg().flags & FIN), (answer[30..].to_vec(), FIN));
        let director = director + len(&answer);
        assert_eq!(rig.answers(index, director, &response("", 9), client), []);
        assert_eq!(rig.in_flight(0), 0);
        // The client has a part of it, which its backend hears of; then all, and the director's FIN; then it closes as well.
        rig.client(Seg { from: client, acked: director, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ToBackend);
        let out = rig.client(Seg { from: client, acked: director + 1, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == RST), "{out:?}");
        let out = rig.client(Seg { from: client, acked: director + 1, flags: FIN | ACK, ..Seg::default() });
        let [Out::Client(seg)] = &out[..] else { panic!("{out:?}") };
        assert_eq!((seg.flags & ACK, seg.acked), (ACK, client + 1));
    }
}

#[test]
fn a_client_that_speaks_on_behind_the_last_answer_is_reset() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = ambiguous(hook);
        let answer = response("", 50);
        rig.answers(index, director, &answer, client);
        let out = rig.says(client, &get(""), director + len(&answer));
        assert_eq!(rig.verdict, Verdict::UnframedMoved);
        assert!(out.iter().all(|out| out.seg().flags & RST != 0) && out.len() == 2, "{out:?}");
    }
}

#[test]
fn a_service_may_keep_connections_that_are_not_followed() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = ambiguous(hook);
        flip(&mut rig, |policy| policy.flags |= POLICY_KEEP_UNFRAMED);
        let answer = response("", 50);
        let out = rig.answers(index, director, &answer, client);
        assert_eq!(out[0].seg().flags & FIN, 0);
        let out = rig.says(client, &get(""), director + len(&answer));
        assert_eq!((data(&out), rig.verdict), (get(""), Verdict::ToBackend));
    }
}
