//! Logins a second: each response issues an id that has to be bound before it leaves.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::super::contender::{Contender, Way};
use super::super::report::Report;
use super::super::statistics::median;
use super::super::table::{Table, number};
use super::super::wrk::{Cookies, Sample, Target, Wrk};
use super::super::{Extent, servers, turns};

/// Logins through one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figure {
    contender: String,
    logins_per_second: f64,
    errors: u64,
}

const WAYS: [Way; 4] = [Way::Direct, Way::HaProxy, Way::Tc, Way::Xdp];
const CONNECTIONS: usize = 64;

/// Measures them.
pub(super) fn run(balancer: &Path, extent: Extent, report: &mut Report) -> Result<Vec<Figure>> {
    let labs = Way::labs(&WAYS, 2)?;
    let contenders = Contender::all(&WAYS, &labs, balancer)?;
    report.ran.push(servers::versions(&labs[0], &[("wrk", "-v"), ("nginx", "-v"), ("haproxy", "-v")])?);
    let (rounds, time) = (extent.choose(3, 5), Duration::from_secs(extent.choose(1, 2)));
    let name = |contender: &Contender<'_>| contender.way.name();
    let samples = turns::in_turn("logins", &contenders, rounds, name, |_, contender| {
        let aim = |backend| Target { to: contender.address(backend), cookies: Cookies::One(None) };
        let targets = [1, 2].map(aim).to_vec();
        let wrk = Wrk { targets, connections: CONNECTIONS, path: "/login", close: false, rate: None };
        wrk.run(contender.lab, time)
    })?;
    let figure = |(contender, samples): (&Contender<'_>, &Vec<Sample>)| Figure {
        contender: contender.way.name().to_owned(),
        logins_per_second: median(samples.iter().map(Sample::rate)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
    };
    let figures: Vec<Figure> = contenders.iter().zip(&samples).map(figure).collect();
    let mut table = Table::new(format!("Logins, keep-alive, {CONNECTIONS} connections"), &["", "logins/s", "× direct", "errors"])
        .note("Each response issues an id. The balancer binds it before the response leaves; HAProxy adds a cookie of its own and remembers nothing.");
    let direct = figures.first().map_or(f64::NAN, |figure| figure.logins_per_second);
    for Figure { contender, logins_per_second, errors } in &figures {
        table.row(
            contender,
            [*logins_per_second, logins_per_second / direct].map(number).into_iter().chain([errors.to_string()]),
        );
    }
    report.tables.push(table);
    contenders.into_iter().try_for_each(Contender::finish)?;
    Ok(figures)
}
