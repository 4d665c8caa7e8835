//! Floods against the session table, through the loaded program (D13): ids that nobody comes back with give way to others, those
//! that were presented never do; and made-up cookies change nothing.

use anyhow::{Context, Result, ensure};
use balancer_ebpf::layout::KIND_PRESENTED;
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::progrun::talk::Talk;
use balancer_tests::progrun::{COOKIE, Programs, Room, Setting, World};

/// So many in every run, and so many where somebody has the time: `--ignored`.
const FLOOD: usize = 100_000;
const FIVE_MILLION: usize = 5_000_000;
const TEN_MILLION: usize = 10_000_000;

/// Entries of the table, and sessions that are there before: a fourth of it.
const ROOM: Room = Room { flows: 1024, stashes: 64, buckets: 4096 };
const SESSIONS: usize = 8 * 4096 / 4;

/// N17.
#[test]
fn d13_a_flood_without_cookies_evicts_nobody_who_came_back() -> Result<()> {
    without_cookies(FLOOD)
}

#[test]
fn d13_made_up_cookies_change_no_table() -> Result<()> {
    made_up(FLOOD)
}

#[test]
#[ignore = "takes minutes: the same with five million"]
fn d13_five_million_issued_ids() -> Result<()> {
    without_cookies(FIVE_MILLION)
}

#[test]
#[ignore = "takes minutes: the same with ten million"]
fn d13_ten_million_made_up_cookies() -> Result<()> {
    made_up(TEN_MILLION)
}

/// A director with one backend, in whose namespace the programs run.
fn played(label: &str, play: impl FnOnce(&Programs, &Setting, &mut Talk) -> Result<()> + Send) -> Result<()> {
    let lab = Lab::builder(label).hook(Hook::Tc).backends(1).build()?;
    let world = World::of(&lab)?;
    let setting = Setting::of(&lab, ROOM);
    lab.director().run(|| {
        let mut programs = Programs::load(ROOM)?;
        programs.configure(&setting)?;
        let mut talk = Talk::new(&setting, &world, 40_000);
        talk.open(&programs, &request(None))?;
        talk.answer(&programs, &response(None))?;
        play(&programs, &setting, &mut talk)
    })
}

fn request(id: Option<&str>) -> Vec<u8> {
    let cookie = id.map_or(String::new(), |id| format!("Cookie: {COOKIE}={id}\r\n"));
    format!("GET / HTTP/1.1\r\nHost: shop\r\n{cookie}\r\n").into_bytes()
}

fn response(id: Option<&str>) -> Vec<u8> {
    let cookie = id.map_or(String::new(), |id| format!("Set-Cookie: {COOKIE}={id}; Path=/\r\n"));
    format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: 2\r\n\r\nok").into_bytes()
}

/// A session begins, and its user comes back.
fn present(programs: &Programs, talk: &mut Talk, id: &str) -> Result<()> {
    talk.ask(programs, &request(None))?;
    talk.answer(programs, &response(Some(id)))?;
    talk.ask(programs, &request(Some(id)))?;
    talk.answer(programs, &response(None))
}

fn user(index: usize) -> String {
    format!("USER{index:028X}")
}

fn without_cookies(flood: usize) -> Result<()> {
    played("floodissued", |programs, setting, talk| {
        for index in 0..SESSIONS {
            present(programs, talk, &user(index))?;
        }
        let before = programs.counters()?;
        for index in 0..flood {
            talk.ask(programs, &request(None))?;
            talk.answer(programs, &response(Some(&format!("CRAWLER{index:025X}"))))?;
        }
        let counted = programs.counters()?.named(&before);
        let of = |name: &str| counted.get(name).copied().unwrap_or(0);
        for index in 0..SESSIONS {
            let binding = programs.binding(setting, user(index).as_bytes())?;
            let binding = binding.with_context(|| format!("session {index} of {SESSIONS} is lost"))?;
            ensure!(binding.kind() == KIND_PRESENTED, "session {index} is {binding:?}");
        }
        // Not because there was room for all, and not because they were turned away.
        let (issued, evicted, full) = (of("session_issued"), of("session_evicted"), of("sessions_full"));
        ensure!(evicted > flood as u64 / 2 && full < flood as u64 / 100, "{evicted} evicted, {full} without a place");
        // The latest are there, the first ones are not.
        let there = |index: usize| {
            Ok::<_, anyhow::Error>(programs.binding(setting, format!("CRAWLER{index:025X}").as_bytes())?.is_some())
        };
        ensure!(there(flood - 1)? && !there(0)?, "not the oldest went first");
        println!(
            "{flood} ids issued ({issued} bound, {evicted} evicted others, {full} found no place): none of {SESSIONS} sessions lost"
        );
        Ok(())
    })
}

fn made_up(flood: usize) -> Result<()> {
    played("floodmadeup", |programs, _, talk| {
        for index in 0..SESSIONS {
            present(programs, talk, &user(index))?;
        }
        let before = (programs.table()?, programs.counters()?);
        for index in 0..flood {
            talk.ask(programs, &request(Some(&format!("MADEUP{index:026X}"))))?;
            talk.answer(programs, &response(None))?;
        }
        let changed = before.0.iter().zip(&programs.table()?).filter(|(before, after)| before != after).count();
        ensure!(changed == 0, "{changed} words of the table changed");
        let counted = programs.counters()?.named(&before.1);
        ensure!(counted.keys().all(|name| !name.starts_with("session")), "{counted:?}");
        println!("{flood} made-up cookies: not a word of the table changed");
        Ok(())
    })
}
