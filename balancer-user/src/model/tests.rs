//! Both stories, and what must never happen, without a kernel.

use proptest::prelude::*;

use super::*;
use crate::{config::Select, family::Family, order::Order};

const HIGHEST: Rules = Rules { select: Select::Highest, order: Order::String, family: Family::V4 };
const EXPLICIT: Rules = Rules { select: Select::Explicit, order: Order::String, family: Family::V4 };

/// A service `shop` under test.
struct Shop {
    state: State,
    rules: Rules,
    conditions: Conditions,
}

impl Shop {
    fn new(rules: Rules) -> Self {
        let mut state = State::default();
        state.ensure_service("shop").unwrap();
        Self { state, rules, conditions: Conditions::default() }
    }

    fn service(&self) -> &Service {
        self.state.service("shop").unwrap()
    }

    fn active(&self) -> &str {
        self.service().active.as_ref().map_or("", Label::as_str)
    }

    fn generation(&self, label: &str) -> u32 {
        self.service().version(&label.parse().unwrap()).unwrap().generation
    }

    fn held(&self) -> Vec<&str> {
        self.service().versions.iter().filter(|v| v.held.is_some()).map(|v| v.label.as_str()).collect()
    }

    fn verb(&mut self, verb: Verb) -> Result<Outcome, Refusal> {
        let mut state = self.state.clone();
        let outcome = apply(&mut state, "shop", &Circumstances::new(self.rules, &self.conditions), &verb)?;
        self.state = state;
        Ok(outcome)
    }

    fn add(&mut self, label: &str) -> Result<Outcome, Refusal> {
        let last: u8 = label.trim_start_matches('s').parse().unwrap();
        let backends = vec![format!("10.60.1.{last}:8080").parse().unwrap()];
        self.verb(Verb::Add { label: label.parse().unwrap(), backends, entrance: Entrance::Normal })
    }

    /// Adds a version whose check succeeds.
    fn deploy(&mut self, label: &str) {
        self.add(label).unwrap();
        self.health(label, Condition::Up);
    }

    fn remove(&mut self, label: &str) -> Result<Outcome, Refusal> {
        self.verb(Verb::Remove { label: label.parse().unwrap() })
    }

    fn flip(&mut self, label: &str, mode: Mode) -> Result<Outcome, Refusal> {
        self.verb(Verb::Flip { label: label.parse().unwrap(), mode })
    }

    fn rollback(&mut self) -> Result<Outcome, Refusal> {
        self.verb(Verb::Rollback { sessions: Sessions::Move })
    }

    fn health(&mut self, label: &str, condition: Condition) -> Option<Switch> {
        let version = self.service().version(&label.parse().unwrap()).unwrap().clone();
        for backend in &version.backends {
            self.conditions.0.insert(backend.id, condition);
        }
        let (rules, conditions) = (self.rules, self.conditions.clone());
        reselect(self.state.service_mut("shop").unwrap(), rules, &conditions)
    }
}

#[test]
fn story_2_parallel_versions() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    assert_eq!(shop.active(), "001");
    shop.deploy("002");
    shop.deploy("003");
    assert_eq!(shop.active(), "003");
    let outcome = shop.remove("003").unwrap();
    assert_eq!(outcome.did, ["shop: 003 is removed: its users get 002"]);
    assert_eq!(outcome.undo, "balancer version add shop 003 --backend 10.60.1.3:8080");
    assert_eq!(shop.active(), "002");
}

#[test]
fn story_1_the_flip() {
    let mut shop = Shop::new(EXPLICIT);
    shop.deploy("s1");
    shop.deploy("s2");
    assert_eq!(shop.active(), "s1");
    let outcome = shop.flip("s2", Mode::Forced).unwrap();
    assert_eq!((shop.active(), outcome.undo.as_str()), ("s2", "balancer flip shop s1 --mode forced"));
    assert!(matches!(shop.remove("s2"), Err(Refusal::Active { .. })));
    shop.flip("s1", Mode::Forced).unwrap();
    shop.rollback().unwrap();
    assert_eq!(shop.active(), "s2");
}

/// C4.
#[test]
fn a_lower_version_changes_nothing() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("002");
    shop.deploy("001");
    assert_eq!(shop.active(), "002");
}

/// C6, and back.
#[test]
fn newest_means_newest_healthy() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.add("002").unwrap();
    assert_eq!(shop.active(), "001");
    shop.health("002", Condition::Down);
    assert_eq!(shop.active(), "001");
    shop.health("002", Condition::Up);
    assert_eq!(shop.active(), "002");
    let switch = shop.health("002", Condition::Down).unwrap();
    assert_eq!(switch.why, "`002` has no healthy backend any more");
    assert_eq!(shop.active(), "001");
    shop.health("001", Condition::Down);
    assert_eq!(shop.active(), "001", "moving from dead to dead helps nobody");
    shop.health("002", Condition::Up);
    assert_eq!(shop.active(), "002");
    // A fall-back is no release: the version before 002 is still 001, once.
    assert_eq!(shop.service().past, ["001".parse().unwrap()]);
}

/// C15.
#[test]
fn a_removed_version_comes_back_without_its_sessions() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.deploy("002");
    let before = shop.generation("002");
    shop.remove("002").unwrap();
    shop.add("002").unwrap();
    assert!(shop.generation("002") > before);
}

/// D7 and D9.
#[test]
fn who_a_flip_moves() {
    let mut shop = Shop::new(HIGHEST);
    for label in ["001", "002", "003"] {
        shop.deploy(label);
    }
    let generations = |shop: &Shop| ["001", "002", "003"].map(|label| shop.generation(label));
    let before = generations(&shop);
    shop.flip("002", Mode::NewSessions).unwrap();
    assert_eq!(generations(&shop), before);
    shop.flip("001", Mode::Forced).unwrap();
    let after = generations(&shop);
    assert_eq!(after[0], before[0]);
    assert!(after[1] > before[1] && after[2] > before[2]);
}

#[test]
fn a_flip_below_the_highest_holds_what_is_above() {
    let mut shop = Shop::new(HIGHEST);
    for label in ["001", "002", "003"] {
        shop.deploy(label);
    }
    let outcome = shop.flip("001", Mode::NewSessions).unwrap();
    assert_eq!((shop.active(), shop.held()), ("001", vec!["002", "003"]));
    assert_eq!(outcome.undo, "balancer flip shop 003");
    // A held version is not chosen on its own.
    assert_eq!(shop.health("003", Condition::Up), None);
    shop.deploy("004");
    assert_eq!(shop.active(), "004");
    // The undo is exact.
    shop.flip("001", Mode::NewSessions).unwrap();
    shop.flip("004", Mode::NewSessions).unwrap();
    assert_eq!((shop.active(), shop.held()), ("004", vec![]));
    // Twice is once.
    let outcome = shop.flip("004", Mode::NewSessions).unwrap();
    assert!(!outcome.changed && outcome.undo.is_empty());
}

/// D18.
#[test]
fn rollback_needs_no_argument_and_goes_on_backwards() {
    let mut shop = Shop::new(HIGHEST);
    for label in ["001", "002", "003"] {
        shop.deploy(label);
    }
    let bad = shop.generation("003");
    let outcome = shop.rollback().unwrap();
    assert_eq!((shop.active(), shop.held()), ("002", vec!["003"]));
    assert!(shop.generation("003") > bad, "its sessions move");
    assert_eq!(outcome.undo, "balancer flip shop 003");
    shop.rollback().unwrap();
    assert_eq!((shop.active(), shop.held()), ("001", vec!["002", "003"]));
    assert!(matches!(shop.rollback(), Err(Refusal::NothingBefore { .. })));
    // A bad release is not lifted by a flip to a higher one.
    shop.deploy("004");
    assert_eq!((shop.active(), shop.held()), ("004", vec!["002", "003"]));
}

#[test]
fn rollback_can_keep_sessions() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.deploy("002");
    let before = shop.generation("002");
    shop.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    assert_eq!((shop.active(), shop.generation("002")), ("001", before));
}

#[test]
fn after_a_fall_back_a_rollback_makes_it_permanent() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.deploy("002");
    shop.health("002", Condition::Down);
    assert_eq!(shop.active(), "001");
    shop.rollback().unwrap();
    assert_eq!((shop.active(), shop.held()), ("001", vec!["002"]));
    shop.health("002", Condition::Up);
    assert_eq!(shop.active(), "001");
}

/// A version that goes away between two turns of another one is no way back from that one to itself.
#[test]
fn nobody_goes_back_from_a_version_to_itself() {
    for go in [Verb::Remove { label: "002".parse().unwrap() }, Verb::Retire { label: "002".parse().unwrap() }] {
        let mut shop = Shop::new(HIGHEST);
        shop.deploy("001");
        shop.deploy("002");
        shop.flip("001", Mode::Forced).unwrap();
        shop.verb(go.clone()).unwrap();
        assert!(shop.service().past.is_empty(), "{go:?}: {:?}", shop.service().past);
        assert!(matches!(shop.rollback(), Err(Refusal::NothingBefore { .. })), "{go:?}");
    }
}

/// Whoever flips a paused service is told that nobody notices yet.
#[test]
fn a_flip_says_that_a_pause_goes_on() {
    let mut shop = Shop::new(EXPLICIT);
    shop.deploy("001");
    shop.deploy("002");
    shop.verb(Verb::Pause { until: u64::MAX, said: "long".to_owned() }).unwrap();
    for outcome in [shop.flip("002", Mode::Forced).unwrap(), shop.rollback().unwrap()] {
        assert!(outcome.warnings.iter().any(|warning| warning.contains("balancer resume shop")), "{outcome:?}");
    }
}

#[test]
fn refusals_change_nothing_and_name_the_fix() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.add("002").unwrap();
    shop.health("002", Condition::Down);
    let before = shop.state.clone();
    let semver = Rules { order: Order::Semver, ..HIGHEST };
    let table: Vec<(Result<Outcome, Refusal>, &str, &str)> = vec![
        (
            shop.verb(Verb::Add {
                label: "001".parse().unwrap(),
                backends: vec!["10.60.9.9:8080".parse().unwrap()],
                entrance: Entrance::Normal,
            }),
            "already has a version `001`",
            "balancer version rm shop 001",
        ),
        (shop.remove("009"), "no version `009`", "001, 002"),
        (shop.flip("009", Mode::Forced), "no version `009`", "001, 002"),
        (shop.flip("002", Mode::Forced), "no healthy backend", "balancer wait shop --for healthy=002"),
        (shop.rollback(), "no version to go back to", "balancer flip shop VERSION"),
        (
            apply(
                &mut shop.state.clone(),
                "blog",
                &Circumstances::new(HIGHEST, &Conditions::default()),
                &Verb::Rollback { sessions: Sessions::Move },
            ),
            "no service `blog`",
            "shop",
        ),
        (
            apply(
                &mut shop.state.clone(),
                "shop",
                &Circumstances::new(semver, &Conditions::default()),
                &Verb::Add {
                    label: "003".parse().unwrap(),
                    backends: vec!["10.0.0.1:80".parse().unwrap()],
                    entrance: Entrance::Normal,
                },
            ),
            "not a semantic version",
            "1.2.3",
        ),
        (
            shop.verb(Verb::Add { label: "003".parse().unwrap(), backends: Vec::new(), entrance: Entrance::Normal }),
            "0 backends",
            "--backend",
        ),
    ];
    for (result, what, fix) in table {
        let refusal = result.unwrap_err();
        assert!(refusal.to_string().contains(what), "{refusal}");
        assert!(refusal.hint().contains(fix), "{}", refusal.hint());
    }
    assert_eq!(shop.state, before);
    shop.remove("002").unwrap();
    assert!(matches!(shop.remove("001"), Err(Refusal::Last { .. })));
}

/// C9.
#[test]
fn unknown_ids_are_adopted_until_that_is_over() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.deploy("002");
    let adopt = |label: Option<&str>| Verb::Adopt { label: label.map(|label| label.parse().unwrap()) };
    let into = |shop: &Shop| shop.service().adopt.as_ref().map(|label| label.as_str().to_owned());
    let outcome = shop.verb(adopt(Some("001"))).unwrap();
    assert_eq!((into(&shop).as_deref(), outcome.undo.as_str()), (Some("001"), "balancer service adopt shop off"));
    assert!(outcome.warnings[0].contains("anybody can make up an id"));
    let again = shop.verb(adopt(Some("001"))).unwrap();
    assert!(!again.changed && again.undo.is_empty() && again.warnings.is_empty());
    let outcome = shop.verb(adopt(Some("002"))).unwrap();
    assert_eq!(outcome.undo, "balancer service adopt shop 001");
    assert!(matches!(shop.verb(adopt(Some("009"))), Err(Refusal::NoVersion { .. })));
    assert_eq!(into(&shop).as_deref(), Some("002"));
    shop.verb(adopt(None)).unwrap();
    assert_eq!(into(&shop), None);

    // Whatever takes a version's sessions away ends their adoption into it, and says so.
    type Way = fn(&mut Shop) -> Outcome;
    let ways: [(&str, Way); 3] = [
        ("001", |shop| shop.flip("002", Mode::Forced).unwrap()),
        ("002", |shop| shop.rollback().unwrap()),
        ("002", |shop| shop.remove("002").unwrap()),
    ];
    for (label, way) in ways {
        let mut shop = Shop::new(HIGHEST);
        shop.deploy("001");
        shop.deploy("002");
        shop.verb(adopt(Some(label))).unwrap();
        let outcome = way(&mut shop);
        assert_eq!(into(&shop), None, "{outcome:?}");
        assert!(outcome.will.iter().any(|line| line.contains("no longer adopted")), "{outcome:?}");
    }
    // A flip that moves nobody leaves it alone.
    shop.verb(adopt(Some("001"))).unwrap();
    shop.flip("001", Mode::NewSessions).unwrap();
    shop.flip("002", Mode::NewSessions).unwrap();
    assert_eq!(into(&shop).as_deref(), Some("001"));
}

/// C29.
#[test]
fn routes_are_each_servers_own() {
    let mut shop = Shop::new(HIGHEST);
    let add = |label: &str, backends: &[&str]| Verb::Add {
        label: label.parse().unwrap(),
        backends: backends.iter().map(|text| text.parse().unwrap()).collect(),
        entrance: Entrance::Normal,
    };
    let refused = shop.verb(add("001", &["10.0.0.1:80,route=n1", "10.0.0.2:80,route=n1"])).unwrap_err();
    assert!(refused.to_string().contains("two backends with the route `n1`"), "{refused}");
    shop.verb(add("001", &["10.0.0.1:80,route=n1", "10.0.0.2:80"])).unwrap();
    let outcome = shop.verb(add("002", &["10.0.0.3:80,route=n1", "10.0.0.4:80"])).unwrap();
    assert!(outcome.warnings[0].contains("`n1` is a route of version `001` as well"), "{:?}", outcome.warnings);
    // The undo of a removal brings the route back.
    let outcome = shop.remove("002").unwrap();
    assert_eq!(outcome.undo, "balancer version add shop 002 --backend 10.0.0.3:80,route=n1 --backend 10.0.0.4:80");
    for version in 0..4 {
        let backends: Vec<String> = (0..32).map(|n| format!("10.1.{version}.{n}:80,route=r{version}-{n}")).collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        let added = shop.verb(add(&format!("1{version}"), &backends));
        assert_eq!(matches!(added, Err(Refusal::NoRoom { what: "routes of a service", .. })), version == 3);
    }
}

/// C3.
#[test]
fn the_padding_trap_is_told() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("2");
    let outcome = shop.add("12").unwrap();
    assert!(outcome.warnings[0].contains("new sessions will get 2"), "{:?}", outcome.warnings);
}

#[test]
fn history_is_bounded() {
    let mut state = State::default();
    for number in 0..MAX_HISTORY + 5 {
        state.record(Change {
            at: String::new(),
            who: String::new(),
            service: number.to_string(),
            verb: String::new(),
            from: None,
            to: None,
            version: None,
            mode: None,
            undo: String::new(),
            reason: None,
            generation: 0,
        });
    }
    assert_eq!((state.history.len(), state.history[0].service.as_str()), (MAX_HISTORY, "5"));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Flip(u8, bool),
    Rollback,
    Health(u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6u8).prop_map(Step::Add),
        (0..6u8).prop_map(Step::Remove),
        (0..6u8, any::<bool>()).prop_map(|(n, forced)| Step::Flip(n, forced)),
        Just(Step::Rollback),
        (0..6u8, any::<bool>()).prop_map(|(n, up)| Step::Health(n, up)),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn whatever_is_commanded(explicit in any::<bool>(), steps in steps()) {
        let mut shop = Shop::new(if explicit { EXPLICIT } else { HIGHEST });
        let mut generations = std::collections::BTreeMap::new();
        for step in steps {
            let label = |n: u8| format!("{n:03}");
            let mode = |forced| if forced { Mode::Forced } else { Mode::NewSessions };
            let before = shop.state.clone();
            let result = match step.clone() {
                Step::Add(n) => shop.add(&label(n)).map(drop),
                Step::Remove(n) => shop.remove(&label(n)).map(drop),
                Step::Flip(n, forced) => shop.flip(&label(n), mode(forced)).map(drop),
                Step::Rollback => shop.rollback().map(drop),
                Step::Health(n, up) => {
                    let known = shop.service().version(&label(n).parse().unwrap()).is_some();
                    if known {
                        shop.health(&label(n), if up { Condition::Up } else { Condition::Down });
                    }
                    Ok(())
                }
            };
            if result.is_err() {
                prop_assert_eq!(&shop.state, &before);
            }
            // The daemon does this after every report; it must have nothing to say after a verb that chose.
            let service = shop.service();
            prop_assert_eq!(service.active.is_some(), !service.versions.is_empty());
            if let Some(active) = &service.active {
                let version = service.version(active);
                prop_assert!(version.is_some_and(|v| v.was_active));
                prop_assert!(version.is_some_and(|v| v.held.is_none()), "{:?}: active and held", step);
            }
            for past in &service.past {
                prop_assert!(service.version(past).is_some());
            }
            let mut indexes: Vec<u32> = service.versions.iter().map(|v| v.index).collect();
            indexes.sort_unstable();
            indexes.dedup();
            prop_assert_eq!(indexes.len(), service.versions.len());
            let mut ids: Vec<u16> = service.versions.iter().flat_map(|v| &v.backends).map(|b| b.id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), service.versions.len());
            // A generation belongs to one version for ever.
            for version in &service.versions {
                let owner = generations.entry(version.generation).or_insert((version.label.clone(), version.index));
                prop_assert_eq!(&*owner, &(version.label.clone(), version.index));
            }
            // What is written is what is read.
            let text = serde_json::to_string(&shop.state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<State>(&text).unwrap(), &shop.state);
        }
    }
}

impl Shop {
    fn drain(&mut self, label: &str, deadline: Option<u64>, then: Then) -> Result<Outcome, Refusal> {
        let drainage = Drainage::Begin { deadline, then };
        self.verb(Verb::Drain { label: label.parse().unwrap(), drainage })
    }

    fn version(&self, label: &str) -> &Version {
        self.service().version(&label.parse().unwrap()).unwrap()
    }

    fn retire(&mut self, label: &str, left: Left, insistence: Insistence) -> Result<Outcome, Refusal> {
        let mut state = self.state.clone();
        let given = Circumstances { left, insistence, now: 1_000, ..Circumstances::new(self.rules, &self.conditions) };
        let outcome = apply(&mut state, "shop", &given, &Verb::Retire { label: label.parse().unwrap() })?;
        self.state = state;
        Ok(outcome)
    }

    /// Versions that would go by themselves.
    fn candidates(&self, keep: usize) -> Vec<String> {
        retire::candidates(self.service(), keep).iter().map(ToString::to_string).collect()
    }
}

/// D11: a drain gives a version no new sessions, moves nobody, and ends as it was asked to.
#[test]
fn d11_a_drain_begins_and_ends_as_asked() {
    for (then, stays, moves) in [(Then::Retire, false, true), (Then::Keep, true, false), (Then::Close, true, true)] {
        let mut shop = Shop::new(HIGHEST);
        shop.deploy("001");
        shop.deploy("002");
        let before = shop.generation("001");
        let outcome = shop.drain("001", Some(100), then).unwrap();
        assert_eq!((outcome.changed, outcome.undo.as_str()), (true, "balancer drain shop 001 --cancel"));
        assert_eq!((shop.generation("001"), shop.active(), shop.held()), (before, "002", vec!["001"]));
        assert!(!shop.drain("001", Some(100), then).unwrap().changed, "a repetition changes nothing");
        assert!(shop.drain("001", Some(200), then).unwrap().changed, "another deadline does");
        let label = "001".parse().unwrap();
        if moves {
            drain::close(&mut shop.state, "shop", &label, 200).unwrap();
            assert!(shop.generation("001") > before && shop.version("001").drain.unwrap().closing == Some(200));
        }
        drain::finish(&mut shop.state, "shop", &label, 260).unwrap();
        assert_eq!((shop.service().version(&label).is_some(), shop.active()), (stays, "002"), "{then:?}");
        if stays {
            // Only a flip to it brings it back.
            assert_eq!((shop.version("001").drain, shop.version("001").held), (None, Some(Hold::Draining)));
            shop.flip("001", Mode::NewSessions).unwrap();
            assert_eq!((shop.active(), shop.version("001").held), ("001", None));
        } else {
            assert_eq!(
                shop.service().retired[0].again("shop"),
                "balancer version add shop 001 --backend 10.60.1.1:8080"
            );
        }
    }
}

#[test]
fn d11_draining_the_active_version_lets_the_next_one_take_over() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    assert!(matches!(shop.drain("001", None, Then::Retire), Err(Refusal::NobodyElse { .. })));
    shop.deploy("002");
    let outcome = shop.drain("002", None, Then::Retire).unwrap();
    assert_eq!((shop.active(), outcome.undo.as_str()), ("001", "balancer flip shop 002"));
    shop.flip("002", Mode::NewSessions).unwrap();
    assert_eq!((shop.active(), shop.version("002").drain), ("002", None), "a flip ends a drain");
    // A drain can be taken back; what was drained is not chosen on its own.
    shop.drain("001", None, Then::Keep).unwrap();
    shop.verb(Verb::Drain { label: "001".parse().unwrap(), drainage: Drainage::Cancel }).unwrap();
    assert_eq!((shop.version("001").drain, shop.held()), (None, vec!["001"]));
    let mut shop = Shop::new(EXPLICIT);
    shop.deploy("001");
    shop.deploy("002");
    let refusal = shop.drain("001", None, Then::Retire).unwrap_err();
    assert!(refusal.hint().contains("balancer flip shop VERSION"), "{refusal}");
}

/// C41: sessions and requests count; C15: what was retired comes back without its sessions.
#[test]
fn c41_retiring_refuses_while_anything_is_left() {
    let mut shop = Shop::new(HIGHEST);
    shop.deploy("001");
    shop.deploy("002");
    let left = |sessions, issued, in_flight| Left { sessions, issued, in_flight };
    for what in [left(1, 0, 0), left(0, 1, 0), left(0, 0, 1)] {
        let refusal = shop.retire("001", what, Insistence::None).unwrap_err();
        assert!(matches!(refusal, Refusal::NotEmpty { .. }) && refusal.hint().contains("--force"), "{refusal}");
    }
    assert!(matches!(shop.retire("002", Left::default(), Insistence::Force), Err(Refusal::RetiresActive { .. })));
    let generation = shop.generation("001");
    let outcome = shop.retire("001", left(5, 0, 1), Insistence::Force).unwrap();
    assert_eq!(outcome.undo, "balancer version add shop 001 --backend 10.60.1.1:8080");
    // Again: it is so already.
    assert!(!shop.retire("001", Left::default(), Insistence::None).unwrap().changed);
    shop.add("001").unwrap();
    assert!(shop.generation("001") > generation && shop.service().retired.is_empty());
    // A count may be a little off for an instant.
    shop.retire("001", left(0, 0, -1), Insistence::None).unwrap();
}

/// C39, C43: what goes by itself, and what is kept for a rollback.
#[test]
fn c39_c43_old_versions_go_but_for_the_last_ones() {
    let mut shop = Shop::new(HIGHEST);
    for label in ["001", "002", "003", "004"] {
        shop.deploy(label);
    }
    assert_eq!(shop.candidates(1), ["001", "002", "003"]);
    assert_eq!(shop.candidates(2), ["001", "002"]);
    assert_eq!(shop.candidates(9), [""; 0]);
    // A version that nobody was ever sent to is not an old one.
    shop.add("005").unwrap();
    assert_eq!(shop.candidates(2), ["001", "002"]);
    shop.verb(Verb::Adopt { label: Some("001".parse().unwrap()) }).unwrap();
    assert_eq!(shop.candidates(2), ["002"]);
}

/// D17: a canary begins, grows, and ends one way or the other.
#[test]
fn d17_a_canary_is_promoted_or_given_up() {
    let percent = |text: &str| text.parse::<Percent>().unwrap();
    let canary = |shop: &mut Shop, label: &str, share: &str| {
        let guard = GuardWish::default();
        shop.verb(Verb::Canary { label: label.parse().unwrap(), percent: percent(share), guard })
    };
    for rules in [HIGHEST, EXPLICIT] {
        let mut shop = Shop::new(rules);
        shop.deploy("001");
        let backends = vec!["10.60.1.2:8080".parse().unwrap()];
        shop.verb(Verb::Add { label: "002".parse().unwrap(), backends, entrance: Entrance::Staged }).unwrap();
        shop.health("002", Condition::Up);
        assert_eq!((shop.active(), shop.held()), ("001", vec!["002"]), "staged versions wait");
        assert!(matches!(canary(&mut shop, "001", "5"), Err(Refusal::CanaryActive { .. })));
        assert_eq!(canary(&mut shop, "002", "5").unwrap().undo, "balancer abort shop");
        let salt = shop.service().canary.clone().unwrap().salt;
        assert!(!canary(&mut shop, "002", "5.0").unwrap().changed);
        let grown = canary(&mut shop, "002", "50").unwrap();
        assert_eq!(grown.undo, "balancer flip shop 002 --mode percent --percent 5");
        assert_eq!(shop.service().canary.clone().unwrap().salt, salt);
        let begun = shop.state.clone();

        shop.verb(Verb::Promote).unwrap();
        assert_eq!((shop.active(), shop.held(), &shop.service().canary), ("002", vec![], &None));
        shop.rollback().unwrap();
        assert_eq!(shop.active(), "001");

        for (sessions, moves) in [(Sessions::Move, true), (Sessions::Keep, false)] {
            shop.state = begun.clone();
            let before = shop.generation("002");
            shop.verb(Verb::Abort { sessions }).unwrap();
            assert_eq!((shop.active(), shop.held(), &shop.service().canary), ("001", vec!["002"], &None));
            assert_eq!(shop.generation("002") > before, moves);
            assert!(matches!(shop.verb(Verb::Promote), Err(Refusal::NoCanary { .. })));
        }
        // A flip decides it as well.
        shop.state = begun;
        shop.flip("002", Mode::NewSessions).unwrap();
        assert_eq!((shop.active(), &shop.service().canary), ("002", &None));
    }
    for bad in ["0", "0.001", "101", "-5", "ten", ""] {
        assert!(bad.parse::<Percent>().is_err(), "{bad}");
    }
    assert_eq!((percent("100").share(), percent("50%").share()), (u32::MAX, 1 << 31));
}

/// A version that stands in for one whose check is still to come is none that somebody goes back from, or back to.
#[test]
fn a_version_that_stands_in_for_a_new_one_has_no_turn_of_its_own() {
    let mut shop = Shop::new(HIGHEST);
    shop.add("001").unwrap();
    shop.add("002").unwrap();
    assert_eq!(shop.active(), "001");
    // As a service begins whose versions are all there, and none is checked.
    shop.state = State::default();
    shop.state.ensure_service("shop").unwrap();
    for label in ["002", "001"] {
        shop.add(label).unwrap();
    }
    assert_eq!(shop.active(), "002");
    shop.health("001", Condition::Up);
    assert_eq!(shop.active(), "001");
    shop.health("002", Condition::Up);
    assert_eq!(shop.active(), "002");
    assert!(matches!(shop.rollback(), Err(Refusal::NothingBefore { .. })), "{:?}", shop.service().past);
}
