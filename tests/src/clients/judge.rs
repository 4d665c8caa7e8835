//! Whether users saw what they may see: each session goes on where it is, unless a flip moves it, and then it is moved.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail, ensure};

use super::timeline::Timeline;
use super::visit::{Outcome, Visit};
use crate::client::Whoami;

/// Requests that a browser may have under way beside the one that was answered: it has six connections to a host.
const UNDER_WAY: u64 = 5;

/// What right visits amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Answers.
    pub answers: usize,
    /// Sessions that began because a flip took their user's last one away.
    pub moved: usize,
    /// Answers by version.
    pub versions: BTreeMap<String, usize>,
    /// Answers by the period in which their request left: before the first flip, after it, and so on.
    pub periods: Vec<usize>,
}

/// Fails at the first visit that nothing explains. A browser's requests run beside each other, so which cookie one presented
/// is known only up to what was under way; every cookie that it may have presented is tried.
pub fn judge(visits: &[Visit], timeline: &Timeline) -> Result<Verdict> {
    let mut verdict = Verdict { periods: vec![0; timeline.periods()], ..Verdict::default() };
    let mut users: BTreeMap<usize, Vec<(&Visit, &Whoami)>> = BTreeMap::new();
    for visit in visits {
        match &visit.outcome {
            Outcome::Answer(answer) => users.entry(visit.user).or_default().push((visit, answer)),
            Outcome::Error(error) => {
                bail!("user {} got no answer at {}: {error}; {timeline:#?}", visit.user, visit.sent)
            }
        }
    }
    for visits in users.values() {
        for (visit, answer) in visits {
            verdict.answers += 1;
            *verdict.versions.entry(answer.version.clone()).or_default() += 1;
            if let Some(period) = timeline.period(visit.sent) {
                verdict.periods[period] += 1;
            }
            let jars = if visit.keeps { jars(visits, visit) } else { vec![None] };
            let Some(jar) = jars.iter().find(|jar| explains(timeline, **jar, visit, answer)) else {
                bail!("{visit:?}, with one of these in the jar: {jars:#?}; {timeline:#?}");
            };
            verdict.moved += usize::from(jar.is_some() && answer.new);
        }
    }
    every_request_counted_once(visits)?;
    Ok(verdict)
}

type Issued<'a> = (&'a Visit, &'a Whoami);

/// What the jar may have held when the visit's request left: the last session that was issued before, or one that came meanwhile.
fn jars<'a>(visits: &[Issued<'a>], visit: &Visit) -> Vec<Option<Issued<'a>>> {
    let issued = || visits.iter().copied().filter(|(_, answer)| answer.new);
    let overwritten = |time: f64| issued().any(|(other, _)| time < other.sent && other.received < visit.sent);
    let possible = issued().filter(|(earlier, _)| earlier.sent < visit.received && !overwritten(earlier.received));
    let possible = possible.filter(|(earlier, _)| !std::ptr::eq(*earlier, visit));
    let empty = (!overwritten(f64::MIN)).then_some(None);
    possible.map(Some).chain(empty).collect()
}

/// Whether the answer is one that a request with this session in its jar may get.
fn explains(timeline: &Timeline, jar: Option<Issued>, visit: &Visit, answer: &Whoami) -> bool {
    let anew = answer.new && timeline.active(visit.sent, visit.received).any(|label| label == answer.version);
    match jar {
        None => anew,
        Some((issued, last)) if answer.new => anew && timeline.may_move(&last.version, issued.sent, visit.received),
        Some((issued, last)) => {
            let same =
                (&answer.session, &answer.version, &answer.backend) == (&last.session, &last.version, &last.backend);
            // One that was to be moved may be where it was: two flips later, that version is the active one again.
            let back = timeline.active(visit.sent, visit.received).any(|label| label == last.version);
            answer.known && same && (back || !timeline.must_move(&last.version, issued.received, visit.sent))
        }
    }
}

/// Each session's answers count its requests from 1 on, without a gap and none twice: no request was lost or worked on again. Of requests
/// beside each other, one may still be under way while later ones have been answered.
fn every_request_counted_once(visits: &[Visit]) -> Result<()> {
    let mut sessions: HashMap<&str, Vec<(&Visit, u64)>> = HashMap::new();
    for visit in visits {
        if let Some(answer) = visit.answer() {
            sessions.entry(&answer.session).or_default().push((visit, answer.hits));
        }
    }
    for (session, mut visits) in sessions {
        visits.sort_unstable_by_key(|(_, hits)| *hits);
        let hits: Vec<u64> = visits.iter().map(|(_, hits)| *hits).collect();
        ensure!(hits.windows(2).all(|pair| pair[0] < pair[1]), "the requests of session {session} counted {hits:?}");
        let missing = hits.last().map_or(0, |last| last - hits.len() as u64);
        let beside = visits.windows(2).any(|pair| pair[1].0.sent < pair[0].0.received);
        let may_miss = if beside { UNDER_WAY } else { 0 };
        ensure!(missing <= may_miss, "the requests of session {session} counted {hits:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Moves;
    use super::*;

    /// `(sent, session, version, hits)`, answered one later.
    fn visits(table: &[(f64, &str, &str, u64)]) -> Vec<Visit> {
        let visit = |(sent, session, version, hits): &(f64, &str, &str, u64)| Visit {
            user: 1,
            keeps: true,
            sent: *sent,
            received: sent + 1.0,
            outcome: Outcome::Answer(Whoami {
                version: (*version).to_owned(),
                backend: "b1".to_owned(),
                session: (*session).to_owned(),
                known: *hits > 1,
                new: *hits == 1,
                hits: *hits,
            }),
        };
        table.iter().map(visit).collect()
    }

    fn flipped(moves: Moves) -> Timeline {
        let mut timeline = Timeline::new("001");
        let now = super::super::timeline::now();
        timeline.flip("002", moves, || Ok(())).expect("nothing to fail");
        assert!(now > 1e12, "the clock is one of these times");
        timeline
    }

    #[test]
    fn sessions_stay_and_move_as_the_flip_says() {
        let (before, after) = (1000.0, 1e15);
        let stays = [(before, "A", "001", 1), (before + 10.0, "A", "001", 2), (after, "A", "001", 3)];
        let moves = [(before, "A", "001", 1), (after, "B", "002", 1), (after + 10.0, "B", "002", 2)];
        let lost = [(before, "A", "001", 1), (before + 10.0, "B", "001", 1)];
        let doubled = [(before, "A", "001", 1), (before + 10.0, "A", "001", 3)];
        let beside = [(before, "A", "001", 1), (before + 10.0, "A", "001", 2), (before + 10.5, "A", "001", 4)];
        let twice = [(before, "A", "001", 1), (before + 10.0, "A", "001", 2), (before + 10.5, "A", "001", 2)];
        for (name, table, flip, right) in [
            ("stays", &stays[..], Moves::Nobody, true),
            ("stays", &stays, Moves::Everybody, false),
            ("moves", &moves, Moves::Nobody, false),
            ("moves", &moves, Moves::Everybody, true),
            ("loses its session", &lost, Moves::Nobody, false),
            ("is worked on twice", &doubled, Moves::Nobody, false),
            ("has one under way", &beside, Moves::Nobody, true),
            ("gets one number twice", &twice, Moves::Nobody, false),
        ] {
            let result = judge(&visits(table), &flipped(flip));
            assert_eq!(result.is_ok(), right, "{name} with {flip:?}: {result:?}");
        }
    }

    #[test]
    fn requests_beside_each_other_may_present_either_cookie() {
        let mut parallel = visits(&[(1000.0, "A", "001", 1), (1e15, "B", "002", 1), (1e15, "C", "002", 1)]);
        let timeline = flipped(Moves::Everybody);
        assert_eq!(judge(&parallel, &timeline).expect("both presented A").moved, 2);
        // One after the other, the second presented what the first got.
        parallel[2].sent += 100.0;
        parallel[2].received += 100.0;
        assert!(judge(&parallel, &timeline).is_err());
    }
}
