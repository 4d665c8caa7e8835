//! Floods of requests leave alone who is in use of a session (D13): see [`balancer_tests::flood`].

use anyhow::{Result, ensure};
use balancer_tests::flood::flood;
use balancer_tests::progrun::Program;

/// In every run; the table has 8192 places.
const SOME: u64 = 100_000;

fn without_cookies(program: Program, requests: u64) -> Result<()> {
    let outcome = flood(program, |flood| flood.without_cookies(requests))?;
    ensure!(outcome.evicted > requests / 2, "hardly anybody was displaced: {outcome:?}");
    Ok(())
}

fn made_up_cookies(program: Program, requests: u64) -> Result<()> {
    let outcome = flood(program, |flood| flood.with_made_up_cookies(requests))?;
    ensure!(outcome.evicted == 0, "somebody was displaced: {outcome:?}");
    Ok(())
}

#[test]
fn d13_requests_without_cookies_displace_nobody_who_came_back() -> Result<()> {
    Program::ALL.into_iter().try_for_each(|program| without_cookies(program, SOME))
}

#[test]
fn d13_made_up_cookies_change_no_word_of_the_table() -> Result<()> {
    Program::ALL.into_iter().try_for_each(|program| made_up_cookies(program, SOME))
}

#[test]
#[ignore = "minutes: the floods of the requirement, 5 and 10 million"]
fn d13_floods_of_millions() -> Result<()> {
    without_cookies(Program::Xdp, 5_000_000)?;
    made_up_cookies(Program::Xdp, 10_000_000)
}
