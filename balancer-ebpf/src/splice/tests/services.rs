//! Two services on one listener, packet by packet: a connection moves between them as it does between backends, and no count, pool or
//! session of the one has anything of the other.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, binding, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH, RST};
use crate::sip::hash_id;
use crate::testing::{VIP, policy, version};
use crate::verdict::{Note, Verdict};

/// Service 0 has everything that is not below `/b`, and backends 0 and 1; service 1 has that, and backends 2 and 3.
fn two(hook: Hook, pool: u32) -> Rig {
    let mut rig = if pool == 0 { Rig::new(hook) } else { Rig::pooling(hook, pool) };
    let flags = rig.maps.policies[0].flags;
    rig.maps.policies[1] = policy(&[version(20, &[2, 3])]);
    for policy in &mut rig.maps.policies {
        (policy.flags, policy.pool_limit, policy.listener) = (flags, pool, 1);
    }
    let mut rules =
        Box::new(RuleSet::new(ListenerKey { address: VIP.into(), port: 80u16.to_be_bytes(), zero: [0; 2] }));
    (rules.count, rules.default) = (1, 0);
    let text = Text::new(b"/b").unwrap();
    rules.conditions[0] = Condition { kind: CONDITION_PATH, service: 1, text, ..Condition::ANY };
    rig.maps.rules = Some(rules);
    rig.maps.listener_word.set(ServiceWord::new(0, 1).0);
    rig.connect();
    rig
}

fn rules(rig: &mut Rig) -> &mut RuleSet {
    rig.maps.rules.as_mut().unwrap()
}

/// `GET` of a path with a cookie, or without.
fn ask(path: &str, id: &str) -> Vec<u8> {
    String::from_utf8(get(id)).unwrap().replacen("GET / ", &format!("GET {path} "), 1).into_bytes()
}

/// What an id of service 1 is bound to.
fn neighbours(rig: &Rig, id: &str) -> Option<Binding> {
    let hash = hash_id(rig.maps.globals.session_key, 1, id.as_bytes());
    let entries = rig.maps.buckets.iter().flat_map(|bucket| &bucket.entries);
    entries.filter(|entry| entry.tag.get() == hash.tag).map(|entry| Binding(entry.binding.get())).next()
}

/// Requests, flows and requests in flight of the first versions of both services.
fn counts(rig: &Rig) -> [(u64, u64, i64); 2] {
    [0, MAX_VERSIONS as usize].map(|index| {
        let traffic = &rig.maps.traffic[index];
        (traffic.requests.get(), traffic.flows.get(), traffic.in_flight.get() as i64)
    })
}

#[test]
fn a_connection_goes_from_one_service_to_the_other_and_back() {
    for hook in HOOKS {
        let mut rig = two(hook, 0);
        let (request, answer) = (ask("/", ""), response("Set-Cookie: JSESSIONID=anna\r\n", 5));
        let to = rig.opens(0, &request, 0);
        assert!(to < 2);
        rig.accepts(to);
        rig.answers(to, 0, &answer, len(&request));
        let (client, director) = (len(&request), len(&answer));
        assert_eq!(counts(&rig), [(1, 1, 0), (0, 0, 0)]);
        // Service 1 has never heard of that session, and issues one of the same id.
        let request = ask("/b/x", "anna");
        let next = rig.opens(client, &request, director);
        assert!(next >= 2, "on backend {next}");
        assert_eq!((rig.verdict, counts(&rig)), (Verdict::RequestRebind, [(1, 0, 0), (1, 1, 1)]));
        rig.accepts(next);
        rig.answers(next, director, &answer, client + len(&request));
        assert_eq!(counts(&rig), [(1, 0, 0), (1, 1, 0)]);
        let bound = [binding(&rig, "anna"), neighbours(&rig, "anna")].map(|bound| {
            let bound = bound.unwrap();
            (bound.generation(), bound.backend(), bound.kind())
        });
        assert_eq!(bound, [(10, to.into(), KIND_ISSUED), (20, next.into(), KIND_ISSUED)]);
        assert_eq!(rig.noted(Note::SessionPresented), 0, "it was not theirs");
        let (client, director) = (client + len(&request), director + len(&answer));
        // And back, to where the session of the first service lives.
        let request = ask("/", "anna");
        assert_eq!(rig.opens(client, &request, director), to);
        assert_eq!((rig.noted(Note::SessionPresented), counts(&rig)), (1, [(2, 1, 1), (1, 0, 0)]));
        assert_eq!((rig.flow().service, rig.flow().leg.service), (0, 0));
        assert_eq!(rig.noted(Note::RuleUnmatched), 2);
    }
}

#[test]
fn legs_go_to_the_pools_of_their_own_services() {
    for hook in HOOKS {
        let mut rig = two(hook, 8);
        let (to, client, director) = rig.serve();
        let request = ask("/b", "");
        // The first leg is parked while the next one is opened.
        let next = rig.opens(client, &request, director);
        assert!(next >= 2);
        assert_eq!((rig.pooled(to), counts(&rig)), (1, [(1, 0, 0), (1, 1, 1)]));
        rig.accepts(next);
        let answer = response("", 7);
        rig.answers(next, director, &answer, client + len(&request));
        let (client, director) = (client + len(&request), director + len(&answer));
        // Then both lie in pools, and are taken in turn.
        let request = ask("/", "");
        let out = rig.takes(client, &request, director);
        assert!(matches!(out.last(), Some(Out::Leg(index, seg)) if *index == to && seg.data == request), "{out:?}");
        assert_eq!((rig.pooled(to), rig.pooled(next), counts(&rig)), (0, 1, [(2, 1, 1), (1, 0, 0)]));
    }
}

/// A service without a pool has none because its neighbour has one.
#[test]
fn each_service_pools_as_its_own_policy_says() {
    for hook in HOOKS {
        let mut rig = two(hook, 8);
        for block in [0, 2, 3] {
            (rig.maps.policies[block].flags, rig.maps.policies[block].pool_limit) = (0, 0);
        }
        let (to, client, director) = rig.serve();
        let request = ask("/b", "");
        let next = rig.opens(client, &request, director);
        assert_eq!((rig.verdict, rig.pooled(to)), (Verdict::RequestRebind, 0));
        rig.accepts(next);
        let answer = response("", 7);
        rig.answers(next, director, &answer, client + len(&request));
        rig.opens(client + len(&request), &get(""), director + len(&answer));
        assert_eq!((rig.pooled(to), rig.pooled(next)), (0, 1), "the neighbour's is parked");
    }
}

#[test]
fn nothing_moves_before_the_last_answer_is_there() {
    for hook in HOOKS {
        let mut rig = two(hook, 8);
        let (to, client, director) = rig.serve();
        let request = ask("/", "");
        rig.says(client, &request, director);
        let client = client + len(&request);
        let other = ask("/b", "");
        rig.says(client, &other, director);
        assert!(matches!(rig.verdict, Verdict::RebindWaits | Verdict::AckAlone), "{:?}", rig.verdict);
        assert_eq!((rig.flow().service, counts(&rig)), (0, [(2, 1, 1), (0, 0, 0)]));
        let answer = response("", 3);
        rig.answers(to, director, &answer, client);
        // It is there, and not acknowledged.
        rig.says(client, &other, director);
        assert_eq!((rig.verdict, rig.flow().service), (Verdict::RebindWaits, 0));
        assert!(rig.opens(client, &other, director + len(&answer)) >= 2);
    }
}

/// Requests for both in one segment: those for the service at hand go, and the other one comes again.
#[test]
fn a_segment_is_cut_where_the_service_changes() {
    for hook in HOOKS {
        let mut rig = two(hook, 8);
        let (_, client, director) = rig.serve();
        let (first, second) = (ask("/", ""), ask("/b", ""));
        let out = rig.says(client, &[first.clone(), first.clone(), second].concat(), director);
        assert_eq!(data(&out), [first.clone(), first].concat(), "{:?}", rig.verdict);
        assert_eq!((rig.flow().service, counts(&rig)), (0, [(3, 1, 2), (0, 0, 0)]));
    }
}

/// The names of the flow's last service are not those of the one that a request is for.
#[test]
fn a_head_is_read_with_the_names_of_its_own_service() {
    for hook in HOOKS {
        let mut rig = two(hook, 0);
        rig.maps.policies[1].rule.cookie = Name::new(b"SID").unwrap();
        let (_, client, director) = rig.serve();
        let text =
            String::from_utf8(ask("/b", "")).unwrap().replace("\r\n\r\n", "\r\nCookie: JSESSIONID=x; SID=anna\r\n\r\n");
        let to = rig.opens(client, text.as_bytes(), director);
        rig.accepts(to);
        rig.answers(
            to,
            director,
            &response("Set-Cookie: JSESSIONID=no\r\nSet-Cookie: SID=yes\r\n", 0),
            client + len(text.as_bytes()),
        );
        assert_eq!((neighbours(&rig, "yes").map(|bound| bound.generation()), neighbours(&rig, "no")), (Some(20), None));
    }
}

#[test]
fn a_head_in_pieces_is_chosen_for_when_it_is_whole() {
    for hook in HOOKS {
        let mut rig = two(hook, 8);
        let (_, client, director) = rig.serve();
        let request = ask("/b/much/further", "anna");
        rig.says(client, &request[..9], director);
        assert_eq!((rig.verdict, rig.flow().service), (Verdict::HeadPart, 0));
        let out = rig.says(client + 9, &request[9..], director);
        assert!(matches!(out.last(), Some(Out::Leg(index, _)) if *index >= 2), "{:?}: {out:?}", rig.verdict);
        assert_eq!(rig.flow().service, 1);
    }
}

/// What the rules lead nowhere is answered by the director, once however often it comes, and counted once under both hooks.
#[test]
fn what_no_rule_may_have_is_answered() {
    let ambiguous = ask("/b/../x", "");
    let posted = [b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", &post(9)[post(9).len() - 9..]].concat();
    for hook in HOOKS {
        for (request, flags, code, note) in [
            (ask("/x", ""), 0, "404 Not Found", Note::RuleUnmatched),
            (posted.clone(), 0, "404 Not Found", Note::RuleUnmatched),
            (ambiguous.clone(), 0, "400 Bad Request", Note::RuleAmbiguous),
            (ambiguous.clone(), RULES_REJECT_AMBIGUOUS, "400 Bad Request", Note::RuleAmbiguous),
        ] {
            let mut rig = two(hook, 8);
            rules(&mut rig).flags = flags;
            if flags == 0 {
                rules(&mut rig).default = NONE;
            }
            let first = ask("/b", "");
            let to = rig.opens(0, &first, 0);
            rig.accepts(to);
            let answer = response("", 3);
            rig.answers(to, 0, &answer, len(&first));
            let (client, director) = (len(&first), len(&answer));
            for turn in 0..2 {
                let out = rig.says(client, &request, director);
                let said = String::from_utf8(data(&out)).unwrap();
                assert!(said.starts_with(&format!("HTTP/1.1 {code}\r\n")), "{turn}: {:?}: {said}", rig.verdict);
                assert!(matches!(out.last(), Some(Out::Client(seg)) if seg.flags == ACK | PSH | FIN), "{out:?}");
                assert_eq!((rig.verdict, rig.noted(note)), (Verdict::NoService, 1));
                assert_eq!((rig.pooled(to), counts(&rig)[1]), (1, (1, 0, 0)), "its leg is of use to others");
            }
        }
        // Where there is a default service, it gets both.
        let mut rig = two(hook, 8);
        assert!(rig.opens(0, &ambiguous, 0) < 2);
        assert_eq!((rig.noted(Note::RuleAmbiguous), rig.noted(Note::RuleUnmatched)), (1, 0));
    }
}

#[test]
fn a_hold_is_of_one_service() {
    for hook in HOOKS {
        let mut rig = two(hook, 8);
        let (to, client, director) = rig.serve();
        rig.maps.policies[1].hold_until = rig.maps.now.get() / 1_000_000 + 5_000;
        // The neighbour's requests go on.
        let request = ask("/", "");
        rig.says(client, &request, director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        let answer = response("", 3);
        rig.answers(to, director, &answer, client + len(&request));
        let (client, director) = (client + len(&request), director + len(&answer));
        let held = ask("/b", "");
        rig.says(client, &held, director);
        assert_eq!((rig.verdict, rig.flow().flags & STASH_HELD), (Verdict::Held, STASH_HELD));
        assert_eq!((rig.flow().service, rig.flow().leg.service), (1, 0), "held for the one, joined to the other");
        assert_eq!(rig.pooled(to), 0);
        let errand = Errand { key: rig.flow().key, slot: rig.flow().slot, ..Errand::default() };
        assert!(rig.releases(Errand { service: 0, ..errand }).is_none(), "that hold is another's");
        // Its leg is still the neighbour's, and to be closed as such.
        rig.maps.policies[1].hold_until = 0;
        let copies = rig.releases(Errand { service: 1, ..errand }).expect("it is held");
        let out = rig.comes_in(&copies);
        assert!(matches!(out.last(), Some(Out::Leg(index, _)) if *index >= 2), "{:?}: {out:?}", rig.verdict);
        assert_eq!((rig.pooled(to), counts(&rig)), (1, [(2, 0, 0), (1, 1, 1)]));
    }
}

/// Nobody can follow the answers on a connection: it ends where a request is for another service, or stays where it is.
#[test]
fn what_is_not_framed_does_not_move() {
    for hook in HOOKS {
        for keep in [false, true] {
            let mut rig = two(hook, 8);
            for policy in &mut rig.maps.policies {
                policy.flags |= if keep { POLICY_KEEP_UNFRAMED } else { 0 };
            }
            let (to, client, director) = rig.serve();
            let request = ask("/", "");
            rig.says(client, &request, director);
            let client = client + len(&request);
            let answer = b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx";
            rig.answers(to, director, answer, client);
            let out = rig.says(client, &ask("/b", ""), director + answer.len() as i64);
            if keep {
                assert!(matches!(out.last(), Some(Out::Leg(index, _)) if *index == to), "{:?}: {out:?}", rig.verdict);
                assert_eq!(rig.flow().service, 0);
            } else {
                assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::UnframedMoved, 0));
            }
        }
    }
}

/// What cannot be read goes to the default service, and stays where it is if it comes later.
#[test]
fn what_cannot_be_read_goes_to_the_default_service() {
    for hook in HOOKS {
        for (default, wanted) in [(0, 0..2), (1, 2..4)] {
            let mut rig = two(hook, 8);
            rules(&mut rig).default = default;
            let to = rig.opens(0, b"\x16\x03\x01\x00\x05hello", 0);
            assert!(wanted.contains(&to), "on backend {to}");
            assert_eq!(rig.flow().service, default);
        }
        let mut rig = two(hook, 8);
        rules(&mut rig).default = NONE;
        let out = rig.says(0, b"\x16\x03\x01\x00\x05hello", 0);
        assert!(matches!(out.last(), Some(Out::Client(seg)) if seg.flags & RST != 0), "{:?}: {out:?}", rig.verdict);
        let mut rig = two(hook, 8);
        let first = ask("/b", "");
        let to = rig.opens(0, &first, 0);
        rig.accepts(to);
        rig.answers(to, 0, &response("", 0), len(&first));
        let out = rig.says(len(&first), b"\x16\x03\x01\x00\x05hello", len(&response("", 0)));
        assert!(matches!(out.last(), Some(Out::Leg(index, _)) if *index == to), "{:?}: {out:?}", rig.verdict);
    }
}

/// The service has moved to another address meanwhile: its rules there are not about this connection.
#[test]
fn rules_are_those_of_the_flows_own_listener() {
    for hook in HOOKS {
        let mut rig = two(hook, 0);
        rules(&mut rig).listener.port = 81u16.to_be_bytes();
        assert!(rig.opens(0, &ask("/b", ""), 0) < 2);
        assert_eq!((rig.flow().service, rig.noted(Note::RuleUnmatched)), (0, 0));
        let mut rig = two(hook, 0);
        rig.maps.listener_word.set(0);
        assert!(rig.opens(0, &ask("/b", ""), 0) < 2, "the rules are gone");
    }
}

/// A leg that a drain closes is found by the service that it is of.
#[test]
fn a_flow_is_closed_as_its_leg_is() {
    for hook in HOOKS {
        let mut rig = two(hook, 0);
        let first = ask("/b", "");
        let to = rig.opens(0, &first, 0);
        rig.accepts(to);
        assert_eq!(counts(&rig), [(0, 0, 0), (1, 1, 1)]);
        rig.client(Seg { from: len(&first), acked: 0, flags: RST, ..Seg::default() });
        assert_eq!((rig.verdict, counts(&rig)), (Verdict::ClientReset, [(0, 0, 0), (1, 0, 0)]));
    }
}
