//! The same streams through the balancer, whose two versions are two servers: no byte crosses a boundary.
//!
//! The cases have no session and go to 002, a Tomcat; the marker behind each belongs to a session of 001, an nginx. So 001
//! may see the marker and nothing else, ever; and what 002 sees has to be what the core sees.

use anyhow::{Result, ensure};
use balancer_ebpf::http::Scanned;
use balancer_fuzz::corpus::{Wanted, cases};
use balancer_fuzz::stream::{Side, Stream};
use balancer_tests::balancer::Balancer;
use balancer_tests::client::Connection;
use balancer_tests::lab::config::Shop;
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::programs;
use balancer_tests::tomcat::{Tomcat, Webapp};

use crate::judge::{Agreement, judge};
use crate::servers::{exchange, for_each, nginx};
use crate::streams;

const MUTANTS: usize = 600;
const MARKER: &str = "GET /marker HTTP/1.1\r\nHost: a\r\nCookie: JSESSIONID=One\r\nConnection: close\r\n\r\n";

#[test]
fn no_byte_crosses_a_boundary_under_tc() -> Result<()> {
    no_byte_crosses(Hook::Tc)
}

#[test]
fn no_byte_crosses_a_boundary_under_xdp() -> Result<()> {
    no_byte_crosses(Hook::Xdp)
}

fn no_byte_crosses(hook: Hook) -> Result<()> {
    let lab = Lab::builder("through").hook(hook).backends(2).build()?;
    let _nginx = nginx(&lab)?;
    let mut tomcat = Tomcat::serve(&lab, 2, &[Webapp::seen()])?;
    tomcat.wait(&lab)?;
    let balancer = Balancer::start(&lab, programs::balancer()?, &Shop::new(&[("001", &[1])]).to_toml(&lab))?;
    let issued = Connection::open(lab.client(), lab.service())?.get("/issue", None)?;
    ensure!(issued.set_cookie("JSESSIONID").as_deref() == Some("One"), "001 issues {issued:?}");
    balancer.cli(&["version", "add", "shop", "002", "--backend", &lab.application(2).to_string()])?;
    balancer.cli(&["wait", "shop", "--for", "healthy=002", "--timeout", "10s"])?;

    let service = lab.service();
    let tally = for_each(&lab, &streams(MUTANTS, 4, MARKER), |bytes, quiet| {
        let run = exchange(service, bytes, quiet)?;
        let of_001 = |line: &Option<String>| line.as_deref() == Some("GET /marker");
        if run.seen.iter().any(|seen| seen.version.is_some() && !of_001(&seen.line)) {
            return Ok(Err(format!("001 sees what is not its own\n{run:?}")));
        }
        let core = Stream::read(Side::Request, bytes);
        // Behind a case that ends early the marker is a part of something else.
        let apart = core.messages.last().is_some_and(|last| last.start + MARKER.len() == bytes.len());
        let moved = run.seen.last().is_some_and(|seen| seen.version.is_some());
        Ok(match judge(bytes, &run) {
            Ok(Agreement::Same) if apart && !moved => Err(format!("the marker stayed on 002\n{run:?}")),
            Ok(agreement) => Ok(format!("{agreement:?}")),
            Err(why) => Err(format!("{why}\n{run:?}")),
        })
    })?;
    for (agreement, least) in [("Same", 50), ("Refused", 3), ("Unframed", 100)] {
        ensure!(tally.get(agreement).is_some_and(|count| *count >= least), "{agreement} is rare: {tally:?}");
    }
    reasons_are_counted(&balancer)
}

/// Why the cases are not followed stands in the director's counters.
fn reasons_are_counted(balancer: &Balancer) -> Result<()> {
    let status: serde_json::Value = serde_json::from_str(&balancer.cli(&["status", "--json"])?)?;
    let counters = status["counters"].as_array().into_iter().flatten();
    for case in cases().into_iter().filter(|case| case.side == Side::Request) {
        let Wanted::Unframed(_, reason) = case.wanted else { continue };
        let name = format!("unframed_{}", Scanned::NAMES[reason as usize]);
        let counted = counters.clone().any(|counter| counter["name"] == name && counter["value"].as_u64() > Some(0));
        ensure!(counted, "{}: {name} is not counted", case.name);
    }
    Ok(())
}
