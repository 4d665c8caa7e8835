//! The other programs of a benchmark: applications on the backends, and what people use in the director's place.
//!
//! What each is told lies beside this file as it is, but for addresses and folders between `@`s.

pub(super) mod application;
pub(super) mod dnat;
pub(super) mod haproxy;
pub(super) mod proxy;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::Connection;
use crate::lab::Lab;
use crate::lab::process::Process;

/// A template with its places filled.
fn filled(template: &str, places: &[(&str, &str)]) -> String {
    places.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// Writes a configuration into the lab's directory.
fn write(lab: &Lab, name: &str, text: &str) -> Result<PathBuf> {
    let path = lab.dir().join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Waits until the virtual address answers for a program in the director's place.
fn wait_until_it_answers(lab: &Lab, process: &mut Process) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Connection::open(lab.client(), lab.service()).and_then(|mut to| to.get("/health", None)).is_err() {
        if let Some(status) = process.ended()? {
            bail!("it ended with {status} and says:\n{}", process.log());
        }
        ensure!(Instant::now() < deadline, "it does not answer; it says:\n{}", process.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Name and version of each.
pub(super) fn versions(lab: &Lab, programs: &[(&str, &str)]) -> Result<String> {
    let first_line = |(program, argument): &(&str, &str)| -> Result<String> {
        let output = lab.director().command(program).arg(argument).output();
        let output = output.with_context(|| format!("start {program}: is it installed?"))?;
        // nginx and wrk say it as an error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or_default();
        Ok(line.split(" Copyright").next().unwrap_or_default().trim().to_owned())
    };
    Ok(programs.iter().map(first_line).collect::<Result<Vec<_>>>()?.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_template_is_filled_wherever_it_is() {
        assert_eq!(filled("a @X@ b @Y@ @X@", &[("X", "1"), ("Y", "2")]), "a 1 b 2 1");
    }
}
