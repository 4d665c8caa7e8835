//! How legs are opened: refusals, silence, and what an old connection of the same ports says.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, bind, binding, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH, RST, SYN};
use crate::verdict::Verdict;

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
