//! Requests per second and CPU per request, beside what people would use instead.
//!
//! | variant | what stands in the director's namespace |
//! |---|---|
//! | direct | the kernel's routing: clients connect to the backends themselves |
//! | HAProxy | HAProxy with cookie persistence, as its manual advises for speed |
//! | TC, XDP | the balancer, by either hook |
//!
//! Each balancer has a lab of its own, so that no program is attached where another variant is measured. wrk has a thread per
//! backend, and each thread a session that this backend issued; short connections have a client of their own. The variants take turns in every round; what is reported
//! are medians of rounds, and ratios of these.

mod haproxy;
mod nginx;
mod short;
mod variant;
mod wrk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Machine, median, report};
use crate::balancer::Balancer;
use crate::lab::config::Shop;
use crate::lab::{Hook, Lab};

use variant::Variant;
use wrk::{Mode, Sample};

/// What may be asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The balancer's program.
    pub balancer: PathBuf,
    /// Seconds of load per variant and round.
    pub seconds: u64,
    pub rounds: usize,
}

/// The medians of one variant under one kind of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub load: String,
    pub variant: String,
    pub requests_per_second: f64,
    /// Of the whole machine, clients and backends included.
    pub cpu_microseconds: f64,
    pub p50_microseconds: f64,
    pub p99_microseconds: f64,
    /// In all rounds: what was not answered, or not by 2xx or 3xx.
    pub errors: u64,
    pub requests: u64,
}

/// A whole result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub machine: Machine,
    pub programs: Vec<String>,
    pub seconds: u64,
    pub rounds: usize,
    pub figures: Vec<Figure>,
}

/// Backend hosts, and wrk's threads.
const BACKENDS: usize = 2;
/// Addresses of the client: enough that the balancer's choice by address meets every backend.
const SOURCES: u8 = 24;
/// Room for connections of a few seconds, all of which linger.
const FLOWS: u32 = 262_144;

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let balancer = options.balancer.canonicalize();
    let balancer = balancer.with_context(|| format!("find the balancer {}", options.balancer.display()))?;
    let labs = [lab(Hook::Tc)?, lab(Hook::Tc)?, lab(Hook::Xdp)?];
    let [plain, tc, xdp] = &labs;
    let mut backends = Vec::new();
    for lab in &labs {
        backends.extend(nginx::start_all(lab)?);
    }
    let haproxy = haproxy::start(plain)?;
    let daemons = [tc, xdp].map(|lab| Balancer::start(lab, &balancer, &config(lab)));
    let [tc_daemon, xdp_daemon] = daemons;
    let daemons = (tc_daemon?, xdp_daemon?);
    let variants = [
        Variant::direct(plain)?,
        Variant::through("HAProxy", plain)?,
        Variant::through("TC", tc)?,
        Variant::through("XDP", xdp)?,
    ];
    let result = measure(options, &variants, programs(plain)?)?;
    drop((haproxy, backends));
    daemons.0.detach().context("detach the balancer by TC")?;
    daemons.1.detach().context("detach the balancer by XDP")?;
    print(&result);
    println!("\n{}", report::write("http.json", &result)?.display());
    let errors: u64 = result.figures.iter().map(|figure| figure.errors).sum();
    ensure!(errors == 0, "{errors} requests failed");
    Ok(())
}

fn lab(hook: Hook) -> Result<Lab> {
    Lab::builder("bench").backends(BACKENDS).client_addresses(SOURCES).hook(hook).build()
}

fn config(lab: &Lab) -> String {
    Shop { flows: FLOWS, ..Shop::new(&[("001", &[1, 2])]) }.to_toml(lab)
}

/// What is compared, by name and version.
fn programs(lab: &Lab) -> Result<Vec<String>> {
    let first_line = |program: &str, argument: &str| -> Result<String> {
        let output = lab.director().command(program).arg(argument).output();
        let output = output.with_context(|| format!("start {program}: is it installed?"))?;
        // nginx and wrk say it as an error.
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
    };
    Ok(vec![first_line("wrk", "-v")?, first_line("nginx", "-v")?, first_line("haproxy", "-v")?])
}

fn measure(options: &Options, variants: &[Variant<'_>], programs: Vec<String>) -> Result<Measured> {
    let modes = Mode::ALL;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); modes.len() * variants.len()];
    for round in 0..options.rounds {
        eprint!("\rround {} of {}", round + 1, options.rounds);
        for (mode_index, mode) in modes.into_iter().enumerate() {
            for turn in 0..variants.len() {
                // Whoever comes first in a round is another one each time.
                let index = (turn + round) % variants.len();
                let time = Duration::from_secs(options.seconds);
                let sample = match mode {
                    Mode::Short => short::run(&variants[index], time)?,
                    Mode::KeepAlive | Mode::Close => wrk::run(&variants[index], mode, time)?,
                };
                samples[mode_index * variants.len() + index].push(sample);
            }
        }
    }
    eprintln!();
    let works = modes.into_iter().flat_map(|mode| variants.iter().map(move |variant| (mode, variant)));
    let figures = works.zip(samples).map(|((mode, variant), samples)| figure(mode, variant, &samples)).collect();
    let Options { seconds, rounds, .. } = *options;
    Ok(Measured { machine: Machine::here()?, programs, seconds, rounds, figures })
}

fn figure(mode: Mode, variant: &Variant<'_>, samples: &[Sample]) -> Figure {
    let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
    Figure {
        load: mode.name().to_owned(),
        variant: variant.name.to_owned(),
        requests_per_second: of(|sample| sample.requests as f64 / sample.seconds),
        cpu_microseconds: of(|sample| sample.busy.as_secs_f64() * 1e6 / sample.requests as f64),
        p50_microseconds: of(|sample| sample.p50),
        p99_microseconds: of(|sample| sample.p99),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        requests: samples.iter().map(|sample| sample.requests).sum(),
    }
}

fn print(result: &Measured) {
    println!("{}", result.machine);
    println!("{}", result.programs.join("; "));
    println!("{} rounds of {} s; {} connections, {BACKENDS} backends", result.rounds, result.seconds, wrk::CONNECTIONS);
    let head = ["", "requests/s", "× direct", "× HAProxy", "CPU µs", "less direct's", "p50 µs", "p99 µs", "errors"];
    for mode in Mode::ALL {
        let figures: Vec<&Figure> = result.figures.iter().filter(|figure| figure.load == mode.name()).collect();
        let of = |name: &str| figures.iter().find(|figure| figure.variant == name);
        let rate = |name: &str| of(name).map_or(f64::NAN, |figure| figure.requests_per_second);
        let cpu = of("direct").map_or(f64::NAN, |figure| figure.cpu_microseconds);
        let rows: Vec<Vec<String>> = figures
            .iter()
            .map(|figure| {
                let numbers = [
                    figure.requests_per_second,
                    figure.requests_per_second / rate("direct"),
                    figure.requests_per_second / rate("HAProxy"),
                    figure.cpu_microseconds,
                    figure.cpu_microseconds - cpu,
                    figure.p50_microseconds,
                    figure.p99_microseconds,
                ];
                let cells = numbers.into_iter().map(report::number);
                [figure.variant.clone()].into_iter().chain(cells).chain([figure.errors.to_string()]).collect()
            })
            .collect();
        println!("\n{}\n{}", mode.name(), report::table(&head, &rows));
    }
}
