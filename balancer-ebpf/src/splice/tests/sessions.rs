//! Sessions, packet by packet: which requests they bring where, and what responses do to them.

use super::flows::flip;
use super::rig::{HOOKS, Hook, Rig, Seg, bind, binding, get, len, response};
use crate::layout::*;
use crate::net::{ACK, RST};
use crate::route;
use crate::verdict::{Note, Verdict};

/// A connection whose first request was answered, and how far either side is.
struct Talk {
    rig: Rig,
    index: u8,
    client: i64,
    director: i64,
}

impl Talk {
    fn new(hook: Hook) -> Self {
        let (rig, index, client, director) = Rig::served(hook);
        Self { rig, index, client, director }
    }

    /// A request on the leg that is there.
    fn asks(&mut self, request: &[u8]) {
        self.rig.says(self.client, request, self.director);
        assert_eq!(self.rig.verdict, Verdict::RequestSame, "{}", String::from_utf8_lossy(request));
        self.client += len(request);
    }

    /// A request for another backend, which accepts.
    fn moves(&mut self, request: &[u8]) -> u8 {
        self.index = self.rig.opens(self.client, request, self.director);
        self.rig.accepts(self.index);
        self.client += len(request);
        self.index
    }

    fn answers(&mut self, bytes: &[u8]) {
        self.rig.answers(self.index, self.director, bytes, self.client);
        assert_eq!(self.rig.verdict, Verdict::ToClient);
        self.director += len(bytes);
    }

    /// A request with `id` and its answer.
    fn serves(&mut self, id: &str, headers: &str) {
        self.asks(&get(id));
        self.answers(&response(headers, 5));
    }

    /// A session of version 0, on the backend at hand.
    fn has(&self, id: &str) {
        bind(&self.rig, id, Binding::new(0, 10, self.index.into(), KIND_PRESENTED));
    }

    fn kind(&self, id: &str) -> Option<u8> {
        binding(&self.rig, id).map(Binding::kind)
    }
}

fn entries(rig: &Rig) -> usize {
    rig.maps.buckets.iter().flat_map(|bucket| &bucket.entries).filter(|entry| entry.tag.get() != 0).count()
}

/// `n2` and `n3` are the routes of version 1's backends.
fn with_routes(rig: &mut Rig) {
    flip(rig, |policy| {
        assert!(route::enter(policy, &[(b"n2", 1, 2), (b"n3", 1, 3)]));
        policy.versions[1].flags |= VERSION_ROUTES;
    });
}

#[test]
fn c21_c22_the_first_known_cookie_counts_and_any_cookie_beats_the_path() {
    // Versions 0 (A, on backend 0) and 1 (B, on backend 2); new sessions get 0.
    let cookie = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    let path = |lines: &str| format!("GET /a;jsessionid=B/b HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let table = [
        (cookie("Cookie: JSESSIONID=B"), true),
        (cookie("Cookie: JSESSIONID=0000; JSESSIONID=B"), true),
        (cookie("Cookie: JSESSIONID=0000\r\nCookie: JSESSIONID=B"), true),
        (cookie("Cookie: JSESSIONID=A; JSESSIONID=B"), false),
        (cookie("Cookie: JSESSIONID=B; JSESSIONID=A"), true),
        (cookie("Cookie: JSESSIONID=1; JSESSIONID=2; JSESSIONID=3; JSESSIONID=B"), true),
        (path(""), true),
        (path("Cookie: JSESSIONID=0000\r\n"), false),
        (path("Cookie: other=0000\r\n"), true),
    ];
    for hook in HOOKS {
        for (request, second) in &table {
            let mut rig = Rig::new(hook);
            rig.connect();
            bind(&rig, "A", Binding::new(0, 10, 0, KIND_PRESENTED));
            bind(&rig, "B", Binding::new(1, 11, 2, KIND_PRESENTED));
            let index = rig.opens(0, request.as_bytes(), 0);
            assert_eq!(index == 2, *second, "{request}");
            assert_eq!(entries(&rig), 2);
        }
    }
}

#[test]
fn c29_a_route_steers_without_any_entry() {
    for hook in HOOKS {
        for (id, expected) in [("8F3A.n2", 2), ("8F3A.n3", 3)] {
            let mut rig = Rig::new(hook);
            with_routes(&mut rig);
            rig.connect();
            assert_eq!(rig.opens(0, &get(id), 0), expected);
            assert_eq!((entries(&rig), rig.in_flight(1)), (0, 1), "and makes none");
        }
    }
}

#[test]
fn c29_the_whole_id_is_the_key_and_a_binding_beats_the_route() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        with_routes(&mut talk.rig);
        talk.has("8F3A.n3");
        talk.serves("8F3A.n3", "");
        // Another id with the same route has no binding.
        assert_eq!(talk.moves(&get("8F3B.n3")), 3);
    }
}

#[test]
fn c29_a_route_leads_nowhere_where_its_version_does_not_serve_or_its_sessions_were_moved() {
    for hook in HOOKS {
        for flags in [0, VERSION_SERVES, VERSION_ROUTES] {
            let mut talk = Talk::new(hook);
            with_routes(&mut talk.rig);
            flip(&mut talk.rig, |policy| policy.versions[1].flags = flags);
            talk.serves("8F3A.n3", "");
        }
        // A session that was moved is known: its route does not bring it back.
        let mut talk = Talk::new(hook);
        with_routes(&mut talk.rig);
        bind(&talk.rig, "8F3A.n3", Binding::new(1, 9, 3, KIND_PRESENTED));
        talk.serves("8F3A.n3", "");
        assert_eq!(talk.rig.noted(Note::SessionMoved), 1);
    }
}

#[test]
fn a_routed_request_whose_backend_refuses_stays_on_its_version() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        with_routes(&mut rig);
        rig.connect();
        assert_eq!(rig.opens(0, &get("8F3A.n3"), 0), 3);
        let out = rig.backend(3, Seg { from: -1, acked: 0, flags: RST | ACK, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::BackendRefused);
        assert!(matches!(&out[..], [.., super::rig::Out::Leg(2, _)]), "{out:?}");
        // And one whose backend is known to be down, in the first place.
        let mut rig = Rig::new(hook);
        with_routes(&mut rig);
        rig.maps.backends[3].flags = BACKEND_USED;
        rig.connect();
        assert_eq!(rig.opens(0, &get("8F3A.n3"), 0), 2);
        assert_eq!(rig.noted(Note::BoundBackendDown), 1);
    }
}

#[test]
fn d13_made_up_ids_change_no_table() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        talk.has("mine");
        for number in 0..50 {
            talk.serves(&format!("madeup{number}"), "");
        }
        assert_eq!(entries(&talk.rig), 1);
    }
}

#[test]
fn c9_unknown_ids_are_adopted_on_request() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        talk.has("mine");
        flip(&mut talk.rig, |policy| policy.adopt = 1);
        talk.serves("mine", "");
        talk.serves("", "");
        assert_eq!((entries(&talk.rig), talk.rig.noted(Note::SessionAdopted)), (1, 0), "known, or no id at all");
        let index = talk.moves(&get("before"));
        assert!([2, 3].contains(&index));
        talk.answers(&response("", 5));
        let bound = binding(&talk.rig, "before").unwrap();
        assert_eq!((bound.version(), bound.backend(), bound.kind()), (1, index.into(), KIND_ADOPTED));
        // It stays when adoption is over.
        flip(&mut talk.rig, |policy| policy.adopt = NONE);
        talk.serves("before", "");
        assert_eq!(talk.kind("before"), Some(KIND_PRESENTED));
        assert_eq!((talk.rig.noted(Note::SessionAdopted), talk.rig.noted(Note::SessionPresented)), (1, 0));
        let index = talk.moves(&get("after"));
        assert!([0, 1].contains(&index));
        assert_eq!(talk.kind("after"), None);
    }
}

#[test]
fn what_stands_in_for_the_version_that_adopts_adopts_nothing() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        flip(&mut talk.rig, |policy| policy.adopt = 1);
        talk.rig.maps.backends[2].flags = BACKEND_USED;
        talk.rig.maps.backends[3].flags = BACKEND_USED;
        talk.serves("before", "");
        assert_eq!((entries(&talk.rig), talk.rig.noted(Note::VersionDown)), (0, 1));
    }
}

#[test]
fn c34_c35_c36_a_renamed_session_stays_and_its_old_id_with_it_for_a_while() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        let index = talk.index;
        talk.has("old");
        // On an old version: new sessions get another one.
        flip(&mut talk.rig, |policy| policy.active = 1);
        talk.serves("old", "Set-Cookie: JSESSIONID=new; Path=/; HttpOnly\r\n");
        let bound = binding(&talk.rig, "new").unwrap();
        assert_eq!((bound.version(), bound.backend(), bound.kind()), (0, index.into(), KIND_ISSUED));
        assert_eq!((talk.kind("old"), talk.rig.noted(Note::SessionRenamed)), (Some(KIND_RENAMED), 1));
        // Requests that were on their way, one of them answered with yet another id: its issuer has forgotten the old one.
        for seconds in [0, 10, 10, 10] {
            talk.rig.wait(seconds * 1000);
            talk.serves("old", if seconds == 0 { "Set-Cookie: JSESSIONID=other\r\n" } else { "" });
        }
        assert_eq!(talk.rig.noted(Note::SessionRenamed), 1);
        talk.serves("new", "");
        talk.rig.wait(1000);
        assert!([2, 3].contains(&talk.moves(&get("old"))), "the grace is over");
        assert_eq!(talk.kind("old"), None);
        talk.answers(&response("", 5));
        assert_eq!(talk.moves(&get("new")), index);
    }
}

#[test]
fn an_id_that_is_given_again_is_not_renamed() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        talk.has("mine");
        talk.serves("mine", "Set-Cookie: JSESSIONID=mine; Path=/\r\n");
        assert_eq!((talk.kind("mine"), talk.rig.noted(Note::SessionRenamed)), (Some(KIND_PRESENTED), 0));
    }
}

#[test]
fn several_cookies_of_the_name_and_what_comes_before_the_final_head() {
    let set = "Set-Cookie: JSESSIONID=one\r\n";
    let unset = "Set-Cookie: JSESSIONID=; Max-Age=0\r\n";
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        talk.has("mine");
        talk.serves("mine", &format!("{unset}{set}"));
        assert_eq!((talk.kind("one"), talk.kind("mine")), (Some(KIND_ISSUED), Some(KIND_RENAMED)));
        let mut talk = Talk::new(hook);
        talk.has("mine");
        talk.serves("mine", &format!("{set}{unset}"));
        assert_eq!((talk.kind("one"), talk.kind("mine")), (None, None));
        let mut talk = Talk::new(hook);
        talk.serves("", &format!("{set}Set-Cookie: JSESSIONID=two\r\n"));
        assert_eq!((talk.kind("one"), talk.kind("two")), (None, Some(KIND_ISSUED)));
        // A hint is none; what is behind it counts, also in pieces.
        let mut talk = Talk::new(hook);
        talk.asks(&get(""));
        talk.answers(format!("HTTP/1.1 103 Early Hints\r\n{set}\r\n").as_bytes());
        assert_eq!(talk.kind("one"), None);
        let answer = response("Set-Cookie: JSESSIONID=two\r\n", 5);
        for piece in answer.chunks(17) {
            talk.answers(piece);
        }
        assert_eq!((talk.kind("one"), talk.kind("two")), (None, Some(KIND_ISSUED)));
    }
}

#[test]
fn pipelined_requests_of_one_session_are_each_learned_from() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        talk.has("mine");
        for _ in 0..3 {
            talk.asks(&get("mine"));
        }
        talk.answers(&response("", 5));
        talk.answers(&response("Set-Cookie: JSESSIONID=; Max-Age=0\r\n", 5));
        assert_eq!(talk.kind("mine"), None, "the second of three deletes it");
        talk.answers(&response("", 5));
        assert_eq!((talk.rig.flow().outstanding, talk.rig.flow().carried & 1), (0, 0));
    }
}

#[test]
fn of_pipelined_requests_of_several_sessions_none_is_taken_for_another() {
    for hook in HOOKS {
        for (ids, answered, gone) in [
            // What the first response says of `one` is not applied, but never to `two`.
            (["one", "two", "two"], 0, None),
            (["one", "two", "two"], 1, Some("two")),
            (["one", "two", ""], 1, Some("two")),
            (["one", "two", ""], 2, None),
            (["", "", "one"], 1, None),
            (["", "", "one"], 2, Some("one")),
        ] {
            let mut talk = Talk::new(hook);
            talk.has("one");
            talk.has("two");
            for id in ids {
                talk.asks(&get(id));
            }
            for turn in 0..3 {
                let deletes = turn == answered;
                talk.answers(&response(if deletes { "Set-Cookie: JSESSIONID=\r\n" } else { "" }, 5));
            }
            for id in ["one", "two"] {
                assert_eq!(talk.kind(id).is_none(), gone == Some(id), "{ids:?}, answer {answered}");
            }
        }
    }
}

#[test]
fn d3_a_response_that_takes_long_refreshes_its_session_when_it_ends() {
    for hook in HOOKS {
        for (seconds, stays) in [(1799, true), (1801, false)] {
            let mut talk = Talk::new(hook);
            talk.has("mine");
            flip(&mut talk.rig, |policy| policy.active = 1);
            talk.asks(&get("mine"));
            let answer = response("", 1000);
            talk.answers(&answer[..500]);
            talk.rig.wait(1_200_000);
            talk.answers(&answer[500..]);
            talk.rig.wait(seconds * 1000);
            if stays {
                talk.asks(&get("mine"));
            } else {
                talk.moves(&get("mine"));
            }
        }
    }
}

#[test]
fn an_issued_id_that_comes_back_is_counted_once_under_either_hook() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        bind(&rig, "mine", Binding::new(1, 11, 3, KIND_ISSUED));
        // A leg has to be opened: XDP has looked the id up when it passes the request up to TC.
        assert_eq!(rig.opens(0, &get("mine"), 0), 3);
        assert_eq!(rig.noted(Note::SessionPresented), 1);
    }
}

#[test]
fn a_response_head_beyond_the_limit_goes_on_unlearned_and_counted() {
    for hook in HOOKS {
        let mut talk = Talk::new(hook);
        talk.asks(&get(""));
        let filler = "x".repeat(1300);
        talk.answers(format!("HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=one\r\nX: {filler}\r\n").as_bytes());
        for _ in 0..7 {
            talk.answers(format!("X: {filler}\r\n").as_bytes());
        }
        talk.answers(b"Content-Length: 5\r\n\r\nhello");
        assert_eq!((talk.kind("one"), talk.rig.noted(Note::ResponseUnlearned)), (None, 1));
        assert_ne!(talk.rig.flow().flags & RESPONSES_UNFRAMED, 0);
        assert_eq!(talk.rig.stashes(), 0);
    }
}
