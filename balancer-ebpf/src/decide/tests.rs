//! The decision: a table of its order, what weights promise, and the statements of `CONFORMANCE.md` that it alone decides.

use proptest::prelude::*;

use super::*;
use crate::layout::{KIND_PRESENTED, Route};
use crate::testing::{Plain, backend, policy, version};

/// Backends only.
struct List(Vec<Backend>);

impl Machine for List {
    type Cpu = Plain;
}

impl Backends for List {
    fn backend(&self, id: u32) -> Option<&Backend> {
        self.0.get(id as usize)
    }
}

/// `count` backends of weight 100.
fn list(count: u8) -> List {
    List((0..count).map(|index| backend(index, 100)).collect())
}

fn run(backends: &List, policy: &Policy, mut search: Search) -> Option<Choice> {
    // Scratch memory is dirty from another packet.
    search.index = 99;
    (search.best, search.best_position, search.second, search.bound, search.present) = (3, 3, 3, 3, 3);
    let mut choice = Choice { backend_down: 7, version_down: 7, why: 9, ..Choice::default() };
    (decide(backends, policy, &mut search, &mut choice) == Decided::Chosen).then_some(choice)
}

/// A request of nobody that is known, from `source`, without a leg.
fn from(source: u32) -> Search {
    Search {
        source,
        now: 1000,
        route: NONE,
        present_version: NONE,
        present_backend: NONE,
        tried_version: NONE,
        ..Search::default()
    }
}

fn bound(version: u32, generation: u32, backend: u32) -> Search {
    Search { binding: Binding::new(version, generation, backend, KIND_PRESENTED).0, ..from(1) }
}

/// Versions 0 (backends 0 and 1, generation 10), 1 (2 and 3, generation 11) and 2 (4 and 5, generation 12); new sessions
/// get 1, and 2 if 1 is down.
fn three() -> Policy {
    let mut policy = policy(&[version(10, &[0, 1]), version(11, &[2, 3]), version(12, &[4, 5])]);
    policy.active = 1;
    policy.fallback = 2;
    policy
}

/// An id that nobody knows.
fn unknown() -> Search {
    Search { presented: 1, ..from(1) }
}

/// One that ends in a route.
fn routed(version: u32, backend: u32) -> Search {
    Search { route: Route::new(77, version, backend).target(), ..unknown() }
}

/// As [`three`]; ids that nobody knows are adopted into version 0, and the routes of 0 and 2 lead there.
fn asking() -> Policy {
    let mut policy = three();
    policy.adopt = 0;
    policy.versions[0].flags |= VERSION_ROUTES;
    policy.versions[2].flags |= VERSION_ROUTES;
    policy
}

struct Case {
    what: &'static str,
    search: Search,
    down: &'static [usize],
    /// Why, version, one of these backends, bound backend down, version down.
    expected: Option<(Why, u32, &'static [u32], u32, u32)>,
}

#[test]
fn the_order_of_the_decision() {
    use Why::*;
    let on_leg =
        |search: Search, version, backend| Search { present_version: version, present_backend: backend, ..search };
    let cases = [
        Case { what: "nobody known", search: from(1), down: &[], expected: Some((Active, 1, &[2, 3], 0, 0)) },
        Case { what: "bound", search: bound(0, 10, 1), down: &[], expected: Some((Bound, 0, &[1], 0, 0)) },
        Case {
            what: "bound to the active",
            search: bound(1, 11, 3),
            down: &[],
            expected: Some((Bound, 1, &[3], 0, 0)),
        },
        Case {
            what: "another generation",
            search: bound(0, 9, 1),
            down: &[],
            expected: Some((Moved, 1, &[2, 3], 0, 0)),
        },
        Case { what: "no such version", search: bound(7, 9, 1), down: &[], expected: Some((Moved, 1, &[2, 3], 0, 0)) },
        Case { what: "generation 0", search: bound(7, 0, 1), down: &[], expected: Some((Moved, 1, &[2, 3], 0, 0)) },
        Case {
            what: "bound backend down",
            search: bound(0, 10, 1),
            down: &[1],
            expected: Some((Bound, 0, &[0], 1, 0)),
        },
        Case {
            what: "bound backend is none of the version's",
            search: bound(0, 10, 4),
            down: &[],
            expected: Some((Bound, 0, &[0, 1], 1, 0)),
        },
        Case {
            what: "bound version down",
            search: bound(0, 10, 1),
            down: &[0, 1],
            expected: Some((Bound, 1, &[2, 3], 0, 1)),
        },
        Case {
            what: "bound and active down",
            search: bound(0, 10, 1),
            down: &[0, 1, 2, 3],
            expected: Some((Bound, 2, &[4, 5], 0, 1)),
        },
        Case { what: "active down", search: from(1), down: &[2, 3], expected: Some((Active, 2, &[4, 5], 0, 1)) },
        Case {
            what: "only a version that is neither bound, active nor fallback is up",
            search: from(1),
            down: &[2, 3, 4, 5],
            expected: None,
        },
        Case { what: "all down", search: bound(0, 10, 1), down: &[0, 1, 2, 3, 4, 5], expected: None },
        Case {
            what: "leg of the active",
            search: on_leg(from(1), 1, 2),
            down: &[],
            expected: Some((Active, 1, &[2], 0, 0)),
        },
        Case { what: "its other", search: on_leg(from(1), 1, 3), down: &[], expected: Some((Active, 1, &[3], 0, 0)) },
        Case {
            what: "a leg of the active is down",
            search: on_leg(from(1), 1, 3),
            down: &[3],
            expected: Some((Active, 1, &[2], 0, 0)),
        },
        Case {
            what: "a leg of another version is no reason",
            search: on_leg(from(1), 0, 1),
            down: &[],
            expected: Some((Active, 1, &[2, 3], 0, 0)),
        },
        Case {
            what: "bound, with the leg of another backend of the version",
            search: on_leg(bound(0, 10, 1), 0, 0),
            down: &[],
            expected: Some((Bound, 0, &[1], 0, 0)),
        },
        Case {
            what: "moved, with a leg of the active",
            search: on_leg(bound(0, 9, 1), 1, 2),
            down: &[],
            expected: Some((Moved, 1, &[2], 0, 0)),
        },
        Case {
            what: "a leg of the fallback",
            search: on_leg(from(1), 2, 5),
            down: &[2, 3],
            expected: Some((Active, 2, &[5], 0, 1)),
        },
    ];
    for case in cases {
        let backends = list(6);
        let mut backends = backends;
        for id in case.down {
            backends.0[*id].flags = BACKEND_USED;
        }
        // Whatever the source: rendezvous must not be right by luck.
        for source in 0..64 {
            let choice = run(&backends, &three(), Search { source, ..case.search });
            let Some((why, version, of, backend_down, version_down)) = case.expected else {
                assert_eq!(choice, None, "{}", case.what);
                continue;
            };
            let choice = choice.unwrap_or_else(|| panic!("{}: nobody", case.what));
            let what = format!("{}: {choice:?}", case.what);
            assert_eq!((choice.why, choice.version), (why as u32, version), "{what}");
            assert!(of.contains(&choice.backend), "{what}");
            assert_eq!((choice.backend_down, choice.version_down), (backend_down, version_down), "{what}");
            let of = super::version(&three(), version).backends;
            assert_eq!(u32::from(of[choice.position as usize]), choice.backend, "{what}");
            assert_eq!(choice.generation, 10 + version, "{what}");
        }
    }
}

/// D1: binding, route, adoption, active version.
#[test]
fn d1_the_order_with_routes_and_adoption() {
    use Why::*;
    let both = |route: Search, bound: Search| Search { binding: bound.binding, ..route };
    let cases = [
        ("nobody known", from(1), &[][..], (Active, 1, &[2, 3][..], 0, 0)),
        ("unknown", unknown(), &[], (Adopted, 0, &[0, 1], 0, 0)),
        ("routed", routed(2, 5), &[], (Route, 2, &[5], 0, 0)),
        ("bound and routed", both(routed(2, 5), bound(0, 10, 1)), &[], (Bound, 0, &[1], 0, 0)),
        ("moved and routed", both(routed(2, 5), bound(0, 9, 1)), &[], (Route, 2, &[5], 0, 0)),
        ("moved is not unknown", both(unknown(), bound(0, 9, 1)), &[], (Moved, 1, &[2, 3], 0, 0)),
        ("a route of a version without routes", routed(1, 3), &[], (Adopted, 0, &[0, 1], 0, 0)),
        ("a route of no version", routed(9, 3), &[], (Adopted, 0, &[0, 1], 0, 0)),
        ("routed backend down", routed(2, 5), &[5], (Route, 2, &[4], 1, 0)),
        ("routed version down", routed(2, 5), &[4, 5], (Route, 1, &[2, 3], 0, 1)),
        ("adopting version down", unknown(), &[0, 1], (Adopted, 1, &[2, 3], 0, 1)),
        (
            "on the leg of another backend",
            Search { present_version: 2, present_backend: 4, ..routed(2, 5) },
            &[],
            (Route, 2, &[5], 0, 0),
        ),
    ];
    for (what, search, down, (why, version, of, backend_down, version_down)) in cases {
        let mut backends = list(6);
        for id in down {
            let id: usize = *id;
            backends.0[id].flags = BACKEND_USED;
        }
        for source in 0..64 {
            let choice = run(&backends, &asking(), Search { source, ..search }).unwrap();
            assert_eq!((choice.why, choice.version), (why as u32, version), "{what}: {choice:?}");
            assert!(of.contains(&choice.backend), "{what}: {choice:?}");
            assert_eq!((choice.backend_down, choice.version_down), (backend_down, version_down), "{what}");
        }
    }
    // Off by default.
    assert_eq!(run(&list(6), &three(), unknown()).unwrap().why, Active as u32);
    assert_eq!(run(&list(6), &three(), routed(2, 5)).unwrap().why, Active as u32);
}

#[test]
fn a_version_that_does_not_serve_keeps_no_sessions() {
    let mut policy = three();
    policy.versions[0].flags = 0;
    let choice = run(&list(6), &policy, bound(0, 10, 1)).unwrap();
    assert_eq!((choice.why, choice.version), (Why::Moved as u32, 1));
}

#[test]
fn backends_that_are_not_used_or_not_there_get_nothing() {
    let mut backends = list(2);
    backends.0[0].flags = BACKEND_UP;
    // Ids beyond the table, and a count beyond the version's own list.
    let mut policy = policy(&[version(10, &[0, 1, 999])]);
    policy.versions[0].backend_count = 4000;
    for source in 0..100 {
        assert_eq!(run(&backends, &policy, from(source)).unwrap().backend, 1);
    }
}

#[test]
fn indexes_beyond_the_policy_wrap() {
    let mut policy = three();
    (policy.active, policy.fallback) = (u32::MAX, u32::MAX);
    assert_eq!(run(&list(6), &policy, from(1)), None, "version 15 is none");
    policy.active = 17;
    assert_eq!(run(&list(6), &policy, from(1)).unwrap().version, 17, "and is named as the policy names it");
}

#[test]
fn tried_backends_are_not_tried_again() {
    let backends = list(32);
    let all: Vec<u16> = (0..32).collect();
    let policy = policy(&[version(10, &all)]);
    for source in 0..50 {
        let mut search = Search { tried_version: 0, ..from(source) };
        for turn in 0..32 {
            let choice = run(&backends, &policy, search).unwrap();
            assert_eq!(search.tried >> choice.position & 1, 0, "turn {turn}");
            search.tried |= 1 << choice.position;
        }
        assert_eq!(run(&backends, &policy, search), None);
        // What was tried of one version says nothing of another's.
        assert!(run(&backends, &policy, Search { tried_version: 1, ..search }).is_some());
    }
}

#[test]
fn a_bound_backend_that_was_tried_is_passed_over() {
    let search = Search { tried: 0b10, tried_version: 0, ..bound(0, 10, 1) };
    let choice = run(&list(6), &three(), search).unwrap();
    assert_eq!((choice.backend, choice.backend_down), (0, 1));
}

#[test]
fn shunned_backends_are_a_second_choice() {
    let backends = list(2);
    let policy = policy(&[version(10, &[0, 1])]);
    backends.0[0].shunned_until.set(2000);
    for source in 0..100 {
        let at = |now| run(&backends, &policy, Search { now, ..from(source) }).unwrap().backend;
        assert_eq!(at(1000), 1);
        assert_eq!(at(1999), 1);
    }
    let zeros =
        (0..100).filter(|source| run(&backends, &policy, Search { now: 2000, ..from(*source) }).unwrap().backend == 0);
    assert!(zeros.count() > 20, "the time is over");
    // Better one that failed a moment ago than none, and the choice among several is the usual one.
    for source in 0..100 {
        backends.0[1].shunned_until.set(0);
        backends.0[0].shunned_until.set(0);
        let usual = run(&backends, &policy, from(source)).unwrap();
        backends.0[0].shunned_until.set(2000);
        backends.0[1].shunned_until.set(2000);
        assert_eq!(run(&backends, &policy, from(source)).unwrap(), usual);
    }
}

/// How the sources `0..count`, as addresses of a private network have them, are shared among the backends.
fn shares(backends: &List, policy: &Policy, count: u32) -> Vec<u32> {
    let mut shares = vec![0; backends.0.len()];
    for source in 0..count {
        shares[run(backends, policy, from(0x0a00_0000 + source)).unwrap().backend as usize] += 1;
    }
    shares
}

#[test]
fn shares_are_as_the_weights() {
    for weights in [
        &[100, 100][..],
        &[100, 100, 100, 100, 100],
        &[100, 50],
        &[100, 10],
        &[1, 2, 3, 4],
        &[100, 100, 100, 30, 30, 5],
        &[1000, 1000, 1],
        &[7; 32],
    ] {
        let backends = List(weights.iter().enumerate().map(|(index, weight)| backend(index as u8, *weight)).collect());
        let ids: Vec<u16> = (0..weights.len() as u16).collect();
        let policy = policy(&[version(10, &ids)]);
        let count = 100_000;
        let total: u32 = weights.iter().sum();
        for (index, share) in shares(&backends, &policy, count).into_iter().enumerate() {
            let wanted = f64::from(weights[index]) / f64::from(total);
            let share = f64::from(share) / f64::from(count);
            // Three of a hundred of all sources; and of its own share, as far as chance lets it be so exact.
            assert!((share - wanted).abs() < 0.03, "{weights:?}: {index} has {share} of {wanted}");
            let chance = 4.0 * (wanted * (1.0 - wanted) / f64::from(count)).sqrt();
            assert!(
                (share - wanted).abs() < 0.03 * wanted + chance,
                "{weights:?}: {index} has {share} of {wanted}, chance would explain {chance}"
            );
        }
    }
}

#[test]
fn ids_far_apart_share_like_neighbours() {
    let mut backends = list(255);
    backends.0.extend((0..769).map(|_| backend(9, 100)));
    let policy = policy(&[version(10, &[3, 700, 1023, 512])]);
    for (index, share) in shares(&backends, &policy, 100_000).into_iter().enumerate() {
        let wanted = if [3, 700, 1023, 512].contains(&index) { 25_000 } else { 0 };
        assert!(share.abs_diff(wanted) < 750, "{index} has {share}");
    }
}

#[test]
fn sources_a_power_of_two_apart_are_shared_as_well() {
    let backends = list(4);
    let policy = policy(&[version(10, &[0, 1, 2, 3])]);
    for shift in [0, 1, 4, 8, 12, 16] {
        let mut shares = [0u32; 4];
        for index in 0..10_000u32 {
            shares[run(&backends, &policy, from(index << shift)).unwrap().backend as usize] += 1;
        }
        assert!(shares.iter().all(|share| share.abs_diff(2500) < 250), "{shares:?} of sources {shift} bits up");
    }
}

#[test]
fn only_the_sources_of_a_backend_that_goes_away_move() {
    let mut backends = List(vec![backend(0, 100), backend(1, 50), backend(2, 100), backend(3, 7), backend(4, 100)]);
    let policy = policy(&[version(10, &[0, 1, 2, 3, 4])]);
    let all = |backends: &List| -> Vec<u32> {
        (0..20_000).map(|source| run(backends, &policy, from(source)).unwrap().backend).collect()
    };
    let before = all(&backends);
    for gone in 0..5 {
        backends.0[gone as usize].flags = BACKEND_USED;
        let after = all(&backends);
        let mut to = [0; 5];
        for (was, is) in before.iter().zip(&after) {
            assert!(*was == gone || was == is, "{was} moved to {is} though {gone} went away");
            to[*is as usize] += u32::from(*was == gone);
        }
        assert!(to.iter().filter(|count| **count > 0).count() >= 3, "all went to few: {to:?}");
        backends.0[gone as usize].flags = BACKEND_USED | BACKEND_UP;
        assert_eq!(all(&backends), before, "and back");
    }
}

#[test]
fn a_backend_without_weight_gets_nothing_while_others_are_up() {
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let mut backends = List(vec![backend(0, 0), backend(1, 100), backend(2, 1)]);
        let policy = policy(&[version(10, &order)]);
        for source in 0..1000 {
            assert_ne!(run(&backends, &policy, from(source)).unwrap().backend, 0);
        }
        // Better one without weight than none.
        backends.0[1].flags = BACKEND_USED;
        backends.0[2].flags = BACKEND_USED;
        assert_eq!(run(&backends, &policy, from(1)).unwrap().backend, 0);
    }
}

#[test]
fn sessions_stay_on_a_backend_without_weight_wherever_it_stands() {
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let backends = List(vec![backend(0, 0), backend(1, 100), backend(2, 1)]);
        let policy = policy(&[version(10, &order)]);
        for source in 0..100 {
            let choice = run(&backends, &policy, Search { source, ..bound(0, 10, 0) }).unwrap();
            assert_eq!((choice.backend, choice.backend_down), (0, 0), "{order:?}");
        }
    }
}

#[test]
fn a_leg_to_a_backend_without_weight_takes_no_new_sessions() {
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let backends = List(vec![backend(0, 0), backend(1, 100), backend(2, 1)]);
        let policy = policy(&[version(10, &order)]);
        let search = Search { present_version: 0, present_backend: 0, ..from(1) };
        assert_ne!(run(&backends, &policy, search).unwrap().backend, 0, "{order:?}");
    }
}

#[test]
fn the_logarithm_is_right_to_a_hundredth() {
    for h in (0..=u32::MAX).step_by(99_991).chain([0, 1, 2, 3, u32::MAX - 1, u32::MAX]) {
        let exact = 65536.0 * (32.0 - (f64::from(h) + 1.0).log2());
        let approximate = minus_log(h);
        assert!(approximate >= 1);
        assert!((approximate as f64 - exact).abs() <= 0.01 * exact + 640.0, "−log2 of {h}: {approximate}, not {exact}");
    }
}

// Statements of CONFORMANCE.md.

#[test]
fn c7_no_session_id_gets_the_newest() {
    for source in 0..100 {
        let choice = run(&list(6), &three(), from(source)).unwrap();
        assert_eq!((choice.version, choice.why), (1, Why::Active as u32));
    }
}

#[test]
fn c8_an_id_known_in_a_version_gets_it_however_old() {
    for (index, backend) in [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5)] {
        let choice = run(&list(6), &three(), bound(index, 10 + index, backend)).unwrap();
        assert_eq!((choice.version, choice.backend, choice.why), (index, backend, Why::Bound as u32));
    }
}

#[test]
fn c14_sessions_of_a_removed_version_get_the_active_one() {
    let mut policy = three();
    policy.versions[0] = VersionPolicy::NONE;
    let choice = run(&list(6), &policy, bound(0, 10, 1)).unwrap();
    assert_eq!((choice.version, choice.why, choice.version_down), (1, Why::Moved as u32, 0));
}

#[test]
fn c15_a_version_that_is_added_again_has_none_of_its_sessions() {
    let mut policy = three();
    policy.versions[0].generation = 13;
    let choice = run(&list(6), &policy, bound(0, 10, 1)).unwrap();
    assert_eq!((choice.version, choice.why), (1, Why::Moved as u32));
}

#[test]
fn d7_a_flip_of_new_sessions_moves_nobody_who_is_bound() {
    let backends = list(6);
    let mut policy = three();
    for (index, backend) in [(0, 0), (1, 3), (2, 5)] {
        let search = bound(index, 10 + index, backend);
        let choices = [0, 1, 2].map(|active| {
            policy.active = active;
            run(&backends, &policy, search).unwrap()
        });
        assert!(choices.iter().all(|choice| *choice == choices[0]), "{choices:?}");
        assert_eq!(choices[0].backend, backend);
    }
}

#[test]
fn d9_a_forced_flip_moves_everybody_also_on_an_open_leg() {
    let mut policy = three();
    policy.versions[0].generation = 20;
    policy.versions[1].generation = 21;
    policy.active = 2;
    for (index, backend) in [(0, 0), (1, 3)] {
        let search = Search { present_version: index, present_backend: backend, ..bound(index, 10 + index, backend) };
        let choice = run(&list(6), &policy, search).unwrap();
        assert_eq!((choice.version, choice.why), (2, Why::Moved as u32));
    }
}

/// D17: only new sessions are shared out, by their clients' addresses; the share is what was asked for, and who has the canary
/// keeps it while the share grows.
#[test]
fn d17_a_canary_gets_its_share_of_new_sessions() {
    const CLIENTS: u32 = 100_000;
    let share = |percent: u32| (u64::from(percent) * (1 << 32) / 100).min(u64::from(u32::MAX)) as u32;
    let mut policy = three();
    (policy.active, policy.canary, policy.canary_salt) = (0, 2, 0x0123_4567_89ab_cdef);
    let on_canary = |policy: &Policy, client: u32| {
        let choice = run(&list(6), policy, from(0x0a00_0000 + client)).unwrap();
        let expected = if choice.version == 2 { Why::Canary } else { Why::Active };
        assert_eq!((choice.why, choice.version == 0 || choice.version == 2), (expected as u32, true));
        choice.version == 2
    };
    let mut before = vec![false; CLIENTS as usize];
    for percent in [0, 1, 10, 50, 100] {
        policy.canary_share = share(percent);
        let now: Vec<bool> = (0..CLIENTS).map(|client| on_canary(&policy, client)).collect();
        let measured = now.iter().filter(|canary| **canary).count() as f64 * 100.0 / f64::from(CLIENTS);
        assert!((measured - f64::from(percent)).abs() < 1.0, "{measured} % instead of {percent}");
        assert!(before.iter().zip(&now).all(|(before, now)| !before || *now), "somebody left at {percent} %");
        before = now;
    }
    // Whoever has a session, or had one that was moved, is no newcomer; nor is one who is routed.
    policy.canary_share = u32::MAX;
    for (search, why) in [(bound(1, 11, 3), Why::Bound), (bound(1, 10, 3), Why::Moved)] {
        assert_eq!(run(&list(6), &policy, search).unwrap().why, why as u32);
    }
    // Another salt, other clients.
    policy.canary_share = share(50);
    let first: Vec<bool> = (0..1000).map(|client| on_canary(&policy, client)).collect();
    policy.canary_salt ^= 0xffff_0000;
    let second: Vec<bool> = (0..1000).map(|client| on_canary(&policy, client)).collect();
    let same = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    assert!((400..600).contains(&same), "{same} of 1000 are where they were");
    // A canary that is down gets nobody.
    let mut backends = list(6);
    for id in [4, 5] {
        backends.0[id].flags = BACKEND_USED;
    }
    policy.canary_share = u32::MAX;
    let choice = run(&backends, &policy, from(1)).unwrap();
    assert_eq!((choice.version, choice.version_down), (0, 1));
}

fn any_search() -> impl Strategy<Value = Search> {
    let version = prop_oneof![0u32..4, Just(NONE)];
    let binding = prop_oneof![
        Just(0u64),
        (0u32..4, 8u32..14, 0u32..9).prop_map(|(v, g, b)| Binding::new(v, g, b, KIND_PRESENTED).0),
        any::<u64>(),
    ];
    let route = prop_oneof![Just(NONE), (0u32..4, 0u32..8).prop_map(|(v, b)| Route::new(1, v, b).target())];
    let id = (binding, route, 0u32..2);
    (id, any::<u32>(), version.clone(), 0u32..8, any::<u32>(), version).prop_map(
        |((binding, route, presented), source, present_version, present_backend, tried, tried_version)| Search {
            binding,
            route,
            presented,
            source,
            present_version,
            present_backend,
            tried,
            tried_version,
            now: 1000,
            ..Search::default()
        },
    )
}

proptest! {
    /// D2: the same question has the same answer, whatever was asked before; and every answer is one of a backend that takes
    /// work, belongs to the version and was not tried, of a version that the order allows.
    #[test]
    fn d2_the_same_question_has_the_same_answer(
        search in any_search(),
        other in any_search(),
        up in any::<u8>(),
        weights in proptest::collection::vec(0u32..200, 6),
        shunned in any::<u8>(),
        active in 0u32..3,
        fallback in 0u32..3,
        adopt in prop_oneof![Just(NONE), 0u32..3],
        routing in any::<u8>(),
    ) {
        let backends = List((0..6u8).map(|index| {
            let mut backend = backend(index, weights[usize::from(index)]);
            backend.flags = if up >> index & 1 != 0 { BACKEND_UP | BACKEND_USED } else { BACKEND_USED };
            backend.shunned_until.set(if shunned >> index & 1 != 0 { 2000 } else { 0 });
            backend
        }).collect());
        let mut policy = three();
        (policy.active, policy.fallback, policy.adopt) = (active, fallback, adopt);
        for (index, version) in policy.versions.iter_mut().enumerate().take(3) {
            version.flags |= if routing >> index & 1 != 0 { VERSION_ROUTES } else { 0 };
        }
        let choice = run(&backends, &policy, search);
        // The scratch memory of another decision changes nothing.
        let mut dirty = other;
        decide(&backends, &policy, &mut dirty, &mut Choice::default());
        let dirty = Search {
            binding: search.binding, route: search.route, presented: search.presented, now: search.now, source: search.source, present_version: search.present_version,
            present_backend: search.present_backend, tried: search.tried, tried_version: search.tried_version, ..dirty
        };
        prop_assert_eq!(run(&backends, &policy, dirty), choice);

        let binding = Binding(search.binding);
        let holds = search.binding != 0 && holds(&policy, binding);
        let target = target_version(search.route);
        let led = search.route != NONE && target < 3 && routing >> target & 1 != 0;
        let adopts = search.binding == 0 && search.presented != 0 && adopt != NONE;
        let (first, why) = match (holds, led, adopts) {
            (true, ..) => (binding.version(), Why::Bound),
            (_, true, _) => (target, Why::Route),
            (.., true) => (adopt, Why::Adopted),
            _ => (active, if search.binding != 0 { Why::Moved } else { Why::Active }),
        };
        let tried = |version: u32, position: u32| search.tried_version == version && search.tried >> position & 1 != 0;
        let takes = |version: u32| (0..2).any(|position| {
            let id = super::version(&policy, version).backends[position];
            version < 3 && up >> id & 1 != 0 && !tried(version, position as u32)
        });
        let expected = [first, active, fallback].into_iter().find(|version| takes(*version));
        prop_assert_eq!(choice.map(|choice| choice.version), expected);
        if let Some(choice) = choice {
            prop_assert_eq!(choice.why, why as u32);
            prop_assert!(up >> choice.backend & 1 != 0);
            prop_assert!(!tried(choice.version, choice.position));
            prop_assert_eq!(choice.version_down, u32::from(choice.version != first));
        }
    }
}
