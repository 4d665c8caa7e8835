//! Latencies at a load that all can bear: half of HAProxy's best.

use anyhow::{Context, Result};

use super::super::contender::{Contender, Way};
use super::super::report::{Report, Target};
use super::super::table::{Table, number};
use super::super::wrk::Wrk;
use super::loads::{Load, Pools, Sessions, Use};
use super::{Figure, Time, in_turn, of, quotient};

const LOAD: Load = Load { uses: Use::KeepAlive, connections: 64, sessions: Sessions::One };

/// Measures it, with what HAProxy did without a limit.
pub(super) fn run(
    everybody: &[(&Contender<'_>, &Pools)],
    time: Time,
    former: &[Figure],
    report: &mut Report,
) -> Result<Vec<Figure>> {
    let best = former.iter().find(|figure| figure.load == LOAD.name() && figure.contender == Way::HaProxy.name());
    let rate = best.context("HAProxy has been measured")?.requests_per_second / 2.0;
    let name = format!("{}, at half of HAProxy's best", LOAD.name());
    let figures = in_turn(&name, everybody, time, |(contender, pools), time| {
        Wrk { rate: Some(rate), ..LOAD.wrk(contender, pools) }.run(contender.lab, time)
    })?;
    report.tables.push(table(&name, &figures));
    for (other, most) in [(Way::HaProxy, 1.0), (Way::Direct, 1.2)] {
        let figure = quotient(&figures, |figure| figure.p99_microseconds, Way::Tc, other);
        let what = format!("p99 at half of HAProxy's best: TC beside {}", other.name());
        report.targets.push(Target::at_most(what, most, " ×", figure));
    }
    Ok(figures)
}

fn table(title: &str, figures: &[Figure]) -> Table {
    let head = ["", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs", "own CPU µs", "errors"];
    let mut table = Table::new(title, &head);
    let direct = of(figures, Way::Direct).map_or(f64::NAN, |figure| figure.cpu_microseconds);
    for figure in figures {
        let numbers = [
            figure.requests_per_second,
            figure.p50_microseconds,
            figure.p99_microseconds,
            figure.p999_microseconds,
            figure.cpu_microseconds,
            figure.cpu_microseconds - direct,
        ];
        table.row(&figure.contender, numbers.map(number).into_iter().chain([figure.errors.to_string()]));
    }
    table
}
