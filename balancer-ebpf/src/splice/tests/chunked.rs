//! Requests whose bodies come in chunks, cut into segments in every way.

use super::rig::{HOOKS, Hook, Out, Rig, Seg, bind, data, get, len, response};
use crate::http::Scanned;
use crate::layout::*;
use crate::verdict::{Note, Verdict, unframed};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A request with this body, which is written as it lies on the wire.
fn request(body: &[u8]) -> Vec<u8> {
    [HEAD, body].concat()
}

/// Data as one chunk.
fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// Bodies that end with their last byte.
fn bodies() -> Vec<Vec<u8>> {
    let foreign = get("old");
    let last = b"0\r\n\r\n".to_vec();
    vec![
        last.clone(),
        [chunk(b"hello"), last.clone()].concat(),
        [chunk(b"h"), chunk(b"ello, world!!"), chunk(&[b'x'; 20]), last.clone()].concat(),
        b"0005\r\nhello\r\n000\r\n\r\n".to_vec(),
        b"A;name=value;other=\"quoted ; text\"\r\n0123456789\r\n0;last\r\n\r\n".to_vec(),
        b"1\r\nx\r\n0\r\nTrailer: value\r\nX-Sum: 5\r\n\r\n".to_vec(),
        // What looks like the next request, and like the end.
        [chunk(&foreign), last.clone()].concat(),
        [chunk(b"\r\n0\r\n\r\n"), chunk(&[&b"0\r\n\r\n"[..], &foreign].concat()), last].concat(),
    ]
}

/// Sends `bytes`, of which the first is the client's byte `from`, in segments that end at the cuts, and again what did not go.
/// Gives back what the leg got of them, and stops when nothing moves.
fn sends(rig: &mut Rig, from: i64, bytes: &[u8], cuts: &[usize], acked: i64) -> Vec<u8> {
    let (mut leg, mut pos) = (Vec::new(), 0);
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        while pos < cut {
            let mut reached = pos;
            for out in rig.says(from + pos as i64, &bytes[pos..cut], acked) {
                match out {
                    Out::Client(ack) => reached = reached.max((ack.acked - from) as usize),
                    Out::Leg(_, seg) => {
                        let begins = (seg.from - from) as usize;
                        assert!(begins <= leg.len(), "{:?}: a hole on the leg", rig.verdict);
                        leg.truncate(begins);
                        leg.extend(seg.data);
                        reached = reached.max(leg.len());
                    }
                }
            }
            if reached == pos {
                return leg;
            }
            pos = reached;
        }
    }
    leg
}

#[test]
fn a_body_ends_where_it_ends_however_it_is_cut() {
    for hook in HOOKS {
        for body in bodies() {
            let request = request(&body);
            let both = [&request[..], &get("")].concat();
            let cuts = (1..both.len()).map(|at| vec![at]);
            let even = [1, 2, 3, 7].map(|every| (1..both.len()).filter(|at| at % every == 0).collect());
            for cuts in cuts.chain(even) {
                let what = || format!("{:?} cut at {cuts:?}", String::from_utf8_lossy(&body));
                let (mut rig, index, client, director) = Rig::served(hook);
                let requests = rig.maps.traffic[0].requests.get();
                // A head that is cut waits until the leg is quiet, so the first one has its answer before the second begins.
                let first: Vec<_> = cuts.iter().copied().filter(|cut| *cut < request.len()).collect();
                assert_eq!(sends(&mut rig, client, &request, &first, director), request, "{}", what());
                let end = client + len(&request);
                assert_eq!(
                    (rig.flow().request.next, rig.flow().request.chunked),
                    (rig.flow().received, 0),
                    "{}",
                    what()
                );
                rig.answers(index, director, &response("", 3), end);
                assert_eq!(rig.in_flight(0), 0, "{}", what());
                let director = director + len(&response("", 3));
                let second: Vec<_> =
                    cuts.iter().filter(|cut| **cut > request.len()).map(|cut| cut - request.len()).collect();
                assert_eq!(sends(&mut rig, end, &get(""), &second, director), get(""), "{}", what());
                assert_eq!((rig.in_flight(0), rig.flow().flags & REQUESTS_UNFRAMED), (1, 0), "{}", what());
                assert_eq!(rig.maps.traffic[0].requests.get(), requests + 2, "{}", what());
            }
        }
    }
}

#[test]
fn what_follows_the_last_chunk_in_its_segment_is_a_request() {
    for hook in HOOKS {
        for body in bodies() {
            let request = request(&body);
            for cut in HEAD.len()..request.len() {
                // One for the same backend goes, one for another waits.
                for (id, follows) in [("", true), ("old", false)] {
                    let (mut rig, _, client, director) = Rig::served(hook);
                    bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
                    let both = [&request[..], &get(id)].concat();
                    let leg = sends(&mut rig, client, &both, &[cut], director);
                    let (expected, requests) = if follows { (&both, 2) } else { (&request, 1) };
                    assert_eq!(leg, *expected, "{:?} cut at {cut}", String::from_utf8_lossy(&body));
                    assert_eq!((rig.in_flight(0), rig.in_flight(1)), (requests, 0));
                    if !follows {
                        assert_eq!(rig.verdict, Verdict::AckAlone);
                    }
                }
            }
        }
    }
}

#[test]
fn requests_in_chunks_of_one_segment_go_together() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let three = bodies()[1..4].iter().flat_map(|body| request(body)).collect::<Vec<_>>();
        assert_eq!((data(&rig.says(client, &three, director)), rig.in_flight(0)), (three.clone(), 3));
        let answers = [response("", 1), response("", 2), response("", 3)].concat();
        rig.answers(index, director, &answers, client + len(&three));
        assert_eq!((rig.in_flight(0), rig.flow().flags & (REQUESTS_UNFRAMED | RESPONSES_UNFRAMED)), (0, 0));
    }
}

#[test]
fn a_body_that_waits_for_its_leg_is_followed() {
    for hook in HOOKS {
        for body in bodies() {
            let request = request(&body);
            for cut in HEAD.len()..request.len() {
                let mut rig = Rig::new(hook);
                rig.connect();
                let index = rig.opens(0, &request[..cut], 0);
                let middle = cut + (request.len() - cut) / 2;
                if middle > cut {
                    rig.says(cut as i64, &request[cut..middle], 0);
                    assert_eq!(rig.verdict, Verdict::Stashed);
                }
                rig.says(middle as i64, &[&request[middle..], &get("x")].concat(), 0);
                assert_eq!(rig.verdict, Verdict::Stashed);
                let out = rig.accepts(index);
                assert_eq!(data(&out), request, "and not a byte of the next request: cut at {cut}");
                rig.answers(index, 0, &response("", 1), len(&request));
                assert_eq!((rig.in_flight(0), rig.stashes(), rig.flow().flags & REQUESTS_UNFRAMED), (0, 0, 0));
            }
        }
    }
}

#[test]
fn more_chunks_than_are_followed_at_once_come_again() {
    // 6 bytes each: in a merged segment, behind the head or alone.
    let body = [b"1\r\nx\r\n".repeat(300), b"0\r\n\r\n".to_vec()].concat();
    let request = request(&body);
    for cuts in [vec![], vec![HEAD.len()], vec![HEAD.len() + 1], vec![HEAD.len() + 600]] {
        let (mut rig, index, client, director) = Rig::served(Hook::Tc);
        assert_eq!(sends(&mut rig, client, &request, &cuts, director), request, "{cuts:?}: {:?}", rig.verdict);
        assert_eq!((rig.in_flight(0), rig.flow().flags & REQUESTS_UNFRAMED), (1, 0), "{cuts:?}");
        rig.answers(index, director, &response("", 1), client + len(&request));
        assert_eq!((rig.in_flight(0), rig.flow().flags & RESPONSES_UNFRAMED), (0, 0), "{cuts:?}");
    }
}

#[test]
fn a_chunk_longer_than_a_segment_passes_unread() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = Rig::served(hook);
        rig.says(client, &[HEAD, b"100000\r\n"].concat(), director);
        let mut from = client + len(HEAD) + 8;
        // What is inside of known data may come in any order.
        for step in [1000, 3000, 2000] {
            rig.says(from + step, &get("old").repeat(20)[..1000], director);
            assert_eq!(rig.verdict, Verdict::ToBackend);
        }
        from += 0x10_0000;
        // What lies behind a header that has not been seen may not.
        let out = rig.says(from + 2, b"0\r\n\r\n", director);
        assert_eq!((rig.verdict, data(&out)), (Verdict::AckAlone, vec![]));
        rig.says(from, b"\r\n0\r\n\r\n", director);
        assert_eq!(rig.verdict, Verdict::ToBackend);
        let out = rig.says(from + 7, &get(""), director);
        assert_eq!((rig.verdict, data(&out), rig.in_flight(0)), (Verdict::RequestSame, get(""), 2));
    }
}

#[test]
fn a_chunk_that_is_none_leaves_the_flow_where_it_is() {
    let long = |what: &str, count: usize| [what.as_bytes(), &vec![b'a'; count]].concat();
    let rows: Vec<(Scanned, Vec<u8>)> = vec![
        (Scanned::BadChunk, b"hello\r\n".to_vec()),
        (Scanned::BadChunk, b"\r\nhello\r\n".to_vec()),
        (Scanned::BadChunk, b"-5\r\nhello\r\n".to_vec()),
        (Scanned::BadChunk, b"0x5\r\nhello\r\n".to_vec()),
        (Scanned::BadChunk, b" 5\r\nhello\r\n".to_vec()),
        (Scanned::BadChunk, b"5\nhello\n".to_vec()),
        (Scanned::BadChunk, b"5\r\nhello!\r\n".to_vec()),
        (Scanned::BadChunk, b"5\r\nhello\n0\r\n\r\n".to_vec()),
        (Scanned::BadChunk, b"5;x\ny\r\nhello\r\n".to_vec()),
        (Scanned::BadChunk, b"fffffffff\r\n".to_vec()),
        (Scanned::BadChunk, b"ffffffff\r\n".to_vec()),
        (Scanned::BadChunk, b"0\r\nX: y\n\r\n".to_vec()),
        (Scanned::BadChunk, b"0\r\n folded\r\n\r\n".to_vec()),
        (Scanned::LongChunk, long("5;", 300)),
    ];
    for hook in HOOKS {
        for (reason, body) in &rows {
            for cut in [0, HEAD.len(), HEAD.len() + 1] {
                let what = || format!("{:?} cut at {cut}", String::from_utf8_lossy(body));
                let request = request(body);
                let (mut rig, index, client, director) = Rig::served(hook);
                bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
                let noted = |rig: &Rig| rig.maps.counters[unframed(*reason) as usize].get();
                assert_eq!(sends(&mut rig, client, &request, &[cut], director), request, "{}", what());
                assert_eq!(noted(&rig), 1, "{}", what());
                assert_eq!(rig.flow().flags & REQUESTS_UNFRAMED, REQUESTS_UNFRAMED, "{}", what());
                // Whatever looks like a request now is not decided.
                let next = client + len(&request);
                let out = rig.says(next, &get("old"), director);
                assert_eq!((data(&out), rig.in_flight(0), rig.in_flight(1)), (get("old"), 1, 0), "{}", what());
                rig.answers(index, director, &response("", 1), next + len(&get("old")));
                assert_eq!(rig.verdict, Verdict::ToClient, "{}", what());
            }
        }
    }
}

#[test]
fn a_final_response_before_the_last_chunk_ends_all_framing() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        rig.connect();
        let (index, client, director) = rig.serve();
        let request = request(&[chunk(b"hello"), chunk(b"world"), b"0\r\n\r\n".to_vec()].concat());
        let cut = HEAD.len() + 12;
        rig.says(client, &request[..cut], director);
        let answer = response("", 2);
        rig.answers(index, director, &answer, client + cut as i64);
        assert_eq!((rig.verdict, rig.noted(Note::ResponseUnframed)), (Verdict::ToClient, 1));
        // What the client sends now may be the rest of the body or another request: nobody knows.
        let director = director + len(&answer);
        let out = rig.says(client + cut as i64, &request[cut..], director);
        assert_eq!(data(&out), request[cut..]);
        let end = client + len(&request);
        rig.backend(index, Seg { from: director, acked: end, ..Seg::default() });
        rig.closes(end, director);
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::ToBackend, 0), "nor is its leg anybody else's");
    }
}

#[test]
fn a_client_that_asks_before_it_sends_its_chunks_stays_framed() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        rig.connect();
        let (index, client, director) = rig.serve();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
        rig.says(client, head, director);
        let (interim, body) = (b"HTTP/1.1 100 Continue\r\n\r\n", &bodies()[5]);
        let client = client + len(head);
        rig.answers(index, director, interim, client);
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, 1));
        let director = director + len(interim);
        assert_eq!(sends(&mut rig, client, body, &[4, 9], director), *body);
        let client = client + len(body);
        rig.answers(index, director, &response("", 1), client);
        assert_eq!((rig.in_flight(0), rig.flow().flags & (REQUESTS_UNFRAMED | RESPONSES_UNFRAMED)), (0, 0));
        rig.closes(client, director + len(&response("", 1)));
        assert_eq!((rig.verdict, rig.pooled(index)), (Verdict::LegParked, 1), "a body that is followed to its end");
    }
}
