//! Headless Chromium: a page of the demo's, whose scripts ask beside each other on several connections.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{Client, Visit};
use crate::lab::Lab;
use crate::lab::process::Process;

const PROGRAM: &str = "chromium-headless-shell";

/// Root has no sandbox; the others keep it from what a browser does by itself, which its namespace lets nowhere anyway. With a
/// port for a debugger it waits for more after the page is there, and does not end.
const OPTIONS: [&str; 9] = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--remote-debugging-port=0",
];

/// A running browser.
#[derive(Debug)]
pub struct Chromium(Process);

impl Chromium {
    /// Starts it at the client.
    pub fn start(lab: &Lab) -> Result<Self> {
        let home = lab.dir().join("chromium");
        fs::create_dir_all(&home).with_context(|| format!("make {}", home.display()))?;
        let mut command = lab.client().command(PROGRAM);
        command.args(OPTIONS).arg(format!("--user-data-dir={}", home.display())).env("HOME", &home);
        command.arg(format!("http://{}/browse", lab.service()));
        let process = lab.client().spawn("chromium", &mut command);
        Ok(Self(process.with_context(|| format!("start {PROGRAM}: is it installed?"))?))
    }
}

impl Client for Chromium {
    /// What the page says on its console, among much that the browser itself says.
    fn visits(&self) -> Result<Vec<Visit>> {
        let log = self.0.log();
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        let said = |line: &str| {
            Some(line.split_once("CONSOLE")?.1.split_once("] \"")?.1.rsplit_once("\", source: ")?.0.to_owned() + "\n")
        };
        Visit::parse_all(&whole.lines().filter_map(said).collect::<String>())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Visit>> {
        ensure!(self.0.ended()?.is_none(), "{PROGRAM} ended early: {}", self.0.log());
        // It ends with its handle; what its helpers still do, with the lab.
        self.visits()
    }
}
