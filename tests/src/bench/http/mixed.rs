//! Sessions of three versions on the same connections, as a proxy in front brings them: each request belongs elsewhere than the
//! one before. Beside it the same with each connection's sessions of one version.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::contender::{FLOWS, SOURCES};
use super::super::report::{Report, Target};
use super::super::servers::{application, haproxy};
use super::super::statistics::median;
use super::super::table::{Table, number};
use super::super::turns;
use super::super::wrk::{Cookies, Sample, Target as Aim, Wrk};
use super::{Figure, Time, figure};
use crate::balancer::Balancer;
use crate::client::{Connection, Request};
use crate::lab::config::{Select, Shop};
use crate::lab::process::Process;
use crate::lab::{Hook, Lab};

const VERSIONS: [&str; 3] = ["001", "002", "003"];
const CONNECTIONS: usize = 16;
const SESSIONS: usize = 1000;
/// wrk's; the first version has two of them.
const THREADS: usize = 4;

/// What stands before the three versions.
enum Front<'a> {
    Balancer(Box<Balancer<'a>>),
    HaProxy { _process: Process },
}

struct Versions<'a> {
    name: &'static str,
    lab: &'a Lab,
    front: Front<'a>,
    _backends: Vec<Process>,
    /// Each version's sessions.
    sessions: Vec<Vec<String>>,
}

/// Measures both, for each director.
pub(super) fn run(balancer: &Path, Time { time, rounds }: Time, report: &mut Report) -> Result<Vec<Figure>> {
    let lab = |hook| Lab::builder("mixed").backends(VERSIONS.len()).client_addresses(SOURCES).hook(hook).build();
    let labs = [lab(Hook::Tc)?, lab(Hook::Tc)?, lab(Hook::Xdp)?];
    let directors = [
        Versions::start("HAProxy", &labs[0], None)?,
        Versions::start("balancer, TC", &labs[1], Some(balancer))?,
        Versions::start("balancer, XDP", &labs[2], Some(balancer))?,
    ];
    let title = format!("{SESSIONS} sessions of {} versions over {CONNECTIONS} connections", VERSIONS.len());
    let both = |_, versions: &Versions<'_>| Ok((versions.load(false, time)?, versions.load(true, time)?));
    let samples = turns::in_turn(&title, &directors, rounds, |versions| versions.name, both)?;
    let head = ["", "requests/s apart", "mixed", "mixed × apart", "CPU µs apart", "mixed", "p99 µs apart", "mixed"];
    let mut table = Table::new(&title, &head);
    let mut figures = Vec::new();
    for (Versions { name, .. }, samples) in directors.iter().zip(samples) {
        let (apart, mixed): (Vec<Sample>, Vec<Sample>) = samples.into_iter().unzip();
        let [apart, mixed] = [("apart", apart), ("mixed", mixed)]
            .map(|(how, samples)| figure(&format!("{title}, {how}"), name, &samples));
        let share = median(mixed.rates.iter().zip(&apart.rates).map(|(mixed, apart)| mixed / apart));
        let by_cpu = apart.cpu_microseconds / mixed.cpu_microseconds;
        let numbers = [
            apart.requests_per_second,
            mixed.requests_per_second,
            share,
            apart.cpu_microseconds,
            mixed.cpu_microseconds,
            apart.p99_microseconds,
            mixed.p99_microseconds,
        ];
        table.row(*name, numbers.map(number));
        if *name == "balancer, TC" {
            let what = format!("{title}: TC beside the same apart");
            report.targets.push(Target::at_least(&what, 0.8, " ×", share));
            report.targets.push(Target::at_least(what + ", by CPU per request", 0.8, " ×", by_cpu));
        }
        figures.extend([apart, mixed]);
    }
    report.tables.push(table);
    directors.into_iter().try_for_each(Versions::finish)?;
    Ok(figures)
}

impl<'a> Versions<'a> {
    fn start(name: &'static str, lab: &'a Lab, balancer: Option<&Path>) -> Result<Self> {
        let backends = application::start_all(lab)?;
        let front = match balancer {
            None => Front::HaProxy { _process: haproxy::start(lab)? },
            Some(balancer) => {
                let versions: [(&str, &[usize]); 3] = [(VERSIONS[0], &[1]), (VERSIONS[1], &[2]), (VERSIONS[2], &[3])];
                let shop = Shop { flows: FLOWS, ..Shop::new(&versions).select(Select::Explicit) };
                Front::Balancer(Box::new(Balancer::start(lab, balancer, &shop.to_toml(lab))?))
            }
        };
        let mut started = Self { name, lab, front, _backends: backends, sessions: Vec::new() };
        started.sessions = started.log_in().with_context(|| format!("log in through {name}"))?;
        Ok(started)
    }

    /// As many sessions of each version.
    fn log_in(&self) -> Result<Vec<Vec<String>>> {
        let mut all = Vec::new();
        for (index, version) in (1..).zip(VERSIONS) {
            match &self.front {
                Front::Balancer(balancer) => drop(balancer.cli(&["flip", "shop", version])?),
                Front::HaProxy { .. } => {
                    let weights = (1..=VERSIONS.len())
                        .map(|other| format!("set server shop/b{other} weight {}", i32::from(other == index)));
                    weights.into_iter().try_for_each(|command| haproxy::tell(self.lab, &command))?;
                }
            }
            all.push(self.log_in_to(index).with_context(|| format!("version {version}"))?);
        }
        Ok(all)
    }

    fn log_in_to(&self, backend: usize) -> Result<Vec<String>> {
        let to = self.lab.service();
        self.lab.client().run(|| {
            let mut connection = Connection::here(to)?;
            let mut sessions = Vec::new();
            while sessions.len() < SESSIONS.div_ceil(VERSIONS.len()) {
                let response = connection.request(&Request::get("/login"))?;
                let by = response.backend();
                ensure!(response.status == 200 && by == format!("b{backend}"), "{} by {by}", response.status);
                let cookies = response.all("Set-Cookie").filter_map(|cookie| cookie.split(';').next());
                sessions.push(cookies.collect::<Vec<_>>().join("; "));
            }
            Ok(sessions)
        })
    }

    fn load(&self, mixed: bool, time: Duration) -> Result<Sample> {
        let everybody = || {
            let count = self.sessions.iter().map(Vec::len).min().unwrap_or_default();
            (0..count).flat_map(|index| self.sessions.iter().map(move |of_one| of_one[index].clone())).collect()
        };
        let cookies = |thread: usize| match mixed {
            true => everybody(),
            false => self.sessions[thread % self.sessions.len()].clone(),
        };
        let aim = |thread| Aim { to: self.lab.service(), cookies: Cookies::Each(cookies(thread)) };
        let targets = (0..THREADS).map(aim).collect();
        let wrk = Wrk { targets, connections: CONNECTIONS, path: "/", close: false, rate: None };
        wrk.run(self.lab, time).with_context(|| format!("mixed sessions through {}", self.name))
    }

    fn finish(self) -> Result<()> {
        match self.front {
            Front::Balancer(balancer) => balancer.detach(),
            Front::HaProxy { .. } => Ok(()),
        }
    }
}
