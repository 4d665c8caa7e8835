//! Stories of one connection each, told under both hooks: what XDP passes up must find a flow that knows nothing of it.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, bind, binding, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH, RST, SYN};
use crate::verdict::{Note, Verdict};

pub(super) fn flip(rig: &mut Rig, change: impl Fn(&mut Policy)) {
    rig.maps.policies.iter_mut().for_each(change);
    let word = ServiceWord(rig.maps.word.get());
    rig.maps.word.set(ServiceWord::new(word.block() ^ 1, word.generation() + 1).0);
}

// The usual.

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

/// D10: while a service is held nothing new begins, what is under way ends, and what was held goes on when it comes again; after
/// the hold's end also without anybody's doing.
#[test]
fn d10_a_hold_lets_requests_end_and_none_begin() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let (first, second) = (get(""), get("more"));
        rig.says(client, &first, director);
        let until = rig.maps.now.get() / 1_000_000 + 1_000;
        flip(&mut rig, |policy| policy.hold_until = until);
        let answer = response("", 50);
        rig.answers(index, director, &answer, client + len(&first));
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, 0));
        let (client, director) = (client + len(&first), director + len(&answer));
        for _ in 0..3 {
            assert!(data(&rig.says(client, &second, director)).is_empty());
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::Held, 0));
        }
        assert_eq!((rig.maps.held.borrow().len(), rig.stashes()), (1, 1));
        rig.wait(1_001);
        assert_eq!(data(&rig.says(client, &second, director)), second);
        assert_eq!((rig.verdict, rig.in_flight(0), rig.stashes()), (Verdict::RequestSame, 1, 0));
    }
}

/// D10: what is held comes in again when it is released, once, as its client sent it; and what its client sends itself later is a
/// request that came twice.
#[test]
fn d10_a_request_that_was_held_is_released_at_once() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let second = get("more");
        let until = rig.maps.now.get() / 1_000_000 + 10_000;
        flip(&mut rig, |policy| policy.hold_until = until);
        rig.says(client, &second, director);
        assert_eq!(rig.verdict, Verdict::Held);
        let errand = |rig: &Rig| Errand { key: rig.flow().key, slot: rig.flow().slot, ..Errand::default() };
        let other = Errand { key: FlowKey { client_port: [1, 2], ..rig.flow().key }, ..errand(&rig) };
        assert_eq!(rig.releases(other), None);
        assert_eq!(rig.verdict, Verdict::NotOurs);
        // Released too early, it is held again.
        for released in 0..2 {
            let errand = errand(&rig);
            let out = rig.releases(errand).expect("it is held");
            assert_eq!((rig.verdict, rig.stashes()), (Verdict::Released, 0));
            if released == 0 {
                assert_eq!(rig.comes_in(&out), []);
                assert_eq!((rig.verdict, rig.stashes()), (Verdict::Held, 1));
                flip(&mut rig, |policy| policy.hold_until = 0);
                continue;
            }
            let sent = rig.comes_in(&out);
            assert_eq!((data(&sent), rig.verdict, rig.in_flight(0)), (second.clone(), Verdict::RequestSame, 1));
            assert_eq!(rig.releases(errand), None);
        }
        let again = rig.says(client, &second, director);
        assert_eq!((data(&again), rig.in_flight(0)), (second.clone(), 1));
        rig.answers(index, director, &response("", 50), client + len(&second));
        assert_eq!(rig.in_flight(0), 0);
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
fn a_refusal_turns_to_the_next_backend_and_behind_the_last_one_the_director_answers() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let request = get("");
        let first = rig.opens(0, &request, 0);
        let refusal = Seg { from: -1, acked: 0, flags: RST | ACK, ..Seg::default() };
        let out = rig.backend(first, refusal.clone());
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == 1 - first && seg.flags == SYN), "{out:?}");
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::BackendRefused, 1));
        let out = rig.backend(1 - first, refusal);
        assert_eq!((rig.verdict, rig.in_flight(0), rig.stashes()), (Verdict::Rejected, 0, 0));
        let [Out::Client(seg)] = &out[..] else { panic!("{out:?}") };
        // In numbers of the client's connection, though the segment at hand is the backend's.
        assert_eq!((seg.from, seg.acked, seg.flags), (0, len(&request), ACK | PSH | FIN));
        assert!(seg.data.starts_with(b"HTTP/1.1 503 "), "{seg:?}");
    }
}

/// N16.
#[test]
fn a_silent_backend_is_given_up_at_the_second_retransmission() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let first = rig.opens(0, &get(""), 0);
        rig.says(0, &get(""), 0);
        assert_eq!(rig.verdict, Verdict::NoLeg, "a duplicate is no timer");
        for (verdict, to) in [(Verdict::SynAgain, first), (Verdict::BackendSilent, 1 - first)] {
            rig.wait(200);
            let out = rig.says(0, &get(""), 0);
            assert_eq!(rig.verdict, verdict);
            assert!(matches!(&out[..], [Out::Leg(index, seg)] if *index == to && seg.flags == SYN), "{out:?}");
        }
        assert_eq!(data(&rig.accepts(1 - first)), get(""));
        assert_eq!(rig.in_flight(0), 1);
    }
}

/// A session that a backend of this index has just begun, and its next request, from another connection, on the way there.
fn comes_home(hook: Hook) -> (Rig, u8, Vec<u8>) {
    let (mut rig, index, client, director) = Rig::served(hook);
    let first = get("");
    rig.says(client, &first, director);
    let answer = response("Set-Cookie: JSESSIONID=home\r\n", 0);
    rig.answers(index, director, &answer, client + len(&first));
    rig.connect_another();
    let again = get("home");
    assert_eq!(rig.opens(0, &again, 0), index);
    (rig, index, again)
}

/// N16.
#[test]
fn a_session_is_not_lost_with_two_syns() {
    for hook in HOOKS {
        let (mut rig, index, again) = comes_home(hook);
        let home = [(Verdict::SynAgain, index), (Verdict::SynAgain, index), (Verdict::SynAgain, index)];
        for (verdict, to) in home.into_iter().chain([(Verdict::BackendSilent, 1 - index)]) {
            rig.wait(200);
            let out = rig.says(0, &again, 0);
            assert_eq!(rig.verdict, verdict);
            assert!(matches!(&out[..], [Out::Leg(at, seg)] if *at == to && seg.flags == SYN), "{out:?}");
        }
        assert_eq!(data(&rig.accepts(1 - index)), again);
    }
}

#[test]
fn a_session_does_not_wait_for_a_backend_that_its_checks_found_dead() {
    for hook in HOOKS {
        let (mut rig, index, again) = comes_home(hook);
        rig.maps.backends[usize::from(index)].flags &= !BACKEND_UP;
        for verdict in [Verdict::SynAgain, Verdict::BackendSilent] {
            rig.wait(200);
            rig.says(0, &again, 0);
            assert_eq!(rig.verdict, verdict);
        }
        assert_eq!(data(&rig.accepts(1 - index)), again);
    }
}

#[test]
fn a_backend_who_answers_is_passed_over_no_longer() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let first = rig.opens(0, &get(""), 0);
        rig.maps.backends[usize::from(1 - first)].flags = 0;
        for verdict in [Verdict::SynAgain, Verdict::SynAgain] {
            rig.wait(200);
            rig.says(0, &get(""), 0);
            assert_eq!(rig.verdict, verdict, "there is nobody else");
        }
        let shunned = |rig: &Rig| rig.maps.backends[usize::from(first)].shunned_until.get();
        assert_ne!(shunned(&rig), 0);
        rig.accepts(first);
        assert_eq!(shunned(&rig), 0, "a session that is born here now has to be found here");
    }
}

/// N18.
#[test]
fn a_body_that_waits_for_its_leg_is_kept_as_far_as_it_goes() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let request = post(5000);
        let index = rig.opens(0, &request[..1000], 0);
        rig.says(1000, &request[1000..2000], 0);
        assert_eq!(rig.verdict, Verdict::Stashed);
        rig.says(3000, &request[3000..4000], 0);
        assert_eq!(rig.verdict, Verdict::BeyondStash, "a gap");
        rig.says(2000, &[&request[2000..], &get("x")[..]].concat(), 0);
        assert_eq!(rig.verdict, Verdict::Stashed);
        let out = rig.accepts(index);
        assert_eq!(data(&out), request, "and not a byte of the next request");
        assert!(out.len() >= 4 && out.iter().all(|out| out.seg().data.len() <= 1448));
        let mut next = 0;
        for out in &out {
            assert_eq!(out.seg().from, next);
            next += len(&out.seg().data);
        }
    }
}

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

/// A forced flip has moved it, and the first backend that it is to go to refuses: it is bound to the one that answers, also when the
/// first is back.
#[test]
fn a_session_that_is_moved_is_bound_where_its_request_went() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        bind(&rig, "moved", Binding::new(5, 3, 1, KIND_PRESENTED));
        let first = rig.opens(0, &get("moved"), 0);
        assert_eq!(binding(&rig, "moved").unwrap().backend(), u32::from(first));
        rig.backend(first, Seg { from: -1, acked: 0, flags: RST | ACK, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::BackendRefused);
        assert_eq!(binding(&rig, "moved").unwrap().backend(), u32::from(1 - first));
        // One that was bound before keeps its place, for when its backend is back.
        let mut rig = Rig::new(hook);
        rig.connect();
        bind(&rig, "bound", Binding::new(0, 10, 1, KIND_PRESENTED));
        assert_eq!(rig.opens(0, &get("bound"), 0), 1);
        rig.backend(1, Seg { from: -1, acked: 0, flags: RST | ACK, ..Seg::default() });
        assert_eq!((rig.verdict, binding(&rig, "bound").unwrap().backend()), (Verdict::BackendRefused, 1));
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

// Heads in pieces.

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

// Long requests.

#[test]
fn an_upload_that_comes_merged_is_one_request() {
    // XDP sees no merged segments.
    let (mut rig, index, client, director) = Rig::served(Hook::Tc);
    let request = post(40_000);
    let out = rig.says(client, &request, director);
    assert_eq!((rig.verdict, data(&out).len()), (Verdict::RequestSame, request.len()));
    let flow = rig.flow();
    assert_eq!(flow.received, flow.request.next);
    let answer = response("", 1);
    rig.answers(index, director, &answer, client + len(&request));
    assert_eq!(rig.flow().flags & (REQUESTS_UNFRAMED | RESPONSES_UNFRAMED), 0);
    assert_eq!(rig.flow().upstream_acked, rig.flow().request.next);
}

#[test]
fn what_was_lost_megabytes_ago_comes_again() {
    // The first request, so that what it acknowledges is the cookie's own number.
    let mut rig = Rig::new(Hook::Tc);
    rig.connect();
    let request = post(3_000_000);
    let head = 1000;
    let index = rig.opens(0, &request[..head], 0);
    rig.accepts(index);
    rig.backend(index, Seg { from: 0, acked: head as i64, ..Seg::default() });
    // The segment behind the head is lost on its way here, and all that follows is not.
    for from in (2 * head..request.len()).step_by(50_000) {
        rig.says(from as i64, &request[from..request.len().min(from + 50_000)], 0);
        assert_eq!(rig.verdict, Verdict::ToBackend);
    }
    rig.says(head as i64, &request[head..2 * head], 0);
    assert_eq!(rig.verdict, Verdict::ToBackend, "the client's retransmission");
}

#[test]
fn what_follows_a_long_request_in_one_frame_does_not_pass_with_it() {
    let (mut rig, _, client, director) = Rig::served(Hook::Tc);
    bind(&rig, "other", Binding::new(1, 11, 3, KIND_PRESENTED));
    let request = post(20_000);
    let out = rig.says(client, &[&request[..], &get("other")[..]].concat(), director);
    let passed = data(&out);
    assert!(passed.len() <= request.len() && request.starts_with(&passed), "{} bytes", passed.len());
    let mut next = len(&passed);
    while next < len(&request) {
        let out = rig.says(client + next, &[&request[next as usize..], &get("other")[..]].concat(), director);
        assert_eq!(out[0].seg().from, client + next);
        next += len(&data(&out));
    }
    assert_eq!(next, len(&request));
    rig.says(client + next, &get("other"), director);
    assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::AckAlone, 1), "it belongs elsewhere, and waits");
}

#[test]
fn a_reset_in_the_middle_of_an_upload_is_believed() {
    for hook in HOOKS {
        for head in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let (mut rig, _, client, director) = Rig::served(hook);
            rig.says(client, head.as_bytes(), director);
            let from = client + len(head.as_bytes());
            rig.says(from, &[b'a'; 1000], director);
            assert_eq!(rig.verdict, Verdict::ToBackend);
            rig.client(Seg { from: from + 1000, acked: director, flags: RST, ..Seg::default() });
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ClientReset, 0));
        }
    }
}

// Responses that are not framed.

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

// Ends.

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

/// N15.
#[test]
fn an_old_connection_that_answers_the_syn_is_reset() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let index = rig.opens(0, &get(""), 0);
        let out = rig.backend(index, Seg { from: 1234, acked: 777, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ChallengeAck);
        let [Out::Leg(_, reset), Out::Leg(_, syn)] = &out[..] else { panic!("{out:?}") };
        assert_eq!((reset.flags, reset.from, syn.flags, syn.from), (RST, 777, SYN, -1));
        assert_eq!(data(&rig.accepts(index)), get(""));
    }
}

// Sessions and flips.

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

// What is full.

/// N18.
#[test]
fn without_a_stash_nothing_has_happened() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        rig.maps.stashes.iter().for_each(|stash| stash.borrow().owner.set(99));
        for request in [&get("")[..], b"GET / HT"] {
            assert_eq!(rig.says(0, request, 0), []);
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::StashesFull, 0));
        }
        rig.maps.stashes.iter().for_each(|stash| stash.borrow().owner.set(0));
        rig.opens(0, &get(""), 0);
        assert_eq!((rig.in_flight(0), rig.stashes()), (1, 1));
    }
}

/// N18.
#[test]
fn parts_of_heads_leave_stashes_for_whole_ones() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let half = rig.maps.stashes.len() / 2;
        rig.maps.stashes[..half].iter().for_each(|stash| stash.borrow().owner.set(99));
        assert_eq!(rig.says(0, b"GET / HT", 0), []);
        assert_eq!(rig.verdict, Verdict::StashesFull);
        rig.opens(0, &get(""), 0);
        assert!(rig.flow().stash as usize >= half);
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

/// N17.
#[test]
fn without_a_slot_the_client_comes_again() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let key = rig.flow().key;
        rig.maps.leave_all();
        for flow in &rig.maps.flows {
            *flow.borrow_mut() =
                Flow { state: FLOW_SPLICED, stash: NONE, seen: rig.maps.now.get() / 1_000_000, ..Flow::default() };
            flow.borrow_mut().leg.backend = NONE;
        }
        assert_eq!(rig.client(Seg::default()), []);
        assert_eq!(rig.verdict, Verdict::FlowsFull);
        // Two seconds after one has ended there is room.
        rig.maps.flows[0].borrow_mut().state = FLOW_CLOSING;
        rig.wait(3000);
        rig.client(Seg::default());
        assert_eq!((rig.verdict, rig.flow().key == key), (Verdict::FlowBegun, true));
    }
}

// Requests that cannot be followed.

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

#[test]
fn a_syn_ack_that_comes_again_brings_the_request_again() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let request = get("");
        let index = rig.opens(0, &request, 0);
        assert_eq!(data(&rig.accepts(index)), request);
        rig.loses(len(&request));
        let out = rig.accepts(index);
        assert_eq!((rig.verdict, data(&out)), (Verdict::RequestFromStash, request.clone()));
        let answer = response("", 10);
        assert_eq!(data(&rig.answers(index, 0, &answer, len(&request))), answer);
        // The backend has it now, so this one is late.
        assert_eq!(rig.accepts(index), []);
        assert_eq!(rig.verdict, Verdict::StraySynAck);
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
