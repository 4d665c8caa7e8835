//! Downloads of large files: bytes per second beside direct connections, with the offloads that are usual, and with those that XDP
//! leaves.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::contender::{Contender, Way};
use super::report::{Report, Target};
use super::servers::application::LARGE;
use super::statistics::median;
use super::table::{Table, number};
use super::{Options, servers, turns};
use crate::client::Connection;

/// The medians of one contender with one kind of download.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    load: String,
    contender: String,
    megabytes_per_second: f64,
    /// The same of each round.
    rates: Vec<f64>,
    /// Of the whole machine.
    cpu_microseconds_per_megabyte: f64,
    /// Downloads that broke off, or of which nothing came for ten seconds.
    errors: u64,
}

const WAYS: [Way; 7] = [Way::Direct, Way::Dnat, Way::HaProxy, Way::Nginx, Way::Tc, Way::DirectAsXdp, Way::Xdp];
/// Downloads at a time.
const AT_A_TIME: [usize; 2] = [1, 16];

/// One run: bytes per second, and the CPU time of a byte.
struct Sample {
    rate: f64,
    cost: f64,
    errors: u64,
}

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin(options.extent)?;
    let balancer = options.balancer()?;
    let labs = Way::labs(&WAYS, 2)?;
    let contenders = Contender::all(&WAYS, &labs, &balancer)?;
    report.ran.push(servers::versions(&labs[0], &[("nginx", "-v"), ("haproxy", "-v"), ("nft", "-v")])?);
    let (rounds, time) = (options.extent.choose(3, 5), Duration::from_secs(options.extent.choose(1, 3)));
    report.ran.push(format!("{rounds} rounds of {} s or one download for each, whatever is longer", time.as_secs()));
    // Without sessions all of one client's downloads would come from one backend through the balancer, and from both directly.
    let sessions = contenders.iter().map(|contender| contender.sessions(1)).collect::<Result<Vec<_>>>()?;
    let mut figures = Vec::new();
    for (file, bytes) in LARGE {
        for at_a_time in AT_A_TIME {
            let load = format!("{file}, {at_a_time} at a time");
            let of_load = measure(&load, &contenders, rounds, |index, contender| {
                download(contender, &sessions[index], (file, bytes), at_a_time, time)
            })?;
            report.tables.push(table(&load, &of_load));
            report.targets.extend(targets(&load, &of_load));
            figures.extend(of_load);
        }
    }
    contenders.into_iter().try_for_each(Contender::finish)?;
    let failed: u64 =
        figures.iter().filter(|figure| figure.contender.starts_with("balancer")).map(|figure| figure.errors).sum();
    report.finish("bulk", &figures)?;
    ensure!(failed == 0, "{failed} downloads through the balancer failed");
    Ok(())
}

fn measure(
    load: &str,
    contenders: &[Contender<'_>],
    rounds: usize,
    work: impl Fn(usize, &Contender<'_>) -> Result<Sample>,
) -> Result<Vec<Figure>> {
    let samples = turns::in_turn(load, contenders, rounds, |contender| contender.way.name(), work)?;
    let figure = |(contender, samples): (&Contender<'_>, &Vec<Sample>)| Figure {
        load: load.to_owned(),
        contender: contender.way.name().to_owned(),
        megabytes_per_second: median(samples.iter().map(|sample| sample.rate / 1e6)),
        rates: samples.iter().map(|sample| sample.rate / 1e6).collect(),
        cpu_microseconds_per_megabyte: median(samples.iter().map(|sample| sample.cost * 1e6 * 1e6)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
    };
    Ok(contenders.iter().zip(&samples).map(figure).collect())
}

/// Downloads again and again, from as many threads, each with a connection that it keeps.
fn download(
    contender: &Contender<'_>,
    sessions: &[Vec<String>],
    (file, bytes): (&str, u64),
    at_a_time: usize,
    time: Duration,
) -> Result<Sample> {
    let (start, before) = (Instant::now(), Busy::now()?);
    let (total, errors): (u64, u64) = std::thread::scope(|scope| {
        let work = |index: usize| {
            let backend = index % sessions.len();
            let (to, cookies) = (contender.address(1 + backend), &sessions[backend][0]);
            let request = format!("GET /{file} HTTP/1.1\r\nHost: {to}\r\nCookie: {cookies}\r\n\r\n");
            scope.spawn(move || {
                contender.lab.client().enter()?;
                let mut connection = Connection::here(to)?;
                let (mut received, mut errors) = (0, 0);
                while received + errors == 0 || start.elapsed() < time {
                    match get(&connection, &request, bytes) {
                        Ok(()) => received += bytes,
                        Err(error) => {
                            errors += 1;
                            eprintln!("\n{file} through {}: {error:#}", contender.way.name());
                            connection = Connection::here(to)?;
                        }
                    }
                }
                anyhow::Ok((received, errors))
            })
        };
        let threads: Vec<_> = (0..at_a_time).map(work).collect();
        let mut sums = (0, 0);
        for thread in threads {
            let (received, errors) = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            sums = (sums.0 + received, sums.1 + errors);
        }
        anyhow::Ok(sums)
    })?;
    let busy = Busy::now()?.own_since(before).as_secs_f64();
    Ok(Sample { rate: total as f64 / start.elapsed().as_secs_f64(), cost: busy / total as f64, errors })
}

/// One download, whose bytes nobody looks at.
fn get(connection: &Connection, request: &str, bytes: u64) -> Result<()> {
    let mut stream = connection.stream();
    stream.write_all(request.as_bytes()).context("ask for a file")?;
    let mut buffer = vec![0; 256 << 10];
    let mut head = Vec::new();
    let mut left = loop {
        let count = stream.read(&mut buffer).context("read a head")?;
        ensure!(count > 0, "the connection was closed before the head was there");
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            ensure!(head.starts_with(b"HTTP/1.1 200"), "the answer is: {}", String::from_utf8_lossy(&head[..end]));
            break bytes - (head.len() - end - 4) as u64;
        }
    };
    while left > 0 {
        let count = stream.read(&mut buffer).context("read a file")? as u64;
        ensure!(count > 0, "the connection was closed {left} bytes before the end");
        left = left.checked_sub(count).context("there is more than the file")?;
    }
    Ok(())
}

/// How much faster one is than the other: the median of the rounds' own quotients.
fn faster(figures: &[Figure], one: &str, other: Way) -> f64 {
    let rates = |name: &str| {
        let found = figures.iter().find(|figure| figure.contender == name);
        found.map_or(&[][..], |figure| &figure.rates)
    };
    median(rates(one).iter().zip(rates(other.name())).map(|(one, other)| one / other))
}

fn table(load: &str, figures: &[Figure]) -> Table {
    let head = ["", "MB/s", "× direct", "× direct, offloads as for XDP", "CPU µs/MB", "errors"];
    let mut table = Table::new(load, &head);
    for figure in figures {
        let beside = [Way::Direct, Way::DirectAsXdp].map(|way| faster(figures, &figure.contender, way));
        let numbers = [figure.megabytes_per_second, beside[0], beside[1], figure.cpu_microseconds_per_megabyte];
        table.row(&figure.contender, numbers.map(number).into_iter().chain([figure.errors.to_string()]));
    }
    table
}

fn targets(load: &str, figures: &[Figure]) -> Vec<Target> {
    let pairs = [(Way::Tc, Way::Direct), (Way::Xdp, Way::DirectAsXdp)];
    let target = |(way, other): (Way, Way)| {
        let what = format!("{load}: {} beside {}", way.name(), other.name());
        Target::at_least(what, 0.95, " ×", faster(figures, way.name(), other))
    };
    pairs.map(target).into()
}
