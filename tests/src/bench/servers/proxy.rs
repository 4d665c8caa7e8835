//! nginx as a proxy in the director's place.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{filled, wait_until_it_answers, write};
use crate::lab::Lab;
use crate::lab::process::Process;

/// Starts it on the virtual address and waits until it answers. New sessions are shared out among these backends.
pub(in crate::bench) fn start(lab: &Lab, active: &[usize]) -> Result<Process> {
    let path = choose(lab, active)?;
    let mut command = lab.director().command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(lab.dir()).arg("-c").arg(&path);
    let mut process = lab.director().spawn("nginx", &mut command).context("start nginx: is it installed?")?;
    wait_until_it_answers(lab, &mut process).context("start nginx as a proxy")?;
    Ok(process)
}

/// Writes the file.
pub(in crate::bench) fn choose(lab: &Lab, active: &[usize]) -> Result<std::path::PathBuf> {
    write(lab, "proxy.conf", &text(lab, active))
}

fn text(lab: &Lab, active: &[usize]) -> String {
    let (mut upstreams, mut known, mut shares) = (String::new(), String::new(), String::new());
    for index in 1..=lab.backends().len() {
        let _ = writeln!(
            upstreams,
            "    upstream b{index} {{ server {}; keepalive 512; keepalive_requests 1000000000; }}",
            lab.application(index)
        );
        let _ = writeln!(known, "        b{index} b{index};");
    }
    if let Some((last, others)) = active.split_last() {
        for index in others {
            let _ = writeln!(shares, "        {}% b{index};", 100 / active.len());
        }
        let _ = writeln!(shares, "        * b{last};");
    }
    let folder = lab.dir().join("proxy");
    let places = [
        ("FOLDER", folder.display().to_string()),
        ("VIP", lab.vip().to_string()),
        ("UPSTREAMS", upstreams),
        ("KNOWN", known),
        ("SHARES", shares),
    ];
    let places: Vec<(&str, &str)> = places.iter().map(|(name, value)| (*name, value.as_str())).collect();
    filled(include_str!("proxy.conf"), &places)
}
