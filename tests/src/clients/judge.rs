//! Whether users saw what they may see: each session goes on where it is, unless a flip moves it, and then it is moved, or its
//! backend dies. Without an answer are only those on whose request a backend worked when it died.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail, ensure};

use super::timeline::Timeline;
use super::visit::{Outcome, Visit};
use crate::client::Whoami;

/// Requests that a browser may have under way beside the one that was answered: it has six connections to a host.
const UNDER_WAY: u64 = 5;
/// Milliseconds within which a request that a backend took along has to end.
const NOTICED: f64 = 2000.0;

/// What right visits amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Answers.
    pub answers: usize,
    /// Requests that ended without an answer because their backend died.
    pub taken_along: usize,
    /// Sessions that began because a flip, or a death, took their user's last one away.
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
    let mut users: BTreeMap<usize, Vec<Answered>> = BTreeMap::new();
    let mut unanswered: BTreeMap<usize, Vec<&Visit>> = BTreeMap::new();
    let mut homes = BTreeSet::new();
    for visit in visits {
        if let Some(answer) = visit.answer() {
            users.entry(visit.user).or_default().push((visit, answer));
            homes.insert((answer.version.as_str(), answer.backend.as_str()));
        } else {
            unanswered.entry(visit.user).or_default().push(visit);
        }
    }
    for visit in visits {
        let visits = users.get(&visit.user).map_or(&[][..], Vec::as_slice);
        let unanswered = unanswered.get(&visit.user).map_or(&[][..], Vec::as_slice);
        let jars = if visit.keeps { jars(visits, unanswered, visit) } else { vec![None] };
        match &visit.outcome {
            Outcome::Error(error) => {
                if !taken_along(timeline, &homes, &jars, visit) {
                    bail!("user {} got no answer at {}: {error}; {jars:#?}; {timeline:#?}", visit.user, visit.sent);
                }
                verdict.taken_along += 1;
            }
            Outcome::Answer(answer) => {
                verdict.answers += 1;
                *verdict.versions.entry(answer.version.clone()).or_default() += 1;
                if let Some(period) = timeline.period(visit.sent) {
                    verdict.periods[period] += 1;
                }
                let Some(jar) = jars.iter().find(|jar| explains(timeline, jar.as_ref(), visit, answer)) else {
                    bail!("{visit:?}, with one of these in the jar: {jars:#?}; {timeline:#?}");
                };
                verdict.moved += usize::from(jar.is_some() && answer.new);
            }
        }
    }
    every_request_counted_once(visits)?;
    Ok(verdict)
}

type Answered<'a> = (&'a Visit, &'a Whoami);

/// A session in a user's jar.
#[derive(Debug)]
struct Jar<'a> {
    last: &'a Whoami,
    /// Between these two it was decided on for the last time before, and found where it is: when it was issued, or later.
    sent: f64,
    received: f64,
    /// Requests since then that got no answer. One of them may have moved the session: it is bound where its request goes.
    unanswered: Vec<&'a Visit>,
}

impl<'a> Jar<'a> {
    fn new((issued, last): Answered<'a>, visits: &[Answered], unanswered: &[&'a Visit], visit: &Visit) -> Self {
        let before =
            visits.iter().filter(|(other, answer)| answer.session == last.session && other.received < visit.sent);
        let (sent, received) = before.fold((issued.sent, issued.received), |(sent, received), (other, _)| {
            (sent.max(other.sent), received.max(other.received))
        });
        let unanswered =
            unanswered.iter().copied().filter(|other| other.sent > sent && other.received < visit.sent).collect();
        Self { last, sent, received, unanswered }
    }

    /// Whether the session may be taken away from its backend before `received`, by a flip or with the backend.
    fn may_go(&self, timeline: &Timeline, received: f64) -> bool {
        timeline.may_move(&self.last.version, self.sent, received) || self.lost(timeline, received)
    }

    /// Whether a request without an answer may have bound the session to `version`.
    fn may_have_gone(&self, timeline: &Timeline, version: &str) -> bool {
        let active = |lost: &Visit| timeline.active(lost.sent, lost.received).any(|label| label == version);
        self.unanswered.iter().any(|lost| self.may_go(timeline, lost.received) && active(lost))
    }

    fn lost(&self, timeline: &Timeline, received: f64) -> bool {
        timeline.lost(&self.last.backend, self.sent, received)
    }
}

/// What the jar may have held when the visit's request left: the last session that was issued before, or one that came meanwhile.
fn jars<'a>(visits: &[Answered<'a>], unanswered: &[&'a Visit], visit: &Visit) -> Vec<Option<Jar<'a>>> {
    let issued = || visits.iter().copied().filter(|(_, answer)| answer.new);
    let overwritten = |time: f64| issued().any(|(other, _)| time < other.sent && other.received < visit.sent);
    let possible = issued().filter(|(earlier, _)| earlier.sent < visit.received && !overwritten(earlier.received));
    let possible = possible.filter(|(earlier, _)| !std::ptr::eq(*earlier, visit));
    let empty = (!overwritten(f64::MIN)).then_some(None);
    possible.map(|issued| Some(Jar::new(issued, visits, unanswered, visit))).chain(empty).collect()
}

/// Whether the answer is one that a request with this session in its jar may get.
fn explains(timeline: &Timeline, jar: Option<&Jar>, visit: &Visit, answer: &Whoami) -> bool {
    let active = |version: &str| timeline.active(visit.sent, visit.received).any(|label| label == version);
    match jar {
        None => answer.new && active(&answer.version),
        Some(jar) if answer.new => {
            // What a backend knew is gone when it is back; the session's place is not.
            let there = jar.lost(timeline, visit.received) && answer.version == jar.last.version;
            there
                || jar.may_have_gone(timeline, &answer.version)
                || active(&answer.version) && jar.may_go(timeline, visit.received)
        }
        Some(Jar { last, received, .. }) => {
            let same =
                (&answer.session, &answer.version, &answer.backend) == (&last.session, &last.version, &last.backend);
            // One that was to be moved may be where it was: two flips later, that version is the active one again.
            answer.known && same && (active(&last.version) || !timeline.must_move(&last.version, *received, visit.sent))
        }
    }
}

/// Whether a backend was killed that may have worked on this request: the session's own, or where there is none, or one that moves,
/// one of the active version.
fn taken_along(timeline: &Timeline, homes: &BTreeSet<(&str, &str)>, jars: &[Option<Jar>], visit: &Visit) -> bool {
    let (sent, received) = (visit.sent, visit.received);
    let anew = |backend: &str| timeline.active(sent, received).any(|label| homes.contains(&(label, backend)));
    let works = |backend: &str, jar: &Option<Jar>| match jar {
        None => anew(backend),
        Some(jar) => jar.last.backend == backend || jar.may_go(timeline, received) && anew(backend),
    };
    received - sent < NOTICED
        && timeline.killed(sent, received).any(|backend| jars.iter().any(|jar| works(backend, jar)))
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
    fn a_session_that_a_flip_moved_stays_where_it_went() {
        let now = super::super::timeline::now();
        let mut timeline = Timeline::new("002");
        timeline.flip("001", Moves::Everybody, || Ok(())).expect("nothing to fail");
        timeline.note("002", Moves::Nobody, now + 100.0, now + 101.0);
        timeline.note("001", Moves::Nobody, now + 200.0, now + 201.0);
        // Its version was the active one again when it came back, so it is bound to that anew; without coming back it was moved.
        let back = [(now - 50.0, "A", "002", 1), (now + 150.0, "A", "002", 2), (now + 250.0, "A", "002", 3)];
        let late = [(now - 50.0, "A", "002", 1), (now + 250.0, "A", "002", 2)];
        assert!(judge(&visits(&back), &timeline).is_ok());
        assert!(judge(&visits(&late), &timeline).is_err());
    }

    #[test]
    fn only_what_a_backend_worked_on_dies_with_it() {
        let now = super::super::timeline::now();
        let mut timeline = Timeline::new("001");
        timeline.kill("b1", || ());
        let session = visits(&[(now - 1000.0, "A", "001", 1)]).remove(0);
        let Some(answer) = session.answer().cloned() else { unreachable!() };
        let visit = |sent: f64, lasts: f64, outcome| Visit { sent, received: sent + lasts, outcome, ..session.clone() };
        let error = || Outcome::Error("reset".to_owned());
        let elsewhere = Whoami { backend: "b2".to_owned(), ..answer.clone() };
        let anew = |backend: &str| Whoami { session: "B".to_owned(), backend: backend.to_owned(), ..answer.clone() };
        for (name, visits, right) in [
            ("under way", vec![session.clone(), visit(now - 50.0, 60.0, error())], true),
            ("long before", vec![session.clone(), visit(now - 900.0, 10.0, error())], false),
            ("long after", vec![session.clone(), visit(now + 900.0, 10.0, error())], false),
            ("hangs", vec![session.clone(), visit(now - 50.0, 9000.0, error())], false),
            ("anew", vec![session.clone(), visit(now + 900.0, 10.0, Outcome::Answer(anew("b1")))], true),
            (
                "anew, while nobody died there",
                vec![
                    visit(now - 1000.0, 1.0, Outcome::Answer(elsewhere.clone())),
                    visit(now + 900.0, 10.0, Outcome::Answer(anew("b2"))),
                ],
                false,
            ),
            (
                "on another",
                vec![visit(now - 1000.0, 1.0, Outcome::Answer(elsewhere)), visit(now - 50.0, 60.0, error())],
                false,
            ),
        ] {
            let result = judge(&visits, &timeline);
            assert_eq!(result.is_ok(), right, "{name}: {result:?}");
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
