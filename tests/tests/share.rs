//! The share of a canary, as the loaded program takes it and counts it (D17): 100,000 new sessions of 20,000 clients, each with its
//! whole conversation.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::progrun::talk::Talk;
use balancer_tests::progrun::{COOKIE, Programs, Room, Setting, World};

const CLIENTS: u32 = 20_000;
const SESSIONS: u32 = 5;
const ROOM: Room = Room { flows: 32_768, stashes: 64, buckets: 32_768 };
/// Of so many sessions somebody comes back, from another address.
const RETURN: u32 = 20;

/// The share that is asked for, in percent.
const ASKED: u64 = 10;

#[test]
fn d17_the_measured_share_of_100_000_new_sessions_is_the_asked_one() -> Result<()> {
    let lab = Lab::builder("share").hook(Hook::Tc).backends(2).build()?;
    let world = World::of(&lab)?;
    let setting = Setting::of(&lab, ROOM);
    lab.director().run(|| {
        let mut programs = Programs::load(ROOM)?;
        programs.configure(&setting)?;
        let mut policy = setting.policy();
        (policy.canary, policy.canary_share, policy.canary_salt) =
            (1, (ASKED * (1 << 32) / 100) as u32, 0xfeed_beef_cafe_f00d);
        programs.set_policy(policy)?;
        let IpAddr::V4(peer) = world.client.peer else { bail!("the lab is one of IPv4") };
        let [a, b, _, _] = peer.octets();
        let from = |client: u32| [a, b, 100 + (client >> 8) as u8, client as u8];
        let mut homes = Vec::new();
        for client in 0..CLIENTS {
            let mut talk = Talk::new(&setting, &world, 40_000).coming_from(from(client));
            for session in 0..SESSIONS {
                if session == 0 {
                    talk.open(&programs, &request(None))?;
                } else {
                    // On the same connection, without a cookie: a newcomer all the same, and of the same address.
                    talk.ask(&programs, &request(None))?;
                }
                talk.answer(&programs, &response(&name(client, session)))?;
            }
            homes.push(talk.version().context("on no version")?);
        }
        let on_canary = homes.iter().filter(|home| **home == 1).count() as u64 * u64::from(SESSIONS);
        let (canary, active) = (programs.born(1)?, programs.born(0)?);
        ensure!(canary + active == u64::from(CLIENTS * SESSIONS), "{canary} and {active} are not all");
        ensure!(canary == on_canary, "{canary} are counted, {on_canary} were there");
        let measured = canary as f64 * 100.0 / (canary + active) as f64;
        ensure!((measured - ASKED as f64).abs() < 1.0, "{measured} % instead of {ASKED} %");
        println!("{measured:.2} % of {} new sessions, {ASKED} % asked for", canary + active);
        // Sessions stay, whatever the share becomes and wherever their users are.
        for share in [policy.canary_share * 5, 0] {
            policy.canary_share = share;
            programs.set_policy(policy)?;
            for (client, home) in (0..CLIENTS).zip(&homes).step_by(RETURN as usize) {
                let port = if share == 0 { 41_000 } else { 42_000 };
                let mut talk = Talk::new(&setting, &world, port).coming_from(from((client + 7) % CLIENTS));
                talk.open(&programs, &request(Some(&name(client, SESSIONS - 1))))?;
                ensure!(talk.version() == Some(*home), "{client} was moved from {home} to {:?}", talk.version());
            }
        }
        Ok(())
    })
}

fn name(client: u32, session: u32) -> String {
    format!("{client:08X}{session:08X}")
}

fn request(id: Option<&str>) -> Vec<u8> {
    let cookie = id.map_or(String::new(), |id| format!("Cookie: {COOKIE}={id}\r\n"));
    format!("GET / HTTP/1.1\r\nHost: shop\r\n{cookie}\r\n").into_bytes()
}

fn response(id: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nSet-Cookie: {COOKIE}={id}; Path=/\r\nContent-Length: 2\r\n\r\nok").into_bytes()
}
