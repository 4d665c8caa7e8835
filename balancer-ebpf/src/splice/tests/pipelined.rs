//! Pipelined requests: what goes together, and what waits for its turn.

use super::rig::{HOOKS, Out, Rig, Seg, bind, data, get, len, post, response};
use crate::layout::*;
use crate::net::{ACK, SYN};
use crate::verdict::Verdict;

#[test]
fn requests_of_one_segment_that_go_to_one_backend_go_together() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let three = [get("a"), post(100), get("b")].concat();
        let out = rig.says(client, &three, director);
        assert_eq!((data(&out), rig.in_flight(0), rig.flow().outstanding), (three.clone(), 3, 3));
        // A part of a fourth one waits for its rest; what was decided before it does not.
        let next = client + len(&three);
        let out = rig.says(next, &[get("c"), b"GET / HT".to_vec()].concat(), director);
        assert_eq!((data(&out), rig.in_flight(0)), (get("c"), 4));
        let answers = [response("", 1), response("", 2), response("", 3), response("", 4)].concat();
        rig.answers(index, director, &answers[..answers.len() - 60], next + len(&get("c")));
        rig.answers(index, director + len(&answers) - 60, &answers[answers.len() - 60..], next + len(&get("c")));
        assert_eq!(rig.in_flight(0), 0);
    }
}

#[test]
fn a_boundary_inside_a_segment_cuts_it() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
        let both = [post(100), get("old")].concat();
        let out = rig.says(client, &both, director);
        assert_eq!((data(&out), rig.in_flight(0)), (post(100), 1), "the second one belongs elsewhere");
        // The body's end again, and the next head behind it.
        let from = client + len(&post(100));
        let out = rig.says(from - 10, &both[both.len() - get("old").len() - 10..], director);
        assert_eq!((len(&data(&out)), out[0].seg().from), (10, from - 10));
        let out = rig.says(from, &get(""), director);
        assert_eq!((data(&out), rig.in_flight(0)), (get(""), 2));
        let answers = [response("", 1), response("", 2)].concat();
        rig.answers(index, director, &answers, from + len(&get("")));
        assert_eq!((rig.in_flight(0), rig.verdict), (0, Verdict::ToClient));
    }
}

#[test]
fn a_foreign_request_waits_for_the_answers_before_it_and_goes_then() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        bind(&rig, "old", Binding::new(1, 11, 3, KIND_PRESENTED));
        let own = [get("a"), get("b")].concat();
        let out = rig.says(client, &[&own[..], &get("old"), &get("c")].concat(), director);
        assert_eq!((data(&out), rig.in_flight(0), rig.in_flight(1)), (own.clone(), 2, 0));
        let (next, foreign) = (client + len(&own), [get("old"), get("c")].concat());
        let answers = [response("", 1), response("", 2)];
        let mut acked = director;
        for answer in &answers {
            // Its acknowledgement goes all the same, or the backend would wait for it.
            let out = rig.says(next, &foreign, acked);
            assert_eq!(out.len(), 1);
            assert!(
                matches!(&out[0], Out::Leg(_, seg) if seg.acked == acked && seg.flags == ACK && seg.data.is_empty())
            );
            assert_eq!(rig.verdict, Verdict::AckAlone);
            rig.answers(index, acked, answer, next);
            acked += len(answer);
        }
        // Of those behind it only its own goes with it.
        let to = rig.opens(next, &foreign, acked);
        assert_eq!((to, rig.in_flight(0), rig.in_flight(1)), (3, 0, 1));
        assert_eq!(data(&rig.accepts(to)), get("old"));
        let behind = next + len(&get("old"));
        rig.says(behind, &get("c"), acked);
        assert_eq!((rig.verdict, rig.in_flight(1)), (Verdict::AckAlone, 1), "and back again, in its turn");
    }
}

#[test]
fn what_is_pipelined_behind_the_request_that_opens_a_leg_comes_again() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let three = [get(""), get("b"), post(9)].concat();
        let index = rig.opens(0, &three, 0);
        let out = rig.accepts(index);
        assert_eq!((data(&out), rig.in_flight(0)), (get(""), 1));
        let next = len(&get(""));
        let out = rig.says(next, &three[next as usize..], 0);
        assert_eq!((data(&out), rig.in_flight(0)), (three[next as usize..].to_vec(), 3));
        let answers = [response("", 1), response("", 2), response("", 3)].concat();
        rig.answers(index, 0, &answers, len(&three));
        assert_eq!((rig.in_flight(0), rig.flow().outstanding), (0, 0));
    }
}

#[test]
fn more_than_are_decided_at_once_are_cut_off() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = Rig::served(hook);
        let ten = get("").repeat(10);
        let out = rig.says(client, &ten, director);
        let went = len(&data(&out));
        assert!(went > 0 && went % len(&get("")) == 0 && ten.starts_with(&data(&out)), "{went}");
        assert_eq!(rig.in_flight(0), went / len(&get("")));
        let out = rig.says(client + went, &ten[went as usize..], director);
        assert_eq!(([&ten[..went as usize], &data(&out)].concat(), rig.in_flight(0)), (ten, 10));
    }
}

#[test]
fn more_than_are_remembered_wait_for_an_answer() {
    for hook in HOOKS {
        let (mut rig, index, mut client, director) = Rig::served(hook);
        let request = get("");
        let mut count = 0;
        while data(&rig.says(client, &request, director)) == request {
            client += len(&request);
            count += 1;
        }
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::AckAlone, count));
        assert!((16..=32).contains(&count), "{count}");
        let answer = response("", 1);
        rig.answers(index, director, &answer, client);
        let out = rig.says(client, &request, director + len(&answer));
        assert_eq!((data(&out), rig.in_flight(0)), (request, count));
    }
}

#[test]
fn answers_are_framed_by_the_requests_that_they_answer() {
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    // Its answer has no body, whatever length it speaks of.
    let bare = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_vec();
    let (request, full) = (get(""), response("", 3));
    let rows = [
        (vec![&head, &head, &head], vec![&bare, &bare, &bare]),
        (vec![&request, &head, &request], vec![&full, &bare, &full]),
        (vec![&head, &request, &head, &head, &request], vec![&bare, &full, &bare, &bare, &full]),
    ];
    for hook in HOOKS {
        for (requests, answers) in &rows {
            let (mut rig, index, client, director) = Rig::served(hook);
            let requests = requests.iter().flat_map(|request| request.to_vec()).collect::<Vec<u8>>();
            assert_eq!(data(&rig.says(client, &requests, director)), requests);
            let end = client + len(&requests);
            let (mut from, mut left) = (director, answers.len() as i64);
            for answer in answers {
                rig.answers(index, from, answer, end);
                from += len(answer);
                left -= 1;
                assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, left));
            }
            rig.client(Seg { from: end, acked: from, ..Seg::default() });
            assert_eq!(rig.flow().flags & RESPONSES_UNFRAMED, 0);
        }
    }
}

#[test]
fn what_is_pipelined_behind_a_request_on_a_leg_from_the_pool_follows_it() {
    for hook in HOOKS {
        let mut rig = Rig::pooling(hook, 8);
        rig.connect();
        let (index, client, director) = rig.serve();
        rig.closes(client, director);
        rig.connect_another();
        let both = [get(""), get("b")].concat();
        let out = rig.takes(0, &both, 0);
        assert!(out.iter().all(|out| out.seg().flags & SYN == 0));
        assert_eq!((data(&out), rig.in_flight(0)), (get(""), 1), "the copy is of this one");
        let next = len(&get(""));
        let out = rig.says(next, &get("b"), 0);
        assert_eq!((data(&out), rig.in_flight(0)), (get("b"), 2));
        let answers = [response("", 1), response("", 2)].concat();
        let out = rig.answers(index, 0, &answers, len(&both));
        assert_eq!((data(&out), rig.in_flight(0), rig.stashes()), (answers, 0, 0));
    }
}
