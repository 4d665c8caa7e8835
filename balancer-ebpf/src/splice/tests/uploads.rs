//! Requests of many segments.

use super::rig::{HOOKS, Hook, Rig, Seg, bind, data, get, len, post, response};
use crate::layout::*;
use crate::net::RST;
use crate::verdict::Verdict;

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
