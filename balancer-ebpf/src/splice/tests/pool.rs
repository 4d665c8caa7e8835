//! Pooled legs: which ones go in, who takes one out, and what each side sees of it.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, bind, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, FIN, PSH, RST};
use crate::verdict::{Note, Verdict};

/// A client has come and gone, its leg lies in the pool of this backend, and the next client is connected.
fn parked(hook: Hook) -> (Rig, u8) {
    let mut rig = Rig::pooling(hook, 8);
    rig.connect();
    let (index, client, director) = rig.serve();
    rig.closes(client, director);
    assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::LegParked, 1));
    rig.connect_another();
    (rig, index)
}

// What goes in.

#[test]
fn a_leg_is_parked_when_its_client_closes() {
    for hook in HOOKS {
        for timestamps in [false, true] {
            let mut rig = Rig::pooling(hook, 8);
            rig.timestamps = timestamps;
            rig.connect();
            let (index, client, director) = rig.serve();
            let backend = usize::from(index);
            assert_eq!((rig.maps.traffic[0].flows.get(), rig.maps.backends[backend].legs.get()), (1, 1));
            let out = rig.closes(client, director);
            let [Out::Leg(to, ack), Out::Client(fin)] = &out[..] else { panic!("{:?}: {out:?}", rig.verdict) };
            assert_eq!((*to, ack.flags, ack.from, ack.acked), (index, ACK, client, director));
            assert_eq!((fin.flags, fin.from, fin.acked), (FIN | ACK, director, client + 1));
            assert_eq!((rig.verdict, rig.pooled(index), rig.noted(Note::LegParked)), (Verdict::LegParked, 1, 1));
            assert_eq!((rig.maps.traffic[0].flows.get(), rig.maps.backends[backend].legs.get()), (0, 0));
            // The answer to its FIN was lost.
            assert_eq!(rig.closes(client, director), [Out::Client(fin.clone())]);
            rig.client(Seg { from: client + 1, acked: director + 1, ..Seg::default() });
            // Whoever wants its slot may have it.
            assert_eq!((rig.verdict, rig.flow().seen, rig.pooled(index)), (Verdict::FlowEnded, 0, 1));
        }
    }
}

/// Ends a story with another request: what it was, and its response, all of which the client acknowledges.
fn exchange(rig: &mut Rig, index: u8, (client, director): (i64, i64), request: &[u8], answer: &[u8]) -> (i64, i64) {
    rig.says(client, request, director);
    let client = client + len(request);
    rig.answers(index, director, answer, client);
    (client, director + len(answer))
}

#[test]
fn a_leg_that_is_not_as_new_is_not_parked() {
    type Story = fn(&mut Rig, u8, (i64, i64)) -> (i64, i64);
    let authorized =
        |scheme: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {scheme} x\r\n\r\n").into_bytes();
    let stories: &[(&str, Story)] = &[
        ("the client has not acknowledged the response", |rig, index, at| {
            let (client, director) = exchange(rig, index, at, &get(""), &response("", 10));
            (client, director - 1)
        }),
        ("the response has not ended", |rig, index, at| exchange(rig, index, at, &get(""), &response("", 10)[..40])),
        ("the backend has not acknowledged the request", |rig, index, (client, director)| {
            let (request, answer) = (get(""), response("", 10));
            rig.says(client, &request, director);
            rig.answers(index, director, &answer, client + len(&request) - 1);
            (client + len(&request), director + len(&answer))
        }),
        ("a request came twice, and nobody compared the two", |rig, index, at| {
            rig.says(at.0, &get(""), at.1);
            exchange(rig, index, at, &get(""), &response("", 10))
        }),
        ("a body came twice", |rig, index, at| {
            rig.says(at.0, &post(100), at.1);
            rig.says(at.0 + len(&post(100)) - 50, &post(100)[post(100).len() - 50..], at.1);
            exchange(rig, index, at, &post(100), &response("", 10))
        }),
        ("the backend says that it closes", |rig, index, at| {
            exchange(rig, index, at, &get(""), &response("Connection: close\r\n", 10))
        }),
        ("the response authenticates the connection: NTLM", |rig, index, at| {
            exchange(rig, index, at, &get(""), &response("WWW-Authenticate: NTLM\r\n", 10))
        }),
        ("the response authenticates the connection: Negotiate", |rig, index, at| {
            exchange(rig, index, at, &get(""), &response("WWW-Authenticate: Negotiate abc\r\n", 10))
        }),
        ("the response is not framed", |rig, index, at| {
            exchange(rig, index, at, &get(""), b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx")
        }),
        ("the response ends with the connection", |rig, index, at| {
            exchange(rig, index, at, &get(""), b"HTTP/1.1 200 OK\r\n\r\nall that there is")
        }),
        ("the request is not framed", |rig, index, at| {
            exchange(rig, index, at, b"GET / HTTP/1.1\nHost: a\n\n", &response("", 10))
        }),
        ("a tunnel", |rig, index, at| {
            exchange(rig, index, at, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
        }),
        ("another protocol", |rig, index, at| {
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            exchange(rig, index, at, request, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        }),
        ("a body of which the rest never comes", |rig, index, at| {
            exchange(rig, index, at, &post(100)[..100], &response("", 10))
        }),
    ];
    for hook in HOOKS {
        for (why, story) in stories {
            let mut rig = Rig::pooling(hook, 8);
            rig.connect();
            let (index, client, director) = rig.serve();
            let (client, acked) = story(&mut rig, index, (client, director));
            let out = rig.closes(client, acked);
            assert!(!out.iter().any(|out| matches!(out, Out::Client(_))), "{why}: {:?}: {out:?}", rig.verdict);
            assert_eq!((rig.pooled(index), rig.noted(Note::LegParked)), (0, 0), "{why}");
        }
        for scheme in ["NTLM", "Negotiate", "negotiate"] {
            let mut rig = Rig::pooling(hook, 8);
            rig.connect();
            // The very first request, which opens the leg; and the leg stays so for what comes behind it.
            let index = rig.opens(0, &authorized(scheme), 0);
            rig.accepts(index);
            rig.answers(index, 0, &response("", 1), len(&authorized(scheme)));
            let at = (len(&authorized(scheme)), len(&response("", 1)));
            let (client, director) = exchange(&mut rig, index, at, &get(""), &response("", 10));
            rig.closes(client, director);
            assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::ToBackend, 0), "{scheme}");
        }
    }
}

#[test]
fn a_flow_that_was_not_parked_once_may_be_later() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        rig.connect();
        let (index, client, director) = rig.serve();
        let close = response("Connection: close\r\n", 1);
        let at = exchange(&mut rig, index, (client, director), &get(""), &close);
        let (client, director) = exchange(&mut rig, index, at, &get(""), &response("", 1));
        rig.closes(client, director);
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::LegParked, 1), "it said that, and went on");
    }
}

#[test]
fn a_full_pool_closes_what_it_has_no_room_for() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 1);
        let mut ends = Vec::new();
        for _ in 0..2 {
            let port = rig.connect_another();
            let (index, client, director) = rig.serve();
            ends.push((port, rig.leg_port, index, client, director));
        }
        for (turn, (client_port, leg_port, index, client, director)) in ends.into_iter().enumerate() {
            (rig.client_port, rig.leg_port) = (client_port, leg_port);
            let out = rig.closes(client, director);
            assert_eq!(rig.pooled(index), 1);
            if turn == 0 {
                assert_eq!(rig.verdict, Verdict::LegParked);
            } else {
                assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == FIN | ACK), "{out:?}");
            }
        }
    }
}

#[test]
fn without_pools_a_client_closes_its_leg() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let out = rig.closes(client, director);
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == FIN | ACK), "{out:?}");
        assert_eq!(rig.pooled(index), 0);
    }
}

// What comes out.

#[test]
fn one_leg_serves_client_after_client() {
    for hook in HOOKS {
        for timestamps in [false, true] {
            let mut rig = Rig::pooling(hook, 8);
            (rig.timestamps, rig.scale, rig.backend_scale) = (timestamps, Some(7), 9);
            rig.connect();
            let (index, client, director) = rig.serve();
            rig.closes(client, director);
            let request = get("");
            for (turn, scale) in [2, 0, 14, 7].into_iter().enumerate() {
                // Longer than half of the other clocks' way around would be too long, but minutes are not.
                rig.wait(100_000);
                rig.scale = Some(scale);
                rig.connect_another();
                let seg = Seg { flags: ACK | PSH, data: request.clone(), window: 700, ..Seg::default() };
                let out = rig.takes(0, &request, 0);
                let window = ((500u32 << scale) >> 7).min(0xffff) as u16;
                assert_eq!(out, [Out::Leg(index, Seg { window, ..seg.clone() })], "turn {turn}: no SYN, and at once");
                assert_eq!((rig.pooled(index), rig.in_flight(0), rig.stashes()), (0, 1, 1));
                // The backend has it. Whether it works on it only its first byte says.
                assert_eq!(rig.backend(index, Seg { acked: len(&request), ..Seg::default() }), []);
                assert_eq!((rig.verdict, rig.stashes()), (Verdict::AckHeld, 1));
                let answer = response("", 30);
                let out = rig.answers(index, 0, &answer, len(&request));
                let expected = Seg { data: answer.clone(), acked: len(&request), window: 500 << 2, ..seg.clone() };
                assert_eq!(out, [Out::Client(expected)]);
                assert_eq!((rig.in_flight(0), rig.stashes()), (0, 0));
                // On the leg as on any other.
                let at = (len(&request), len(&answer));
                let (client, director) = exchange(&mut rig, index, at, &post(50), &response("", 7));
                let out = rig.closes(client, director);
                assert_eq!((rig.verdict, out.len(), rig.pooled(index)), (Verdict::LegParked, 2, 1));
                let out = rig.client(Seg { from: client + 1, acked: director + 1, ..Seg::default() });
                assert_eq!((rig.verdict, out), (Verdict::FlowEnded, vec![]));
            }
            assert_eq!(rig.maps.traffic[0].requests.get(), 9);
        }
    }
}

#[test]
fn only_what_may_be_done_twice_and_is_there_as_a_whole_takes_a_leg() {
    let request = |first: &str, headers: &str| format!("{first} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes();
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let rows = [
        (true, request("GET /", "")),
        (true, request("HEAD /", "")),
        (true, request("OPTIONS *", "")),
        (true, request("GET /", "Authorization: Basic abc\r\n")),
        (true, [request("GET /", "Content-Length: 4\r\n"), b"body".to_vec()].concat()),
        (true, [request("GET /", "Transfer-Encoding: chunked\r\n"), b"1\r\nx\r\n0\r\n\r\n".to_vec()].concat()),
        (false, request("POST /", "Content-Length: 0\r\n")),
        (false, post(10)),
        (false, request("PUT /", "Content-Length: 0\r\n")),
        (false, request("DELETE /", "")),
        (false, request("PATCH /", "Content-Length: 0\r\n")),
        (false, request("FROBNICATE /", "")),
        (false, request("get /", "")),
        (false, request("CONNECT a:1", "")),
        (false, request("GET /", upgrade)),
        (false, request("GET /", "Authorization: NTLM abc\r\n")),
        (false, request("GET /", "Authorization: Negotiate abc\r\n")),
        (false, [request("GET /", "Content-Length: 5\r\n"), b"body".to_vec()].concat()),
        (false, [request("GET /", "Transfer-Encoding: chunked\r\n"), b"1\r\nx\r\n0\r\n".to_vec()].concat()),
        (false, b"GET / HTTP/1.1\nHost: a\n\n".to_vec()),
    ];
    for hook in HOOKS {
        for (takes, request) in &rows {
            let what = String::from_utf8_lossy(request);
            let (mut rig, index) = parked(hook);
            if *takes {
                assert_eq!(data(&rig.takes(0, request, 0)), *request);
                continue;
            }
            let other = rig.opens(0, request, 0);
            assert_eq!((rig.pooled(index), rig.maps.backends[usize::from(index)].legs.get()), (1, 1), "{what}");
            assert_eq!(data(&rig.accepts(other)), *request, "{what}");
        }
        // A client that closes right behind its request would close the leg.
        let (mut rig, index) = parked(hook);
        rig.client(Seg { flags: FIN | PSH | ACK, data: get(""), ..Seg::default() });
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::RequestOpen, 1));
    }
}

#[test]
fn a_head_in_pieces_takes_a_leg_when_it_is_complete() {
    for hook in HOOKS {
        let (mut rig, index) = parked(hook);
        let request = get("some");
        let out = rig.says(0, &request[..20], 0);
        assert_eq!((rig.verdict, out[0].seg().acked), (Verdict::HeadPart, 20));
        // The rest comes as one more segment, and the leg gets both.
        rig.says(20, &request[20..30], 0);
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::HeadPart, 1));
        let out = rig.says(30, &request[30..], 0);
        assert_eq!((rig.verdict, data(&out), rig.pooled(index)), (Verdict::RequestPooled, request, 0));
    }
}

#[test]
fn a_client_gets_legs_with_its_own_options_only() {
    type Change = fn(&mut Rig);
    let changes: [(bool, Change); 6] = [
        (false, |rig| rig.timestamps = false),
        (false, |rig| rig.sack = false),
        (false, |rig| rig.scale = None),
        (false, |rig| rig.mss = 1220),
        (true, |rig| rig.scale = Some(3)),
        // What a cookie cannot tell from 1440.
        (true, |rig| rig.mss = 1459),
    ];
    for hook in HOOKS {
        for (turn, (same, change)) in changes.into_iter().enumerate() {
            let mut rig = Rig::pooling(hook, 8);
            rig.mss = 1440;
            rig.connect();
            let (index, client, director) = rig.serve();
            rig.closes(client, director);
            change(&mut rig);
            rig.connect_another();
            if same {
                rig.takes(0, &get(""), 0);
                continue;
            }
            let (other, client, director) = rig.serve();
            assert_eq!((other, rig.pooled(index)), (index, 1), "change {turn}");
            rig.closes(client, director);
            assert_eq!(rig.pooled(index), 2, "one in each of two pools");
            // And the other way: each finds its own.
            rig.connect_another();
            rig.takes(0, &get(""), 0);
            assert_eq!(rig.pooled(index), 1);
        }
    }
}

#[test]
fn the_last_leg_in_is_the_first_out() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        let ends = [(); 3].map(|()| {
            let port = rig.connect_another();
            (port, rig.serve(), rig.leg_port)
        });
        for (client_port, (_, client, director), leg_port) in ends {
            (rig.client_port, rig.leg_port) = (client_port, leg_port);
            rig.closes(client, director);
            rig.client(Seg { from: client + 1, acked: director + 1, ..Seg::default() });
        }
        for (.., leg_port) in ends.into_iter().rev() {
            rig.connect_another();
            rig.takes(0, &get(""), 0);
            assert_eq!(rig.leg_port, leg_port);
        }
    }
}

#[test]
fn what_another_client_had_from_the_leg_reaches_nobody() {
    for hook in HOOKS {
        let (mut rig, index) = parked(hook);
        rig.takes(0, &get(""), 0);
        // The acknowledgement of the last response was lost, and the backend sends its end again; alone or with more behind it.
        for (from, end) in [(-10, 0), (-1, 0), (-10, 30)] {
            assert_eq!(rig.answers(index, from, &vec![b'x'; (end - from) as usize], 0), []);
            assert_eq!((rig.verdict, rig.stashes(), rig.in_flight(0)), (Verdict::BeforeFlow, 1, 1));
        }
        let out = rig.answers(index, 0, &response("", 30), len(&get("")));
        assert_eq!((data(&out), rig.in_flight(0)), (response("", 30), 0));
    }
}

#[test]
fn a_connection_that_goes_from_version_to_version_parks_and_takes() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        rig.connect();
        let sessions = [("old", 1), ("new", 3)];
        bind(&rig, "old", Binding::new(0, 10, 1, KIND_PRESENTED));
        bind(&rig, "new", Binding::new(1, 11, 3, KIND_PRESENTED));
        let (mut client, mut director) = (0, 0);
        for turn in 0..8 {
            let (id, index) = sessions[turn % 2];
            let other = sessions[1 - turn % 2].1;
            let request = get(id);
            let out = if turn < 2 {
                assert_eq!(rig.opens(client, &request, director), index);
                assert_eq!(rig.verdict, Verdict::RequestOpen, "the leg at hand is parked, not reset");
                rig.accepts(index)
            } else {
                rig.takes(client, &request, director)
            };
            assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.data == request), "{out:?}");
            assert_eq!((rig.pooled(index), rig.pooled(other)), (0, u32::from(turn > 0)), "turn {turn}");
            let answer = response("", turn);
            client += len(&request);
            let out = rig.answers(index, director, &answer, client);
            assert_eq!((out[0].seg().from, data(&out)), (director, answer.clone()));
            director += len(&answer);
            rig.client(Seg { from: client, acked: director, ..Seg::default() });
            rig.wait(50);
        }
        rig.closes(client, director);
        assert_eq!((rig.pooled(1), rig.pooled(3)), (1, 1));
    }
}

#[test]
fn a_leg_whose_backend_is_somebody_else_now_is_forgotten() {
    for hook in HOOKS {
        let (mut rig, index) = parked(hook);
        // The number belongs to a server that was added when the old one had gone.
        rig.maps.backends[usize::from(index)].address = [10, 0, 2, 100].into();
        assert_eq!(rig.opens(0, &get(""), 0), 100);
        assert_eq!(rig.pooled(index), 0);
        assert_eq!(data(&rig.accepts(100)), get(""));
    }
}

// What is full, and what changes meanwhile.

#[test]
fn an_idle_leg_makes_room_for_a_new_one() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        let ends = [(); 4].map(|()| {
            let port = rig.connect_another();
            (port, rig.serve(), rig.leg_port)
        });
        for (client_port, (index, client, director), leg_port) in ends {
            (rig.client_port, rig.leg_port) = (client_port, leg_port);
            rig.closes(client, director);
            rig.client(Seg { from: client + 1, acked: director + 1, ..Seg::default() });
            assert_eq!(rig.verdict, Verdict::FlowEnded);
            assert_ne!(rig.pooled(index), 0);
        }
        rig.connect_another();
        let index = rig.opens(0, &post(3), 0);
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::RequestOpen, 3));
        assert_eq!(data(&rig.accepts(index)), post(3));
        rig.answers(index, 0, &response("", 3), len(&post(3)));
        rig.closes(len(&post(3)), len(&response("", 3)));
        assert_eq!(rig.pooled(index), 4);
    }
}

#[test]
fn a_request_that_has_to_come_again_leaves_the_leg_where_it_was() {
    type Trouble = fn(&Rig);
    fn stashes(rig: &Rig, owner: u64) {
        rig.maps.stashes.iter().for_each(|stash| stash.borrow().owner.set(owner));
    }
    let troubles: [(Verdict, Trouble); 2] = [
        (Verdict::StashesFull, |rig| stashes(rig, 99)),
        (Verdict::Undecided, |rig| rig.maps.word_changes.set(Some((2, ServiceWord::new(1, 2).0)))),
    ];
    for hook in HOOKS {
        for (verdict, trouble) in troubles {
            let (mut rig, index) = parked(hook);
            trouble(&rig);
            assert_eq!(rig.says(0, &get(""), 0), []);
            assert_eq!((rig.verdict, rig.pooled(index), rig.in_flight(0)), (verdict, 1, 0));
            stashes(&rig, 0);
            rig.takes(0, &get(""), 0);
            assert_eq!((rig.pooled(index), rig.in_flight(0), rig.stashes()), (0, 1, 1));
        }
    }
}

#[test]
fn a_client_that_resets_its_connection_resets_the_leg() {
    for hook in HOOKS {
        let (mut rig, index) = parked(hook);
        rig.takes(0, &get(""), 0);
        let out = rig.client(Seg { from: len(&get("")), flags: RST, ..Seg::default() });
        assert!(matches!(&out[..], [Out::Leg(to, seg)] if *to == index && seg.flags == RST), "{out:?}");
        assert_eq!((rig.verdict, rig.pooled(index), rig.stashes()), (Verdict::ClientReset, 0, 0));
    }
}
