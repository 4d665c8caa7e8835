//! HAProxy in the director's place.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{filled, wait_until_it_answers, write};
use crate::lab::Lab;
use crate::lab::process::Process;

/// Starts it on the virtual address, in front of all backends, and waits until it answers.
pub(in crate::bench) fn start(lab: &Lab) -> Result<Process> {
    let path = write(lab, "haproxy.cfg", &text(lab, |_| ""))?;
    let mut command = lab.director().command("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    begin(lab, &mut command)
}

/// Starts it with a master, which can be told to read its file again; all backends but `active` serve only those who were there before.
pub(in crate::bench) fn start_master(lab: &Lab, active: usize) -> Result<Process> {
    let path = choose(lab, active)?;
    let mut command = lab.director().command("haproxy");
    command.arg("-W").arg("-db").arg("-f").arg(&path);
    begin(lab, &mut command)
}

/// Writes the file that leads new sessions to one backend.
pub(in crate::bench) fn choose(lab: &Lab, active: usize) -> Result<PathBuf> {
    write(lab, "haproxy.cfg", &text(lab, |index| if index == active { "" } else { " weight 0" }))
}

/// Says something to the runtime API, which has to have no objection.
pub(in crate::bench) fn tell(lab: &Lab, commands: &str) -> Result<()> {
    let mut socket = UnixStream::connect(lab.dir().join("haproxy.sock")).context("connect to HAProxy's runtime API")?;
    writeln!(socket, "{commands}").context("write to HAProxy's runtime API")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).context("read from HAProxy's runtime API")?;
    ensure!(answer.trim().is_empty(), "HAProxy answers `{commands}` with: {}", answer.trim());
    Ok(())
}

fn begin(lab: &Lab, command: &mut std::process::Command) -> Result<Process> {
    let mut process = lab.director().spawn("haproxy", command).context("start HAProxy: is it installed?")?;
    wait_until_it_answers(lab, &mut process).context("start HAProxy")?;
    Ok(process)
}

fn text(lab: &Lab, more: impl Fn(usize) -> &'static str) -> String {
    let servers: Vec<String> = (1..=lab.backends().len())
        .map(|index| {
            format!("    server b{index} {} cookie b{index} check inter 1s{}", lab.application(index), more(index))
        })
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let socket = lab.dir().join("haproxy.sock");
    let places = [
        ("THREADS", threads.as_str()),
        ("SOCKET", &socket.display().to_string()),
        ("VIP", &lab.vip().to_string()),
        ("SERVERS", &servers.join("\n")),
    ];
    filled(include_str!("haproxy.cfg"), &places)
}
