//! Pins, packet by packet: they beat sessions and leave bindings alone; and who may not go elsewhere is told so.

use super::flows::flip;
use super::rig::{HOOKS, Hook, Out, Rig, Seg, bind, binding, data, get, len, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH};
use crate::sip::hash_id;
use crate::verdict::{Note, Verdict};

const VALUE: &str = "0123456789abcdef0123456789abcdef";

/// A rig whose service has pins, and one of them, by a header, to version 1.
fn pinned(hook: Hook) -> (Rig, u8, i64, i64) {
    let (mut rig, index, client, director) = Rig::served(hook);
    rig.maps.policies.iter_mut().for_each(|policy| {
        policy.pins = PINS_COOKIE | PINS_HEADER | PINS_QUERY | PINS_SOURCE | PINS_SESSION;
        policy.rule.pin_header = Name::new(b"x-pin").unwrap();
        policy.rule.pin_query = Name::new(b"pin").unwrap();
        policy.rule.pin_cookie = Name::new(b"pin").unwrap();
    });
    add(&mut rig, PIN_HEADER, VALUE, 1);
    (rig, index, client, director)
}

fn add(rig: &mut Rig, kind: u32, value: &str, version: u32) -> usize {
    let hash = hash_id(rig.maps.globals.session_key, 0, value.as_bytes());
    let key = PinKey { tag: hash.tag, bucket: hash.bucket, service: 0, kind };
    let birth = rig.maps.policies[0].versions.get(version as usize).map_or(0, |version| version.birth);
    let pin = Pin { version, birth, flags: PIN_TRACED, id: 7, ..Pin::default() };
    rig.maps.pins.push((key, pin));
    rig.maps.pins.len() - 1
}

/// A request with a session and with the pin.
fn asked(id: &str) -> Vec<u8> {
    let text = String::from_utf8(get(id)).unwrap();
    text.replace("Host: a", &format!("Host: a\r\nX-Pin: {VALUE}")).into_bytes()
}

/// D15, D1: a pin beats the session and leaves its binding alone, whatever the answer says of sessions; a session that is born
/// under it stays on its version.
#[test]
fn d15_a_pin_beats_the_session_and_leaves_its_binding_alone() {
    for hook in HOOKS {
        let (mut rig, index, mut client, mut director) = pinned(hook);
        let home = Binding::new(0, 10, index.into(), KIND_PRESENTED);
        bind(&rig, "anna", home);
        let request = asked("anna");
        let to = rig.opens(client, &request, director);
        assert!(to >= 2, "on backend {to}, which is not of version 1");
        rig.accepts(to);
        client += len(&request);
        let answer = response("Set-Cookie: JSESSIONID=born; Path=/\r\n", 5);
        rig.answers(to, director, &answer, client);
        director += len(&answer);
        assert_eq!(binding(&rig, "anna"), Some(home), "her session is as it was");
        assert_eq!(binding(&rig, "born").map(|born| (born.version(), born.backend())), Some((1, to.into())));
        assert_eq!((rig.noted(Note::RequestPinned), rig.noted(Note::SessionRenamed)), (1, 0));
        let told = rig.maps.told.borrow().last().copied().unwrap();
        assert_eq!((told.pin, told.version, told.backend), (7, 1, to.into()));

        // The same tester again, on the same connection: the same backend, and no other leg.
        let request = asked("born");
        rig.says(client, &request, director);
        assert_eq!(rig.verdict, Verdict::RequestSame);
        client += len(&request);
        let answer = response("Set-Cookie: JSESSIONID=; Max-Age=0\r\n", 5);
        rig.answers(to, director, &answer, client);
        director += len(&answer);
        assert_eq!(binding(&rig, "born"), None, "of its own version's session the answer does speak");
        // Without the pin everything is as before.
        let request = get("anna");
        assert_eq!(rig.opens(client, &request, director), index);
    }
}

/// The version that a request gets where there are such pins, and why: with a session of version 0 that is called anna.
fn lands(setup: impl Fn(&mut Rig), request: &[u8]) -> (u32, u32) {
    let (mut rig, index, client, director) = pinned(Hook::Tc);
    rig.maps.pins.clear();
    bind(&rig, "anna", Binding::new(0, 10, index.into(), KIND_PRESENTED));
    setup(&mut rig);
    rig.says(client, request, director);
    (rig.work.choice.version, rig.work.choice.why)
}

/// D1: cookie, header, query, source, then an operator's override, then the binding. A pin of a version that is gone, that has
/// expired, or whose bearer comes from elsewhere does not count.
#[test]
fn d1_which_pin_counts() {
    use crate::decide::Why::*;
    let with = |extra: &str, query: &str, id: &str| {
        let cookie = if id.is_empty() { String::new() } else { format!("Cookie: JSESSIONID={id}\r\n") };
        format!("GET /{query} HTTP/1.1\r\nHost: a\r\n{extra}{cookie}\r\n").into_bytes()
    };
    // An override comes before the binding, and behind a tester's pin.
    let overridden = |rig: &mut Rig| {
        add(rig, PIN_SESSION, "anna", 1);
    };
    assert_eq!(lands(overridden, &with("", "", "anna")), (1, Overridden as u32));
    let both = |rig: &mut Rig| {
        add(rig, PIN_SESSION, "anna", 1);
        add(rig, PIN_QUERY, "q", 0);
    };
    assert_eq!(lands(both, &with("", "?pin=q", "anna")), (0, Pinned as u32));
    let never = |rig: &mut Rig| {
        add(rig, PIN_SESSION, "anna", PIN_NEVER);
    };
    assert_eq!(lands(never, &with("", "", "anna")), (0, Bound as u32));
    let carriers = [(PIN_COOKIE, "Cookie: pin=v\r\n", ""), (PIN_HEADER, "x-pin: v\r\n", ""), (PIN_QUERY, "", "?pin=v")];
    for (kind, extra, query) in carriers {
        let request = with(extra, query, "");
        assert_eq!(lands(|_| (), &request), (0, Active as u32), "a made-up value");
        let changed = |change: &dyn Fn(&mut Pin, u32)| {
            let setup = |rig: &mut Rig| {
                let at = add(rig, kind, "v", 1);
                let now = (rig.maps.now.get() / 1_000_000_000) as u32;
                change(&mut rig.maps.pins[at].1, now);
            };
            lands(setup, &request)
        };
        let (counts, does_not) = ((1, Pinned as u32), (0, Active as u32));
        assert_eq!(changed(&|_, _| ()), counts);
        assert_eq!(changed(&|pin, _| pin.birth = 9), does_not, "another version's index");
        assert_eq!(changed(&|pin, _| (pin.version, pin.birth) = (5, 0)), does_not, "no version");
        assert_eq!(changed(&|pin, now| (pin.flags, pin.until) = (PIN_EXPIRES, now - 1)), does_not, "expired");
        assert_eq!(changed(&|pin, now| (pin.flags, pin.until) = (PIN_EXPIRES, now)), counts, "its last second");
        let elsewhere = |pin: &mut Pin, _| {
            (pin.network, pin.mask) =
                ([9, 9, 9, 0].into(), Address::from_bytes(std::array::from_fn(|at| if at < 15 { 255 } else { 0 })))
        };
        assert_eq!(changed(&elsewhere), does_not, "from elsewhere");
    }
    let by_source = |rig: &mut Rig| {
        let network = rig.flow().key.client;
        rig.maps.source_pins.push(Pin {
            version: 1,
            birth: 11,
            network,
            mask: Address::from_bytes([255; 16]),
            ..Pin::default()
        });
    };
    assert_eq!(lands(by_source, &with("", "", "")), (1, Pinned as u32));
    // Without pins in the policy nobody looks.
    let unused = |rig: &mut Rig| {
        by_source(rig);
        flip(rig, |policy| policy.pins = 0);
    };
    assert_eq!(lands(unused, &with("", "", "")), (0, Active as u32));
}

/// What the client is sent in the backend's place, with the end of the connection.
fn is_503(out: &[Out], from: i64, acked: i64) -> i64 {
    let seg = out.last().unwrap().seg();
    assert!(matches!(out.last(), Some(Out::Client(_))), "{out:?}");
    assert_eq!((seg.from, seg.acked, seg.flags), (from, acked, ACK | PSH | FIN));
    assert!(seg.data.starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"), "{seg:?}");
    len(&seg.data)
}

/// How many requests were answered because a version was missing, of the first two.
fn missed(rig: &Rig) -> [u64; 2] {
    std::array::from_fn(|version| rig.maps.outcomes[version].missing.get())
}

/// D15: a tester is never sent to another version than the one that was chosen.
#[test]
fn d15_a_pinned_version_that_is_down_is_a_503() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = pinned(hook);
        for backend in &mut rig.maps.backends[2..] {
            backend.flags = BACKEND_USED;
        }
        let request = asked("");
        let out = rig.says(client, &request, director);
        is_503(&out, director, client + len(&request));
        assert_eq!((rig.verdict, rig.noted(Note::VersionMissing), rig.in_flight(0)), (Verdict::Rejected, 1, 0));
        assert_eq!(missed(&rig), [0, 1]);
        assert_eq!(rig.maps.told.borrow().last().unwrap().version, NONE);
    }
}

/// C14, D12: where the service says so, whoever is bound to a version that is gone is told once, and to one that is down until it
/// is back; a forced flip moves everybody all the same.
#[test]
fn c14_d12_a_missing_version_is_a_503_where_the_service_says_so() {
    for hook in HOOKS {
        for (what, reject, binding_before, down, expected) in [
            ("gone", false, Binding::new(5, 3, 3, KIND_PRESENTED), false, None),
            ("gone", true, Binding::new(5, 3, 3, KIND_PRESENTED), false, Some(false)),
            ("an older one of the same index", true, Binding::new(1, 9, 3, KIND_PRESENTED), false, Some(false)),
            ("moved", true, Binding::new(1, 11, 3, KIND_PRESENTED), false, None),
            ("down", false, Binding::new(1, 12, 3, KIND_PRESENTED), true, None),
            ("down", true, Binding::new(1, 12, 3, KIND_PRESENTED), true, Some(true)),
        ] {
            let (mut rig, _, client, director) = Rig::served(hook);
            // Version 1 was born at 11, and its sessions were moved once.
            rig.maps.policies.iter_mut().for_each(|policy| {
                policy.versions[1].generation = 12;
                policy.flags |= if reject { POLICY_REJECT_MISSING } else { 0 };
            });
            for backend in &mut rig.maps.backends[2..] {
                backend.flags = if down { BACKEND_USED } else { backend.flags };
            }
            bind(&rig, "anna", binding_before);
            let request = get("anna");
            let out = rig.says(client, &request, director);
            let Some(stays) = expected else {
                assert_eq!(rig.verdict, Verdict::RequestSame, "{what}: on the active version");
                continue;
            };
            is_503(&out, director, client + len(&request));
            assert_eq!(binding(&rig, "anna").is_some(), stays, "{what}");
            // By the index that its version has, or had.
            let index = binding_before.version() as usize;
            assert_eq!(rig.maps.outcomes[index].missing.get(), 1, "{what}");
        }
    }
}

/// The answer in the backend's place survives whatever a client and a network do.
#[test]
fn an_answer_of_the_directors_own_arrives() {
    for hook in HOOKS {
        for timestamps in [false, true] {
            let mut rig = Rig::new(hook);
            rig.timestamps = timestamps;
            rig.connect();
            for backend in &mut rig.maps.backends {
                backend.flags = BACKEND_USED;
            }
            let body = vec![b'x'; 500];
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".to_vec();
            let out = rig.says(0, &head, 0);
            let answer = is_503(&out, 0, len(&head));
            assert_eq!((rig.verdict, rig.stashes()), (Verdict::Rejected, 0));
            // Its body is still on its way: it is taken in, and the answer comes again until it is acknowledged.
            let out = rig.says(len(&head), &body, 0);
            is_503(&out, 0, len(&head) + 500);
            // The request again, because the answer was lost.
            is_503(&rig.says(0, &head, 0), 0, len(&head) + 500);
            // Beyond a gap.
            is_503(&rig.says(len(&head) + 600, &body[..400], 0), 0, len(&head) + 500);
            let (end, all) = (len(&head) + 1000, answer + 1);
            let out = rig.says(len(&head) + 500, &body, all);
            assert_eq!((rig.verdict, out[0].seg().flags, out[0].seg().acked), (Verdict::RejectedAck, ACK, end));
            let out = rig.client(Seg { from: end, acked: all, flags: FIN | ACK, ..Seg::default() });
            assert_eq!((out[0].seg().from, out[0].seg().acked), (all, end + 1));
            rig.client(Seg { from: end + 1, acked: all, ..Seg::default() });
            assert_eq!(rig.verdict, Verdict::FlowEnded);
            // And its room comes free.
            assert_eq!(rig.flow().seen, 0);
        }
    }
}

/// A HEAD gets the head alone; and a leg that was there goes to its pool.
#[test]
fn an_answer_of_the_directors_own_is_of_the_right_length() {
    let mut rig = Rig::pooling(Hook::Tc, 4);
    rig.connect();
    let request = get("");
    let index = rig.opens(0, &request, 0);
    rig.accepts(index);
    let answer = response("", 9);
    rig.answers(index, 0, &answer, len(&request));
    let (client, director) = (len(&request), len(&answer));
    for backend in &mut rig.maps.backends {
        backend.flags = BACKEND_USED;
    }
    let out = rig.says(client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", director);
    let seg = out.last().unwrap().seg();
    assert!(seg.data.ends_with(b"\r\n\r\n") && seg.flags & FIN != 0, "{seg:?}");
    assert_eq!((rig.pooled(index), rig.in_flight(0), rig.maps.traffic[0].flows.get()), (1, 0, 0));
    assert!(data(&out).len() > 50);
}
