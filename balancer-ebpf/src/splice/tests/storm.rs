//! Acknowledgements without end (N12).

use super::rig::*;
use crate::splice::storm::MOST;
use crate::verdict::Verdict;

/// A client that is served, and has told its backend so often that it has heard all that one more time is too often.
fn raging(hook: Hook) -> (Rig, u8, i64, i64) {
    let (mut rig, index, client, director) = Rig::served(hook);
    for count in 0..MOST {
        assert_eq!(acknowledges(&mut rig, client, director), Verdict::ToBackend, "{count}");
    }
    (rig, index, client, director)
}

fn acknowledges(rig: &mut Rig, from: i64, acked: i64) -> Verdict {
    rig.client(Seg { from, acked, ..Seg::default() });
    rig.verdict
}

/// N12.
#[test]
fn a_storm_of_acknowledgements_is_broken() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = raging(hook);
        for _ in 0..10 {
            assert_eq!(acknowledges(&mut rig, client, director), Verdict::AckStorm);
        }
        // What is not even a number of this connection's does not go on either.
        assert_eq!(acknowledges(&mut rig, client, director + 5), Verdict::AckStorm);
    }
}

/// N12.
#[test]
fn whoever_has_something_to_say_is_heard() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = raging(hook);
        assert_eq!(acknowledges(&mut rig, client, director), Verdict::AckStorm);
        let request = get("");
        assert_eq!(data(&rig.says(client, &request, director)), request);
        let client = client + len(&request);
        assert_eq!(acknowledges(&mut rig, client, director), Verdict::ToBackend);
        for _ in 0..MOST {
            acknowledges(&mut rig, client, director);
        }
        assert_eq!(rig.verdict, Verdict::AckStorm);
        let answer = response("", 10);
        assert_eq!(data(&rig.answers(index, director, &answer, client)), answer);
        assert_eq!(acknowledges(&mut rig, client, director), Verdict::ToBackend);
        // All of it was taken in now, and that is news.
        assert_eq!(acknowledges(&mut rig, client, director + len(&answer)), Verdict::ToBackend);
    }
}

/// N12: ends that ask each other whether they are there do so for days.
#[test]
fn a_pause_ends_a_storm() {
    for hook in HOOKS {
        let (mut rig, _, client, director) = raging(hook);
        assert_eq!(acknowledges(&mut rig, client, director), Verdict::AckStorm);
        for _ in 0..3 {
            rig.wait(100);
            assert_eq!(acknowledges(&mut rig, client, director), Verdict::ToBackend);
        }
    }
}
