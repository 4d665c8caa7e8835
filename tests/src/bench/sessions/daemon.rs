//! A daemon whose table is full of sessions, with traffic all the while: a forced flip, and its own end and beginning.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use aya::maps::{Array, Map, MapData};
use balancer_ebpf::layout::{BUCKET_WAYS, Binding, SessionHash, map};
use balancer_user::config::pin_dir;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::super::contender::FLOWS;
use super::super::servers::application;
use super::super::statistics::median;
use super::super::table::{Table, number};
use super::super::wrk::{Cookies, Target, Wrk};
use super::filling::{Filling, second};
use crate::balancer::Balancer;
use crate::client::{Connection, Request};
use crate::lab::Lab;
use crate::lab::config::{Select, Shop};
use crate::progrun::BUCKET_WORDS;

/// Longer than writing a snapshot takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Milliseconds, and what became of the traffic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figure {
    sessions: String,
    /// From the command to its end, with so many sessions and before.
    forced_flip: f64,
    forced_flip_of_few: f64,
    /// Of the table's buckets that were looked at, those in which the flip wrote.
    pub(super) written: u64,
    looked_at: u64,
    list: f64,
    stop: f64,
    start: f64,
    start_after_kill: f64,
    requests: u64,
    errors: u64,
}

/// Measures it.
pub(super) fn run(balancer: &Path, (sessions, said): (u32, &str)) -> Result<Figure> {
    let lab = Lab::builder("tenmillion").backends(2).build()?;
    let _backends = application::start_all(&lab)?;
    let shop = Shop { flows: FLOWS, sessions, ..Shop::new(&[("001", &[1]), ("002", &[2])]).select(Select::Explicit) };
    let mut daemon = Balancer::start(&lab, balancer, &shop.to_toml(&lab))?;
    let login = Connection::open(lab.client(), lab.service())?.request(&Request::get("/login"))?;
    let id = login.set_cookie("JSESSIONID").context("a login sets a cookie")?;
    let forced_flip_of_few = flips(&daemon)?;
    let mut table = table_of(&lab)?;
    fill(&mut table, sessions).context("fill the table")?;
    let before = some_buckets(&table)?;

    let cookies = Cookies::One(Some(format!("JSESSIONID={id}")));
    let wrk = Wrk {
        targets: vec![Target { to: lab.service(), cookies }],
        connections: 16,
        path: "/",
        close: false,
        rate: Some(1000.0),
    };
    // As long as it takes, and a little more.
    let time = Duration::from_secs(30);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk.run(&lab, time));
        let forced_flip = flips(&daemon)?;
        let after = some_buckets(&table)?;
        let list = timed(|| daemon.cli(&["session", "ls", "shop", "--limit", "1"]).map(drop))?;
        let stop = timed(|| daemon.end(Signal::TERM, PATIENCE))?;
        let start = timed(|| daemon.begin_again())?;
        daemon.end(Signal::KILL, PATIENCE)?;
        let start_after_kill = timed(|| daemon.begin_again())?;
        let sample = load.join().map_err(|_| anyhow!("the load panicked"))??;
        daemon.detach()?;
        let sessions = said.to_owned();
        let (requests, errors) = (sample.requests, sample.errors);
        let (looked_at, written) =
            (before.len() as u64, before.iter().zip(&after).filter(|(one, other)| one != other).count() as u64);
        Ok(Figure {
            sessions,
            forced_flip,
            forced_flip_of_few,
            written,
            looked_at,
            list,
            stop,
            start,
            start_after_kill,
            requests,
            errors,
        })
    })
}

pub(super) fn table(figure: &Figure) -> Table {
    let Figure { sessions, forced_flip, forced_flip_of_few, list, stop, start, start_after_kill, .. } = figure;
    let Figure { requests, errors, written, looked_at, .. } = figure;
    let note = format!(
        "Medians of {FLIPS} flips, which moved everybody and wrote in {written} of {looked_at} buckets that were looked at. Beside all this, \
         {requests} requests at 1000 a second, of which {errors} failed."
    );
    let mut table = Table::new(format!("The daemon with {sessions} bound sessions"), &["what", "ms"]).note(note);
    let rows = [
        ("forced flip, the whole command, with one session", forced_flip_of_few),
        ("forced flip, the whole command, with all of them", forced_flip),
        ("session ls", list),
        ("stop, with the snapshot", stop),
        ("start, until it answers", start),
        ("start after SIGKILL, until it answers", start_after_kill),
    ];
    for (what, milliseconds) in rows {
        table.row(what, [number(*milliseconds)]);
    }
    table
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Flips to and fro; the median of their times. The last one is back to the first version.
const FLIPS: usize = 6;

fn flips(daemon: &Balancer<'_>) -> Result<f64> {
    let flip = |to| timed(|| daemon.cli(&["flip", "shop", to, "--mode", "forced"]).map(drop));
    let times = ["002", "001"].into_iter().cycle().take(FLIPS).map(flip).collect::<Result<Vec<_>>>()?;
    Ok(median(times))
}

type Sessions = Array<MapData, [u64; BUCKET_WORDS]>;

/// The pinned table.
fn table_of(lab: &Lab) -> Result<Sessions> {
    let path = pin_dir(Path::new("/sys/fs/bpf"), lab.name()).join("maps").join(map::SESSIONS);
    let data = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    Ok(Array::try_from(Map::Array(data))?)
}

/// Each hundredth bucket.
fn some_buckets(table: &Sessions) -> Result<Vec<[u64; BUCKET_WORDS]>> {
    (0..table.len()).step_by(100).map(|index| table.get(&index, 0).context("read SESSIONS")).collect()
}

/// Fills it with sessions like the one that is there.
fn fill(table: &mut Sessions, sessions: u32) -> Result<()> {
    let known = |index| -> Result<Option<Binding>> {
        let bucket = table.get(&index, 0).context("read SESSIONS")?;
        let entries = bucket.chunks(BUCKET_WORDS / BUCKET_WAYS);
        Ok(entries.into_iter().find(|entry| entry[0] != 0).map(|entry| Binding(entry[1])))
    };
    let binding = (0..table.len()).find_map(|index| known(index).transpose()).context("nobody is bound")??;
    let mut filling = Filling::of(table.len());
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let now = second();
    for _ in 0..sessions {
        let hash = SessionHash { tag: random.random::<u64>() | 1, bucket: random.random() };
        anyhow::ensure!(filling.bind(&hash, binding.presented(), now), "the table is full");
    }
    for (index, words) in filling.buckets() {
        table.set(index, *words, 0).context("write SESSIONS")?;
    }
    Ok(())
}
