//! Honest requests beside floods: SYNs from made-up addresses, and requests with made-up cookies.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use super::contender::{Contender, Way};
use super::report::Report;
use super::statistics::median;
use super::table::{Table, number};
use super::wrk::{Cookies, Sample, Target as Aim, Wrk};
use super::{Options, servers, turns};
use crate::flood::{Flood, Kind, SOURCES};

/// What honest clients get meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Calm,
    Syns,
    Cookies,
}

impl Weather {
    const ALL: [Self; 3] = [Self::Calm, Self::Syns, Self::Cookies];

    const fn name(self) -> &'static str {
        match self {
            Self::Calm => "no flood",
            Self::Syns => "flood of SYNs",
            Self::Cookies => "flood of made-up cookies",
        }
    }
}

/// The medians of one contender in one weather.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    weather: String,
    contender: String,
    requests_per_second: f64,
    p99_microseconds: f64,
    errors: u64,
    /// Packets or requests of the flood a second.
    flood_per_second: f64,
}

/// One run, and how much of a flood there was.
struct Stretch {
    honest: Sample,
    flood: f64,
}

const WAYS: [Way; 3] = [Way::HaProxy, Way::Tc, Way::Xdp];
/// Of honest clients, each of whose requests is a connection of its own: floods are in the way of those who begin.
const CONNECTIONS: usize = 16;
/// Of the flood of cookies.
const FLOODING: usize = 64;

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin(options.extent)?;
    let balancer = options.balancer()?;
    // SYNs come in by the second backend's link, and their answers leave by it; honest clients' sessions are of the first.
    let labs = Way::labs(&WAYS, 2)?;
    for lab in &labs {
        let way_back = ["route", "add", SOURCES, "via", &lab.backend(2).address().to_string()];
        lab.director().output("ip", &way_back)?;
    }
    let contenders = Contender::all(&WAYS, &labs, &balancer)?;
    report.ran.push(servers::versions(&labs[0], &[("wrk", "-v"), ("nginx", "-v"), ("haproxy", "-v")])?);
    let (rounds, time) = (options.extent.choose(3, 5), Duration::from_secs(options.extent.choose(2, 4)));
    report.ran.push(format!(
        "{rounds} rounds of {} s for each; honest: {CONNECTIONS} connections, one request each; SYNs from one core as fast as it goes, \
         made-up cookies over {FLOODING} kept connections",
        time.as_secs()
    ));
    let sessions = contenders.iter().map(|contender| contender.sessions(1)).collect::<Result<Vec<_>>>()?;
    let mut figures = Vec::new();
    for weather in Weather::ALL {
        let name = |contender: &Contender<'_>| contender.way.name();
        let stretches = turns::in_turn(weather.name(), &contenders, rounds, name, |index, contender| {
            stretch(contender, &sessions[index], weather, time)
        })?;
        figures.extend(
            contenders.iter().zip(&stretches).map(|(contender, stretches)| figure(weather, contender.way, stretches)),
        );
    }
    for weather in Weather::ALL {
        report.tables.push(table(weather, &figures));
    }
    contenders.into_iter().try_for_each(Contender::finish)?;
    report.finish("flood", &figures)
}

fn stretch(contender: &Contender<'_>, sessions: &[Vec<String>], weather: Weather, time: Duration) -> Result<Stretch> {
    let aim = |cookies| Aim { to: contender.address(1), cookies };
    let honest = Wrk {
        targets: vec![aim(Cookies::One(sessions.first().and_then(|of_first| of_first.first().cloned())))],
        connections: CONNECTIONS,
        path: "/",
        close: true,
        rate: None,
    };
    let mut flood = 0.0;
    let sample = match weather {
        Weather::Calm => honest.run(contender.lab, time)?,
        Weather::Syns => {
            let syns = Flood::start_with_few(contender.lab, Kind::Syn)?;
            let sample = honest.run(contender.lab, time);
            flood = syns.finish()? as f64 / time.as_secs_f64();
            sample?
        }
        Weather::Cookies => std::thread::scope(|scope| {
            let flooding =
                Wrk { targets: vec![aim(Cookies::MadeUp)], connections: FLOODING, close: false, ..honest.clone() };
            let thread = scope.spawn(move || flooding.run(contender.lab, time));
            let sample = honest.run(contender.lab, time);
            flood = thread.join().map_err(|_| anyhow!("the flood panicked"))??.rate();
            sample
        })?,
    };
    Ok(Stretch { honest: sample, flood })
}

fn figure(weather: Weather, way: Way, stretches: &[Stretch]) -> Figure {
    let honest = || stretches.iter().map(|stretch| &stretch.honest);
    Figure {
        weather: weather.name().to_owned(),
        contender: way.name().to_owned(),
        requests_per_second: median(honest().map(Sample::rate)),
        p99_microseconds: median(honest().map(|sample| sample.p99)),
        errors: honest().map(|sample| sample.errors).sum(),
        flood_per_second: median(stretches.iter().map(|stretch| stretch.flood)),
    }
}

fn table(weather: Weather, figures: &[Figure]) -> Table {
    let head = ["", "honest requests/s", "× without flood", "× HAProxy", "p99 µs", "errors", "flood/s"];
    let mut table = Table::new(weather.name(), &head);
    let rate = |weather: Weather, contender: &str| {
        let found = figures.iter().find(|figure| figure.weather == weather.name() && figure.contender == contender);
        found.map_or(f64::NAN, |figure| figure.requests_per_second)
    };
    for figure in figures.iter().filter(|figure| figure.weather == weather.name()) {
        let own = figure.requests_per_second;
        let calm = own / rate(Weather::Calm, &figure.contender);
        let beside = own / rate(weather, Way::HaProxy.name());
        let numbers = [own, calm, beside, figure.p99_microseconds].map(number);
        let counts = [figure.errors.to_string(), number(figure.flood_per_second)];
        table.row(&figure.contender, numbers.into_iter().chain(counts));
    }
    table
}
