//! What became of requests, as a canary is judged by it.

use super::rig::{HOOKS, Rig, Seg, get, len, response};
use crate::net::{ACK, FIN, RST};
use crate::verdict::Verdict;

/// Answers, errors, resets and those that nobody answered, of a version.
fn counts(rig: &Rig, version: usize) -> (u64, u64, u64, u64) {
    let outcomes = &rig.maps.outcomes[version];
    (outcomes.answers.get(), outcomes.errors.get(), outcomes.resets.get(), outcomes.unanswered.get())
}

/// When a client left last whose request was being worked on.
fn left_at(rig: &Rig, version: usize) -> u64 {
    rig.maps.outcomes[version].left_at.get()
}

/// A client whose first request was answered, with its next one on the way: the backend, and what comes next of either side.
fn asks(hook: super::rig::Hook) -> (Rig, u8, i64, i64) {
    let (mut rig, index, client, director) = Rig::served(hook);
    rig.says(client, &get(""), director);
    assert_eq!((rig.verdict, counts(&rig, 0)), (Verdict::RequestSame, (1, 0, 0, 0)));
    (rig, index, client + len(&get("")), director)
}

#[test]
fn answers_and_those_that_are_errors() {
    let rows = [("200 OK", (2, 0)), ("499 Odd", (2, 0)), ("500 Oh", (2, 1)), ("503 No", (2, 1)), ("599 Odd", (2, 1))];
    for hook in HOOKS {
        for (status, (answers, errors)) in rows {
            let (mut rig, index, client, director) = asks(hook);
            let answer = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            rig.answers(index, director, answer.as_bytes(), client);
            assert_eq!(counts(&rig, 0), (answers, errors, 0, 0), "{status}");
            // A response that comes twice is one.
            rig.answers(index, director, answer.as_bytes(), client);
            assert_eq!(counts(&rig, 0), (answers, errors, 0, 0), "{status}");
            assert_eq!(counts(&rig, 1), (0, 0, 0, 0));
        }
    }
}

#[test]
fn connections_that_backends_end_too_early() {
    for hook in HOOKS {
        for flags in [RST, RST | ACK, FIN | ACK] {
            // In the middle of a response, whose end comes twice.
            let (mut rig, index, client, director) = asks(hook);
            let part = &response("", 100)[..60];
            rig.answers(index, director, part, client);
            for _ in 0..2 {
                rig.backend(index, Seg { from: director + 60, acked: client, flags, ..Seg::default() });
                assert_eq!(counts(&rig, 0), (2, 0, 1, 0), "{flags}");
            }
            rig.client(Seg { from: client, acked: director + 60, flags: RST, ..Seg::default() });
            assert_eq!((counts(&rig, 0), left_at(&rig, 0)), ((2, 0, 1, 0), 0), "{flags}");
            // Behind the response: that is no failure.
            let (mut rig, index, client, director) = Rig::served(hook);
            rig.backend(index, Seg { from: director, acked: client, flags, ..Seg::default() });
            assert_eq!(counts(&rig, 0), (1, 0, 0, 0), "{flags}");
        }
    }
}

#[test]
fn clients_that_do_not_wait() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = asks(hook);
        rig.client(Seg { from: client, acked: director, flags: RST, ..Seg::default() });
        let now = rig.maps.now.get() / 1_000_000;
        assert_eq!((rig.verdict, counts(&rig, 0)), (Verdict::ClientReset, (1, 0, 0, 1)));
        assert_eq!((left_at(&rig, 0), rig.in_flight(0)), (now, 0));
        // One that has enough of a long answer got an answer; its backend may be working on it all the same.
        let (mut rig, index, client, director) = asks(hook);
        rig.answers(index, director, &response("", 100)[..60], client);
        rig.client(Seg { from: client, acked: director + 60, flags: RST, ..Seg::default() });
        assert_eq!((counts(&rig, 0), left_at(&rig, 0)), ((2, 0, 0, 0), now));
        // One that waits for nothing left nothing behind.
        let (mut rig, _, client, director) = Rig::served(hook);
        rig.client(Seg { from: client, acked: director, flags: RST, ..Seg::default() });
        assert_eq!((counts(&rig, 0), left_at(&rig, 0)), ((1, 0, 0, 0), 0));
        // Nobody has begun to work on what is not there yet.
        let mut rig = Rig::new(hook);
        rig.connect();
        rig.opens(0, &get(""), 0);
        rig.client(Seg { from: len(&get("")), acked: 0, flags: RST, ..Seg::default() });
        assert_eq!((counts(&rig, 0), left_at(&rig, 0)), ((0, 0, 0, 1), 0));
    }
}

#[test]
fn a_version_that_takes_no_connection() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let first = rig.opens(0, &get(""), 0);
        let refusal = Seg { from: -1, acked: 0, flags: RST | ACK, ..Seg::default() };
        rig.backend(first, refusal.clone());
        // Another backend of the version has it now.
        assert_eq!((rig.verdict, counts(&rig, 0)), (Verdict::BackendRefused, (0, 0, 0, 0)));
        rig.backend(1 - first, refusal.clone());
        assert_eq!((rig.verdict, counts(&rig, 0)), (Verdict::Rejected, (0, 0, 0, 1)));
        // Or another version.
        let mut rig = Rig::new(hook);
        for policy in &mut rig.maps.policies {
            policy.fallback = 1;
        }
        rig.connect();
        let first = rig.opens(0, &get(""), 0);
        rig.backend(first, refusal.clone());
        rig.backend(1 - first, refusal);
        assert_eq!(
            (rig.verdict, counts(&rig, 0), counts(&rig, 1)),
            (Verdict::BackendRefused, (0, 0, 0, 1), (0, 0, 0, 0))
        );
    }
}
