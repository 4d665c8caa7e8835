//! Requests per second, latencies and CPU per request, beside what people would use instead.
//!
//! wrk has a thread per backend, and each thread sessions that this backend issued; short connections have a client of their own,
//! since wrk closes none that could be kept. The contenders take turns in every round; what is reported are medians of rounds, and medians of the
//! ratios within each. CPU is that of the whole machine, clients and backends included, and what a contender took more than direct connections is
//! its own. Where others use the machine too, CPU per request says more than requests per second: both of its targets are there.

mod loads;
mod mixed;
mod paced;
mod short;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::contender::{Contender, Way};
use super::report::{Report, Target};
use super::statistics::median;
use super::table::{Table, number};
use super::wrk::Sample;
use super::{Options, servers, turns};

use loads::{Load, Pools, Sessions, Use};

/// The medians of one contender under one kind of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    load: String,
    contender: String,
    requests_per_second: f64,
    /// The same of each round.
    rates: Vec<f64>,
    /// Of the whole machine, clients and backends included.
    cpu_microseconds: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
    p999_microseconds: f64,
    /// In all rounds: what was not answered, or not by 2xx or 3xx.
    errors: u64,
    requests: u64,
    /// CPUs that other work took meanwhile.
    others: f64,
}

/// Backend hosts, and wrk's threads.
const BACKENDS: usize = 2;

const WAYS: [Way; 8] =
    [Way::Direct, Way::Dnat, Way::HaProxy, Way::Nginx, Way::Tc, Way::TcAlone, Way::Xdp, Way::XdpAlone];

/// How long each contender is under each load, and how often.
#[derive(Clone, Copy)]
struct Time {
    time: Duration,
    rounds: usize,
}

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin(options.extent)?;
    let time = Time { time: Duration::from_secs(options.extent.choose(1, 2)), rounds: options.extent.choose(5, 3) };
    let mut figures = compare(options, time, &mut report)?;
    figures.extend(mixed::run(&options.balancer()?, time, &mut report)?);
    let failed: u64 =
        figures.iter().filter(|figure| figure.contender.starts_with("balancer")).map(|figure| figure.errors).sum();
    report.finish("http", &figures)?;
    ensure!(failed == 0, "{failed} requests to the balancer failed");
    Ok(())
}

fn compare(options: &Options, time: Time, report: &mut Report) -> Result<Vec<Figure>> {
    let balancer = options.balancer()?;
    let labs = Way::labs(&WAYS, BACKENDS)?;
    let contenders = Contender::all(&WAYS, &labs, &balancer)?;
    let loads = Load::all(options.extent);
    let most = if loads.iter().any(|load| load.sessions == Sessions::Many) { loads::MANY / BACKENDS } else { 1 };
    let pools: Vec<Pools> = contenders
        .iter()
        .map(|contender| Ok(Pools(contender.sessions(most).with_context(|| contender.way.name())?)))
        .collect::<Result<_>>()?;
    let versions = [("wrk", "-v"), ("nginx", "-v"), ("haproxy", "-v"), ("nft", "-v")];
    report.ran.push(servers::versions(&labs[0], &versions)?);
    let Time { time: stretch, rounds } = time;
    report.ran.push(format!(
        "{rounds} rounds of {} s for each; {BACKENDS} backends, nginx with one worker each",
        stretch.as_secs()
    ));
    let everybody: Vec<(&Contender<'_>, &Pools)> = contenders.iter().zip(&pools).collect();

    let mut figures = Vec::new();
    for load in &loads {
        let name = load.name();
        let of_load = in_turn(&name, &everybody, time, |(contender, pools), time| {
            let before = contender.counters()?;
            let sample = load.run(contender, pools, time)?;
            if sample.errors != 0 && !before.is_empty() {
                let counted = counted(&before, &contender.counters()?);
                eprintln!("\r\x1b[K{name}: {}: {} errors: {counted}", contender.way.name(), sample.errors);
            }
            Ok(sample)
        })?;
        report.tables.push(table(&name, &of_load));
        report.targets.extend(load.targets(&of_load));
        figures.extend(of_load);
    }
    figures.extend(paced::run(&everybody, time, &figures, report)?);
    contenders.into_iter().try_for_each(Contender::finish)?;
    Ok(figures)
}

/// What was counted in between: who looks for a failed request's reason finds it there.
fn counted(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let differences = after.iter().map(|(name, value)| (name, value - before.get(name).unwrap_or(&0)));
    let differences = differences.filter(|(_, difference)| *difference != 0);
    differences.map(|(name, difference)| format!("{name} {difference}")).collect::<Vec<_>>().join(", ")
}

/// Lets all contenders take turns, and makes figures of their samples.
fn in_turn(
    load: &str,
    everybody: &[(&Contender<'_>, &Pools)],
    Time { time, rounds }: Time,
    work: impl Fn((&Contender<'_>, &Pools), Duration) -> Result<Sample>,
) -> Result<Vec<Figure>> {
    let name = |(contender, _): &(&Contender<'_>, &Pools)| contender.way.name();
    let samples = turns::in_turn(load, everybody, rounds, name, |_, everyone| work(*everyone, time))?;
    let names = everybody.iter().map(|(contender, _)| contender.way.name());
    Ok(names.zip(&samples).map(|(name, samples)| figure(load, name, samples)).collect())
}

fn figure(load: &str, contender: &str, samples: &[Sample]) -> Figure {
    let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value));
    Figure {
        load: load.to_owned(),
        contender: contender.to_owned(),
        requests_per_second: of(Sample::rate),
        rates: samples.iter().map(Sample::rate).collect(),
        cpu_microseconds: of(|sample| sample.busy.as_secs_f64() * 1e6 / sample.requests as f64),
        p50_microseconds: of(|sample| sample.p50),
        p99_microseconds: of(|sample| sample.p99),
        p999_microseconds: of(|sample| sample.p999),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        requests: samples.iter().map(|sample| sample.requests).sum(),
        others: of(|sample| sample.others.as_secs_f64() / sample.seconds),
    }
}

/// One contender's figure.
fn of(figures: &[Figure], way: Way) -> Option<&Figure> {
    figures.iter().find(|figure| figure.contender == way.name())
}

/// How much faster one is than the other: the median of the rounds' own quotients, since each round has its own weather.
fn faster(figures: &[Figure], one: Way, other: Way) -> f64 {
    let rates = |way| of(figures, way).map_or(&[][..], |figure| &figure.rates);
    median(rates(one).iter().zip(rates(other)).map(|(one, other)| one / other))
}

/// A quotient of two contenders' values.
fn quotient(figures: &[Figure], value: fn(&Figure) -> f64, one: Way, other: Way) -> f64 {
    let of = |way| of(figures, way).map_or(f64::NAN, value);
    of(one) / of(other)
}

fn table(title: &str, figures: &[Figure]) -> Table {
    let head = [
        "",
        "requests/s",
        "× direct",
        "× HAProxy",
        "CPU µs",
        "own CPU µs",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "errors",
        "others' CPUs",
    ];
    let mut table = Table::new(title, &head);
    let ways = |name: &str| WAYS.into_iter().find(|way| way.name() == name);
    let beside = |figure: &Figure, other| ways(&figure.contender).map_or(f64::NAN, |way| faster(figures, way, other));
    let cpu = of(figures, Way::Direct).map_or(f64::NAN, |figure| figure.cpu_microseconds);
    for figure in figures {
        let numbers = [
            figure.requests_per_second,
            beside(figure, Way::Direct),
            beside(figure, Way::HaProxy),
            figure.cpu_microseconds,
            figure.cpu_microseconds - cpu,
            figure.p50_microseconds,
            figure.p99_microseconds,
            figure.p999_microseconds,
        ];
        table.row(
            &figure.contender,
            numbers.map(number).into_iter().chain([figure.errors.to_string(), number(figure.others)]),
        );
    }
    table
}

impl Load {
    /// What was to be reached under this load.
    fn targets(&self, figures: &[Figure]) -> Vec<Target> {
        let cpu = |way| of(figures, way).map_or(f64::NAN, |figure| figure.cpu_microseconds);
        let own = |way| cpu(way) - cpu(Way::Direct);
        let name = self.name();
        let beside = |other: Way, least: f64| {
            let what = format!("{name}: TC beside {}", other.name());
            let by_cpu = format!("{what}, by CPU per request");
            [
                Target::at_least(what, least, " ×", faster(figures, Way::Tc, other)),
                Target::at_least(
                    by_cpu,
                    least,
                    " ×",
                    quotient(figures, |figure| figure.cpu_microseconds, other, Way::Tc),
                ),
            ]
        };
        match (self.connections, self.sessions, self.uses) {
            (64, Sessions::One, Use::KeepAlive) => {
                let what = format!("{name}: own CPU per request, TC beside HAProxy");
                let share = own(Way::Tc).max(0.0) / own(Way::HaProxy);
                let own = Target::at_most(what, 0.125, " ×", share);
                [beside(Way::Direct, 1.0), beside(Way::HaProxy, 1.7)].concat().into_iter().chain([own]).collect()
            }
            (64, Sessions::One, Use::Short) => [beside(Way::Direct, 1.3), beside(Way::HaProxy, 2.0)].concat(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Vec<Figure> {
        let sample =
            |requests, busy| Sample { requests, seconds: 1.0, busy: Duration::from_micros(busy), ..Sample::default() };
        [(Way::Direct, 1000, 20_000), (Way::HaProxy, 500, 50_000), (Way::Tc, 1100, 27_500)]
            .map(|(way, requests, busy)| figure("load", way.name(), &[sample(requests, busy)]))
            .to_vec()
    }

    #[test]
    fn a_directors_own_cost_is_what_it_takes_more_than_nobody() {
        // Per request 20, 100 and 25 µs.
        let load = Load { uses: Use::KeepAlive, connections: 64, sessions: Sessions::One };
        let targets = load.targets(&figures());
        let figures: Vec<&str> = targets.iter().map(|target| target.figure.as_str()).collect();
        assert_eq!(figures, ["1.10 ×", "0.80 ×", "2.20 ×", "4.00 ×", "0.06 ×"]);
        assert_eq!(targets.iter().map(|target| target.met).collect::<Vec<_>>(), [true, false, true, true, true]);
    }

    #[test]
    fn a_load_without_targets_has_none() {
        let load = Load { uses: Use::KeepAlive, connections: 8, sessions: Sessions::One };
        assert!(load.targets(&figures()).is_empty());
    }
}
