//! Flips under load: how soon a new session is on the new version, and what fails meanwhile.
//!
//! Somebody without a session connects and asks again and again, while wrk keeps connections busy with sessions that there are. Version 001
//! is on the first backend, 002 on the second, and the flips go to and fro between them.

mod deed;
mod probe;

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::report::{Report, Target};
use super::statistics::{highest, median};
use super::table::{Table, number};
use super::wrk::{Cookies, Sample, Target as Aim, Wrk};
use super::{Extent, Options, servers};

use crate::lab::Lab;

use deed::{Director, Means};
use probe::{Probe, Sight};

/// What became of one director's flips.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    director: String,
    every_milliseconds: u64,
    flips: usize,
    /// From the command's start: until the command was done, until the first new session on the new version had its answer, and until
    /// the last that went to the old version asked.
    command_milliseconds: Vec<f64>,
    first_milliseconds: Vec<f64>,
    last_old_milliseconds: Vec<f64>,
    /// Flips of which nobody saw anything before the next one.
    unseen: usize,
    requests: u64,
    errors: u64,
}

/// One flip.
struct Flip {
    start: Instant,
    done: Instant,
    /// The backend that new sessions go to from here on.
    to: usize,
}

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin(options.extent)?;
    let balancer = options.balancer()?;
    let mut figures = Vec::new();
    for means in Means::ALL {
        eprint!("\r\x1b[K{}", means.name());
        figures.push(measure(means, &balancer, options.extent, &mut report).with_context(|| means.name())?);
    }
    eprint!("\r\x1b[K");
    report.ran.push(format!(
        "flips to and fro between two versions, {CONNECTIONS} connections of wrk with {RATE} requests/s beside, and one client who connects anew for each; a reload every second, anything else every 100 ms"
    ));
    report.tables.push(table(&figures));
    for figure in figures.iter().filter(|figure| figure.director.starts_with("balancer")) {
        let what = |of: &str| format!("{of}: {}", figure.director);
        report.targets.push(Target::at_most(what("errors of flips under load"), 0.0, "", figure.errors as f64));
        let first = median(figure.first_milliseconds.iter().copied());
        report.targets.push(Target::at_most(what("first new session on the new version"), 5.0, " ms", first));
    }
    let failed: u64 =
        figures.iter().filter(|figure| figure.director.starts_with("balancer")).map(|figure| figure.errors).sum();
    report.finish("flip", &figures)?;
    ensure!(failed == 0, "{failed} requests to the balancer failed");
    Ok(())
}

/// Milliseconds that a disk takes to have what was written: the balancer writes its state down before it flips, twice that.
fn disk(lab: &Lab) -> Result<f64> {
    let path = lab.dir().join("written");
    let write = |_| {
        let mut file = File::create(&path).context("write to the lab's disk")?;
        file.write_all(&[0; 4096]).context("write to the lab's disk")?;
        let start = Instant::now();
        file.sync_all().context("wait for the lab's disk")?;
        anyhow::Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    Ok(median((0..32).map(write).collect::<Result<Vec<_>>>()?))
}

/// Of wrk, beside the one who asks: so many requests a second that there is CPU left for whoever flips.
const CONNECTIONS: usize = 16;
const RATE: f64 = 5000.0;

fn measure(means: Means, balancer: &std::path::Path, extent: Extent, report: &mut Report) -> Result<Figure> {
    let lab = means.lab()?;
    if report.ran.is_empty() {
        report.ran.push(servers::versions(&lab, &[("wrk", "-v"), ("nginx", "-v"), ("haproxy", "-v")])?);
        report.ran.push(format!("the disk that the state lies on: {:.1} ms for an fsync", disk(&lab)?));
    }
    let mut director = Director::start(means, &lab, balancer)?;
    let every = means.every();
    let flips = extent.choose(5_000, 20_000) / every.as_millis() as usize;
    let time = every * flips as u32 + Duration::from_secs(2);
    // A session of each version.
    let mut aims = Vec::new();
    for backend in [1, 2] {
        director.flip(backend)?;
        std::thread::sleep(every.max(Duration::from_millis(500)));
        let cookies = Cookies::One(Some(probe::log_in(&lab, backend)?));
        aims.push(Aim { to: lab.service(), cookies });
    }
    let wrk = Wrk { targets: aims, connections: CONNECTIONS, path: "/", close: false, rate: Some(RATE) };
    let (deeds, sights, sample) = std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk.run(&lab, time));
        let probe = Probe::start(scope, &lab);
        std::thread::sleep(Duration::from_millis(500));
        let deeds: Result<Vec<Flip>> = (0..flips)
            .map(|turn| {
                let (start, to) = (Instant::now(), 1 + turn % 2);
                director.flip(to)?;
                let done = Instant::now();
                std::thread::sleep(every.saturating_sub(start.elapsed()));
                Ok(Flip { start, done, to })
            })
            .collect();
        let sights = probe.finish();
        let sample: Result<Sample> = load.join().map_err(|_| anyhow!("the load panicked"))?;
        anyhow::Ok((deeds?, sights?, sample?))
    })?;
    director.finish()?;
    Ok(figure(means, &deeds, &sights, &sample))
}

fn figure(means: Means, flips: &[Flip], sights: &[Sight], sample: &Sample) -> Figure {
    let since = |start: Instant, then: Instant| then.saturating_duration_since(start).as_secs_f64() * 1e3;
    let (mut first, mut last_old) = (Vec::new(), Vec::new());
    for (index, flip) in flips.iter().enumerate() {
        let until = flips.get(index + 1).map(|next| next.start);
        let within = |sight: &&Sight| sight.asked >= flip.start && until.is_none_or(|until| sight.answered < until);
        let of = |wanted: bool| {
            sights.iter().filter(within).filter(move |sight| sight.by.is_some_and(|by| (by == flip.to) == wanted))
        };
        first.extend(of(true).next().map(|sight| since(flip.start, sight.answered)));
        last_old.push(of(false).next_back().map_or(0.0, |sight| since(flip.start, sight.asked)));
    }
    Figure {
        director: means.name().to_owned(),
        every_milliseconds: means.every().as_millis() as u64,
        flips: flips.len(),
        command_milliseconds: flips.iter().map(|flip| since(flip.start, flip.done)).collect(),
        unseen: flips.len() - first.len(),
        first_milliseconds: first,
        last_old_milliseconds: last_old,
        requests: sample.requests + sights.len() as u64,
        errors: sample.errors + sights.iter().filter(|sight| sight.by.is_none()).count() as u64,
    }
}

fn table(figures: &[Figure]) -> Table {
    let head = [
        "",
        "flips",
        "command ms",
        "worst",
        "first on new ms",
        "worst",
        "last to old ms",
        "worst",
        "unseen",
        "requests",
        "errors",
    ];
    let note = "Milliseconds from the command's start. First on new: the answer to the first new session on the new version; last to \
                old: when the last new session that still went to the old one asked. Unseen: not before the next flip. A reload is a \
                signal, which is done at once; what it asks for is not.";
    let mut table = Table::new("Flips under load", &head).note(note);
    for figure in figures {
        let of = |values: &Vec<f64>| [median(values.iter().copied()), highest(values.iter().copied())].map(number);
        let [command, command_worst] = of(&figure.command_milliseconds);
        let [first, first_worst] = of(&figure.first_milliseconds);
        let [last, last_worst] = of(&figure.last_old_milliseconds);
        let counts = [figure.unseen as u64, figure.requests, figure.errors].map(|count| count.to_string());
        let times = [figure.flips.to_string(), command, command_worst, first, first_worst, last, last_worst];
        table.row(&figure.director, times.into_iter().chain(counts));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_is_judged_by_those_who_asked_between_it_and_the_next() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let flips = [
            Flip { start: at(100), done: at(101), to: 2 },
            Flip { start: at(200), done: at(203), to: 1 },
            Flip { start: at(300), done: at(301), to: 2 },
        ];
        let sight = |asked, answered, by| Sight { asked: at(asked), answered: at(answered), by };
        let sights = [
            sight(99, 101, Some(1)),
            sight(101, 103, Some(1)),
            sight(103, 105, Some(2)),
            sight(201, 204, Some(1)),
            sight(250, 260, None),
            sight(301, 303, Some(1)),
        ];
        let figure = figure(Means::Api, &flips, &sights, &Sample { requests: 10, errors: 1, ..Sample::default() });
        assert_eq!(figure.first_milliseconds, [5.0, 4.0]);
        assert_eq!(figure.last_old_milliseconds, [1.0, 0.0, 1.0]);
        assert_eq!(figure.command_milliseconds, [1.0, 3.0, 1.0]);
        assert_eq!((figure.unseen, figure.requests, figure.errors), (1, 16, 2));
    }
}
