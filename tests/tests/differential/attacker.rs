//! An attacker among the users of a pooling proxy: nginx mixes everybody's requests over few connections to the balancer.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use balancer_fuzz::stream::{Side, Stream};
use balancer_tests::client::{Connection, Request};
use balancer_tests::clients::nginx;
use balancer_tests::lab::{Hook, Lab};

use crate::servers::{QUIET, exchange};
use crate::streams;
use crate::through::Shop;

const MUTANTS: usize = 800;
/// Behind each trick, and from the attacker as well.
const MARKER: &str = "GET /attacker HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const ATTACKERS: usize = 4;
/// Half of them have a session on 001, the others none.
const VICTIMS: usize = 8;

#[test]
fn nobody_behind_a_proxy_gets_what_is_not_theirs_under_tc() -> Result<()> {
    nobody_gets_what_is_not_theirs(Hook::Tc)
}

#[test]
fn nobody_behind_a_proxy_gets_what_is_not_theirs_under_xdp() -> Result<()> {
    nobody_gets_what_is_not_theirs(Hook::Xdp)
}

fn nobody_gets_what_is_not_theirs(hook: Hook) -> Result<()> {
    let lab = Lab::builder("attacker").hook(hook).backends(2).build()?;
    let _shop = Shop::open(&lab)?;
    let _proxy = nginx::start(&lab)?;
    let all = streams(MUTANTS, 5, MARKER);
    let followed =
        all.iter().filter(|(_, bytes)| Stream::read(Side::Request, bytes).end.is_none()).cloned().collect::<Vec<_>>();
    // Where all is followed, everybody gets their version too.
    let tally = attack(&lab, &followed)?;
    ensure!(tally.served > 100 && tally.elsewhere == 0, "{tally:?}");
    // What is not followed stays where it is, and whoever comes behind it on the proxy's connection: but with their own
    // page.
    let tally = attack(&lab, &all)?;
    ensure!(tally.served > 100, "{tally:?}");
    Ok(())
}

/// What became of the others' requests.
#[derive(Debug, Default)]
struct Tally {
    served: u64,
    /// Answered by the other version.
    elsewhere: u64,
}

/// Sends the streams to the proxy, and requests of others at the same time.
fn attack(lab: &Lab, streams: &[(String, Vec<u8>)]) -> Result<Tally> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let victims: Vec<_> = (0..VICTIMS)
            .map(|number| {
                let over = &over;
                scope.spawn(move || victim(lab, number, over))
            })
            .collect();
        let attackers: Vec<_> = streams
            .chunks(streams.len().div_ceil(ATTACKERS))
            .map(|some| {
                scope.spawn(|| {
                    lab.client().run(|| {
                        some.iter().try_for_each(|(_, bytes)| exchange(nginx::ADDRESS, bytes, QUIET[0]).map(drop))
                    })
                })
            })
            .collect();
        let attacks: Result<Vec<()>> = attackers.into_iter().map(|one| one.join().expect("no thread panics")).collect();
        over.store(true, Ordering::Relaxed);
        let told: Result<Vec<Tally>> = victims.into_iter().map(|one| one.join().expect("no thread panics")).collect();
        attacks?;
        let tally = told?.into_iter().fold(Tally::default(), |sum, one| Tally {
            served: sum.served + one.served,
            elsewhere: sum.elsewhere + one.elsewhere,
        });
        println!("{} attacks, {tally:?}", streams.len());
        Ok(tally)
    })
}

/// Somebody who asks for a page that nobody else asks for, again and again, and gets it.
fn victim(lab: &Lab, number: usize, over: &AtomicBool) -> Result<Tally> {
    let mut connection = Connection::open(lab.client(), nginx::ADDRESS)?;
    let mut tally = Tally::default();
    while !over.load(Ordering::Relaxed) {
        let target = format!("/victim/{number}/{}", tally.served);
        let request = Request::get(&target);
        let has_session = number.is_multiple_of(2);
        let request = if has_session { request.session("One") } else { request };
        let response = connection.request(&request)?;
        let seen = response.header("X-Seen").unwrap_or_default();
        let own = seen.split(' ').take(2).eq(["GET", target.as_str()]);
        ensure!(response.status == 200 && own, "{target}: {response:?}");
        tally.served += 1;
        tally.elsewhere += u64::from(response.header("X-Version").is_some() != has_session);
    }
    Ok(tally)
}
