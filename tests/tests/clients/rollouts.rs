//! Rollouts without end: flips, rollbacks, drains and retirements in any order, while two thousand people are at work. Nobody
//! gets an error, nobody is moved who should have stayed, and nobody stays who should have been moved.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::clients::crowd::{AT_ONCE, Crowd, VISITORS};
use balancer_tests::clients::judge::judge;
use balancer_tests::clients::{Client, Moves, Timeline};
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Scene, wait_until};
use balancer_tests::short::use_ports_again;
use balancer_tests::stage::Stage;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

under_both_hooks! {
    in_any_order,
    with_backends_killed_in_between,
}

const VERSIONS: [(&str, &[usize]); 3] = [("001", &[1, 2]), ("002", &[3]), ("003", &[4])];
const STEPS: u32 = 100;
/// Room for the connections of a minute.
const FLOWS: u32 = 131_072;
/// What `balancer` ends with when it refuses.
const REFUSED: i32 = 3;

fn in_any_order(hook: Hook) -> Result<()> {
    play(hook, "rollouts", false)
}

/// Only requests on which a killed backend worked have no answer.
fn with_backends_killed_in_between(hook: Hook) -> Result<()> {
    play(hook, "deaths", true)
}

fn play(hook: Hook, label: &str, deaths: bool) -> Result<()> {
    let clients = u8::try_from(AT_ONCE)?;
    let stage = Stage::new(hook, label).explicit().hosts(4).clients(clients).versions(&VERSIONS);
    stage.flows(FLOWS, "15m").play(|scene| {
        use_ports_again(scene.lab.client())?;
        let crowd = Box::new(Crowd::directly(scene.lab));
        let seed = std::env::var("BALANCER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let mut operator = Operator {
            timeline: Timeline::new("001"),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            down: None,
            done: Vec::new(),
        };
        let spread = operator.spread(scene)?;
        for _ in 0..STEPS {
            if deaths {
                operator.death_or_birth(scene)?;
            }
            operator.step(scene).with_context(|| format!("seed {seed}, behind {:?}", operator.done))?;
            std::thread::sleep(Duration::from_millis(operator.random.random_range(5..100)));
        }
        operator.birth(scene)?;
        let Operator { timeline, done, .. } = operator;
        let verdict = judge(&crowd.finish()?, &timeline).with_context(|| format!("seed {seed}: {done:?}"))?;
        ensure!(verdict.moved > VISITORS / 2 && verdict.versions.len() == 3, "too little happened: {verdict:?}");
        ensure!(deaths || verdict.taken_along == 0);
        let kinds = ["flip", "--mode forced", "rollback", "drain", "retire", "kill"];
        let counts = kinds.map(|kind| (kind, done.iter().filter(|step| step.contains(kind)).count()));
        for (kind, count) in counts {
            ensure!(count > 0 || (kind == "kill") != deaths, "no {kind} among {done:?}");
        }
        println!(
            "{label}: seed {seed}, {spread:?} sessions at the beginning, {counts:?}; {} answers, {} moved, {} taken along, {:?}",
            verdict.answers, verdict.moved, verdict.taken_along, verdict.versions
        );
        scene.all_idle()
    })
}

/// Who does all that.
struct Operator {
    timeline: Timeline,
    random: Xoshiro256PlusPlus,
    /// The host whose application was killed, and for how many steps it stays so.
    down: Option<(usize, u32)>,
    done: Vec<String>,
}

impl Operator {
    /// Flips until everybody has a session, on three versions; how many each has.
    fn spread(&mut self, scene: &Scene) -> Result<BTreeMap<String, u64>> {
        for (at, (label, _)) in VERSIONS.iter().enumerate() {
            if at > 0 {
                self.flip(scene, label, Moves::Nobody, &["flip", "shop", label])?;
            }
            let enough = (VISITORS / VERSIONS.len()) as u64;
            wait_until("there are sessions", Duration::from_secs(60), || {
                Ok(sessions(scene)?.get(*label).is_some_and(|count| *count >= enough))
            })?;
        }
        sessions(scene)
    }

    /// Something that an operator does.
    fn step(&mut self, scene: &Scene) -> Result<()> {
        let active = self.timeline.last().to_owned();
        let label = VERSIONS[self.random.random_range(0..VERSIONS.len())].0;
        match self.random.random_range(0..100) {
            0..56 if self.serves(label) => self.flip(scene, label, Moves::Nobody, &["flip", "shop", label]),
            56..61 if self.serves(label) => self.flip(
                scene,
                label,
                Moves::Everybody,
                &["flip", "shop", label, "--mode", "forced", "--confirm", "shop"],
            ),
            61..76 => self.roll_back(scene),
            76..84 if label != active => self.beside(scene, Moves::Nobody, &["drain", "shop", label, "--then", "keep"]),
            84..90 if label != active && self.is_whole(label) => {
                let command = ["drain", "shop", label, "--deadline", "1s", "--then", "retire", "--wait"];
                self.beside(scene, Moves::Of(label), &command)?;
                self.add_again(scene, label)
            }
            90..96 if label != active && self.is_whole(label) => {
                // While anybody is left it takes force.
                if sessions(scene)?.get(label).is_some_and(|left| *left > 0) {
                    self.is_refused(scene, &["retire", "shop", label])?;
                }
                let command = ["retire", "shop", label, "--force", "--confirm", "shop"];
                self.beside(scene, Moves::Of(label), &command)?;
                self.add_again(scene, label)
            }
            96..100 => {
                self.is_refused(scene, &["drain", "shop", &active])?;
                self.is_refused(scene, &["retire", "shop", &active, "--force", "--confirm", "shop"])
            }
            // What cannot be done now; something else instead.
            _ => self.step(scene),
        }
    }

    fn roll_back(&mut self, scene: &Scene) -> Result<()> {
        let status = scene.json(&["status", "shop"])?;
        let Some(to) = status["previous"].as_str().filter(|label| self.serves(label)) else {
            return self.step(scene);
        };
        if self.random.random_ratio(1, 2) {
            self.flip(scene, to, Moves::Nobody, &["rollback", "shop", "--sessions", "keep"])
        } else {
            self.flip(scene, to, Moves::OfTheLast, &["rollback", "shop"])
        }
    }

    fn flip(&mut self, scene: &Scene, to: &str, moves: Moves, command: &[&str]) -> Result<()> {
        self.done.push(command.join(" "));
        self.timeline.flip(to, moves, || scene.cli(command).map(drop))
    }

    fn beside(&mut self, scene: &Scene, moves: Moves, command: &[&str]) -> Result<()> {
        self.done.push(command.join(" "));
        self.timeline.beside(moves, || scene.cli(command).map(drop))
    }

    fn is_refused(&mut self, scene: &Scene, command: &[&str]) -> Result<()> {
        let output = scene.balancer.command(command).output().context("run balancer")?;
        ensure!(output.status.code() == Some(REFUSED), "{command:?} was not refused: {output:?}");
        Ok(())
    }

    /// Brings a version back, whose applications ran all the time.
    fn add_again(&mut self, scene: &Scene, label: &str) -> Result<()> {
        let backends: Vec<String> = hosts(label).iter().map(|host| scene.lab.application(*host).to_string()).collect();
        let mut command = vec!["version", "add", "shop", label, "--backend"];
        command.extend(backends.iter().map(String::as_str));
        scene.cli(&command)?;
        scene.healthy(label)
    }

    /// Whether all applications of a version run.
    fn is_whole(&self, label: &str) -> bool {
        self.down.is_none_or(|(host, _)| !hosts(label).contains(&host))
    }

    /// Whether one of them does.
    fn serves(&self, label: &str) -> bool {
        hosts(label).iter().any(|host| self.down.is_none_or(|(down, _)| down != *host))
    }

    /// Now and then kills an application that is not the only one of the active version, and starts it again some steps later.
    fn death_or_birth(&mut self, scene: &mut Scene) -> Result<()> {
        match &mut self.down {
            Some((_, 0)) => self.birth(scene)?,
            Some((_, steps)) => *steps -= 1,
            None if self.random.random_ratio(1, 3) => {
                let active = hosts(self.timeline.last());
                let host = self.random.random_range(1..=4);
                if active != [host] {
                    self.done.push(format!("kill b{host}"));
                    self.timeline.kill(&format!("b{host}"), || scene.kill(host));
                    self.down = Some((host, self.random.random_range(0..4)));
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Starts what was killed, and waits until it takes work again.
    fn birth(&mut self, scene: &mut Scene) -> Result<()> {
        let Some((host, _)) = self.down.take() else { return Ok(()) };
        let (label, _) = VERSIONS.iter().find(|(_, hosts)| hosts.contains(&host)).context("a host of no version")?;
        scene.start(host, label)?;
        let address = scene.lab.application(host).to_string();
        wait_until("the backend is up again", Duration::from_secs(10), || {
            let status = scene.json(&["status", "shop"])?;
            let versions = status["versions"].as_array().into_iter().flatten();
            let mut backends = versions.flat_map(|version| version["backends"].as_array().into_iter().flatten());
            let up = backends.any(|backend| backend["address"] == *address && backend["condition"] == "up");
            // Nor do requests pass it over any longer.
            let mut warnings = status["warnings"].as_array().into_iter().flatten();
            Ok(up && !warnings.any(|warning| warning.as_str().is_some_and(|text| text.contains(&address))))
        })
    }
}

/// The hosts of a version.
fn hosts(label: &str) -> &'static [usize] {
    VERSIONS.iter().find(|(other, _)| *other == label).map_or(&[], |(_, hosts)| hosts)
}

/// How many sessions each version has.
fn sessions(scene: &Scene) -> Result<BTreeMap<String, u64>> {
    let status = scene.json(&["status", "shop"])?;
    let count = |version: &serde_json::Value| {
        let sessions = &version["sessions"];
        let live = sessions["issued"].as_u64()? + sessions["presented"].as_u64()?;
        Some((version["label"].as_str()?.to_owned(), live))
    };
    let versions = status["versions"].as_array().context("no versions")?;
    versions.iter().map(|version| count(version).context("no sessions in the status")).collect()
}
