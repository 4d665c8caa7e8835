//! Stories of one connection each, told under both hooks: what XDP passes up must find a flow that knows nothing of it.

use super::rig::{HOOKS, Out, Rig, Seg, bind, binding, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH, RST};
use crate::verdict::{Note, Verdict};

pub(super) fn flip(rig: &mut Rig, change: impl Fn(&mut Policy)) {
    rig.maps.policies.iter_mut().for_each(change);
    let word = ServiceWord(rig.maps.word.get());
    rig.maps.word.set(ServiceWord::new(word.block() ^ 1, word.generation() + 1).0);
}

#[test]
fn a_connection_is_served_and_leaves_nothing_behind() {
    for hook in HOOKS {
        for timestamps in [false, true] {
            let mut rig = Rig::new(hook);
            rig.timestamps = timestamps;
            rig.connect();
            let request = get("");
            let index = rig.opens(0, &request, 0);
            assert_eq!((rig.verdict, rig.in_flight(0), rig.stashes()), (Verdict::RequestOpen, 1, 1));
            rig.accepts(index);
            let answer = response("", 100);
            let out = rig.answers(index, 0, &answer, len(&request));
            assert_eq!(
                out,
                [Out::Client(Seg {
                    from: 0,
                    acked: len(&request),
                    flags: ACK | PSH,
                    data: answer.clone(),
                    window: 500
                })]
            );
            assert_eq!((rig.in_flight(0), rig.stashes(), rig.flow().outstanding), (0, 0, 0));
            let (next, answered) = (len(&request), len(&answer));
            let out = rig.client(Seg { from: next, acked: answered, flags: FIN | ACK, ..Seg::default() });
            assert_eq!((out[0].seg().from, out[0].seg().flags), (next, FIN | ACK));
            let out = rig.backend(index, Seg { from: answered, acked: next + 1, flags: FIN | ACK, ..Seg::default() });
            assert_eq!((out[0].seg().from, out[0].seg().acked), (answered, next + 1));
            assert_eq!(rig.flow().state, FLOW_CLOSING);
            rig.client(Seg { from: next + 1, acked: answered + 1, ..Seg::default() });
            assert_eq!(rig.verdict, Verdict::ToBackend);
            assert_eq!(rig.maps.traffic[0].flows.get(), 0);
        }
    }
}

#[test]
fn a_session_is_bound_before_its_response_leaves() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = get("");
        rig.says(client, &request, director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        let answer = response("Set-Cookie: JSESSIONID=abc; Path=/\r\n", 5);
        // In three parts, the first of which ends in the name.
        for (from, until) in [(0, 28), (28, 60), (60, answer.len())] {
            rig.answers(index, director + from as i64, &answer[from..until], client + len(&request));
            assert_eq!(rig.verdict, Verdict::ToClient);
        }
        let bound = binding(&rig, "abc").expect("it is bound");
        assert_eq!((bound.version(), bound.generation(), bound.backend()), (0, 10, index.into()));
        assert_eq!((bound.kind(), rig.stashes(), rig.in_flight(0)), (KIND_ISSUED, 0, 0));
        // And comes back.
        let (client, director) = (client + len(&request), director + len(&answer));
        rig.says(client, &get("abc"), director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        assert_eq!(binding(&rig, "abc").unwrap().kind(), KIND_PRESENTED);
        rig.answers(index, director, &response("Set-Cookie: JSESSIONID=; Max-Age=0\r\n", 0), client + len(&get("abc")));
        assert_eq!(binding(&rig, "abc"), None, "a deletion");
    }
}

/// N8.
#[test]
fn a_session_of_another_version_is_rebound_when_the_response_is_complete_and_acknowledged() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
        let (first, second) = (get(""), get("old"));
        rig.says(client, &first, director);
        let next = client + len(&first);
        let answer = response("", 50);
        // Pipelined: the response has not come, has come in part, has come but is not acknowledged.
        let alone = |out: Vec<Out>| out.len() == 1 && out[0].seg().data.is_empty() && out[0].seg().flags == ACK;
        assert!(alone(rig.says(next, &second, director)), "its acknowledgement must not wait");
        assert_eq!(rig.verdict, Verdict::AckAlone);
        rig.answers(index, director, &answer[..60], next);
        assert!(alone(rig.says(next, &second, director + 60)));
        assert_eq!(rig.verdict, Verdict::AckAlone);
        rig.answers(index, director + 60, &answer[60..], next);
        rig.says(next, &second, director + 60);
        assert_eq!(rig.verdict, Verdict::RebindWaits);
        let director = director + len(&answer);
        let to = rig.opens(next, &second, director);
        assert_eq!((to, rig.verdict), (3, Verdict::RequestRebind));
        assert_eq!((rig.in_flight(0), rig.in_flight(1)), (0, 1));
        assert_eq!((rig.maps.traffic[0].flows.get(), rig.maps.traffic[1].flows.get()), (0, 1));
        let out = rig.accepts(to);
        assert_eq!(data(&out), second);
        let out = rig.answers(to, director, &response("", 1), next + len(&second));
        assert_eq!((out[0].seg().from, out[0].seg().acked), (director, next + len(&second)));
        // What the old backend still says is answered, and reaches nobody else.
        let out = rig.backend(index, Seg { from: director, acked: next, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == RST), "{out:?}");
    }
}

/// N8: a backend that is new to a connection has no room for what the one before was promised.
#[test]
fn a_client_that_moves_is_not_left_with_the_window_of_the_leg_before() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
        let window = |out: &[Out]| out.last().unwrap().seg().window;
        let (wide, new) = (5000, 14_600 >> 7);
        let ack = |from, acked| Seg { from, acked, window: wide, ..Seg::default() };
        assert_eq!(window(&rig.backend(index, ack(director, client))), wide, "it has not moved yet");
        let request = get("old");
        let to = rig.opens(client, &request, director);
        rig.accepts(to);
        let client = client + len(&request);
        assert_eq!(window(&rig.backend(to, ack(director, client))), new, "all of its request is there");
        let answer = response("", 1);
        let out = rig.backend(to, Seg { data: answer.clone(), flags: ACK | PSH, ..ack(director, client) });
        assert_eq!((window(&out), data(&out)), (new, answer.clone()));
        let director = director + len(&answer);
        // In the middle of a request it is certain where that goes.
        let upload = b"POST / HTTP/1.1\r\nCookie: JSESSIONID=old\r\nHost: a\r\nContent-Length: 90000\r\n\r\n";
        rig.says(client, upload, director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        assert_eq!(window(&rig.backend(to, ack(director, client + len(upload)))), wide);
    }
}

#[test]
fn a_request_that_comes_twice_is_counted_once() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = Rig::served(hook);
        let request = get("");
        for _ in 0..3 {
            let out = rig.says(client, &request, director);
            assert_eq!((data(&out), out[0].seg().from), (request.clone(), client));
            assert_eq!((rig.in_flight(0), rig.flow().outstanding), (1, 1));
        }
    }
}

#[test]
fn a_request_is_decided_again_if_the_policy_changes_meanwhile() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = Rig::served(hook);
        rig.maps.word_changes.set(Some((2, ServiceWord::new(1, 2).0)));
        assert_eq!(rig.says(client, &get(""), director), []);
        assert_eq!((rig.verdict, rig.in_flight(0), rig.flow().outstanding), (Verdict::Undecided, 0, 0));
        rig.says(client, &get(""), director);
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::RequestSame, 1));
    }
}

#[test]
fn a_response_that_nobody_asked_for_resets_both_ends() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let out = rig.answers(index, director, b"HTTP/1.1 200 OK\r\n", client);
        assert_eq!(rig.verdict, Verdict::ResponseUnasked);
        let [Out::Leg(to, leg), Out::Client(seg)] = &out[..] else { panic!("{out:?}") };
        assert_eq!((*to, leg.from, leg.flags & RST), (index, client, RST));
        assert_eq!((seg.from, seg.flags & RST), (director, RST));
        assert!(seg.flags & ACK == 0 || seg.acked == client, "{seg:?}");
    }
}

#[test]
fn interim_responses_are_not_the_answer() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = post(10);
        let head = request.len() - 10;
        rig.says(client, &request[..head], director);
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        rig.answers(index, director, interim, client + head as i64);
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, 1));
        let director = director + len(interim);
        rig.says(client + head as i64, &request[head..], director);
        assert_eq!(rig.verdict, Verdict::ToBackend);
        rig.answers(index, director, &response("", 1), client + len(&request));
        assert_eq!((rig.in_flight(0), rig.flow().flags & (REQUESTS_UNFRAMED | RESPONSES_UNFRAMED)), (0, 0));
    }
}

#[test]
fn a_session_that_is_moved_onto_the_leg_at_hand_is_bound_there() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        // Of a version that is gone.
        bind(&rig, "moved", Binding::new(5, 3, 1, KIND_PRESENTED));
        rig.says(client, &get("moved"), director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        let bound = binding(&rig, "moved").unwrap();
        assert_eq!((bound.version(), bound.generation(), bound.backend()), (0, 10, index.into()));
        assert_eq!(rig.noted(Note::SessionMoved), 1);
    }
}

#[test]
fn a_session_born_on_a_leg_that_outlived_a_forced_flip_is_bound_with_the_present_generation() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        // There and back: everybody moved, and the version is active again under another generation.
        flip(&mut rig, |policy| policy.versions[0].generation = 20);
        rig.says(client, &get(""), director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        rig.answers(index, director, &response("Set-Cookie: JSESSIONID=new\r\n", 1), client + len(&get("")));
        assert_eq!(binding(&rig, "new").unwrap().generation(), 20, "or it is moved again at once");
    }
}

#[test]
fn d7_d9_flips_on_an_open_connection() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        bind(&rig, "mine", Binding::new(0, 10, index.into(), KIND_PRESENTED));
        flip(&mut rig, |policy| policy.active = 1);
        let request = get("mine");
        rig.says(client, &request, director);
        assert_eq!(rig.verdict, Verdict::RequestSame, "a flip of new sessions");
        let (client, answer) = (client + len(&request), response("", 1));
        rig.answers(index, director, &answer, client);
        let director = director + len(&answer);
        flip(&mut rig, |policy| policy.versions[0].generation = 21);
        let index = rig.opens(client, &request, director);
        assert!([2, 3].contains(&index), "a forced flip");
        assert_eq!((rig.in_flight(0), rig.in_flight(1)), (0, 1));
        assert_eq!(binding(&rig, "mine").unwrap().version(), 1);
    }
}

/// N8.
#[test]
fn what_lies_too_far_ahead_moves_nothing() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000000\r\n\r\n";
        rig.says(client, request, director);
        let (client, before) = (client + len(request), rig.flow().received);
        assert_eq!(rig.says(client + (1 << 25), b"far", director), []);
        assert_eq!((rig.verdict, rig.flow().received), (Verdict::BeyondStash, before));
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n";
        rig.answers(index, director, response, client);
        let (director, before) = (director + len(response), rig.flow().sent);
        assert_eq!(rig.answers(index, director + (1 << 25), b"far", client), []);
        assert_eq!((rig.verdict, rig.flow().sent), (Verdict::BeyondResponseHead, before));
        // What is in order goes on, either way.
        assert_eq!(rig.answers(index, director, b"near", client).len(), 1);
        assert_eq!(rig.says(client, b"near", director).len(), 1);
    }
}

/// The CPU that the ACK comes to may know an earlier time than the one that made the SYN-ACK ([`crate::cookie`]).
#[test]
fn a_flow_does_not_say_an_earlier_time_than_its_syn_ack_did() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.knocks();
        let said = rig.maps.now.get() / 1_000_000;
        rig.maps.now.set((said - 9) * 1_000_000);
        rig.client(Seg::default());
        assert_eq!((rig.verdict, u64::from(rig.flow().clock)), (Verdict::FlowBegun, said & 0xffff_ffff));
        // The director's own acknowledgement of a part of a head: the client compares its time with that of the SYN-ACK.
        assert_eq!(rig.says(0, b"GET / HT", 0).len(), 1);
    }
}
