//! The lab itself: that labs do not meet, and that they leave nothing behind, however they end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use balancer_tests::applications::Demo;
use balancer_tests::client::Connection;
use balancer_tests::lab::{ClientPlace, Lab, registry};

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

/// Set in the child that builds a lab and is killed.
const VICTIM: &str = "BALANCER_LAB_VICTIM";

#[test]
fn labs_stand_beside_each_other_and_leave_nothing() -> Result<()> {
    let first = Lab::builder("twin").client(ClientPlace::Host).build()?;
    let second = Lab::builder("twin").client(ClientPlace::Host).build()?;
    assert_ne!(first.vip(), second.vip());
    let (names, directories) =
        ([first.name().to_owned(), second.name().to_owned()], [first.dir().to_owned(), second.dir().to_owned()]);
    let demo = Demo::start(&second, DEMO, 1, "001")?;
    drop(first);
    assert_eq!(traces_of(&names[0])?, Vec::<String>::new());
    // The host reaches the lab that stands, and cleaning does not touch it.
    registry::clean()?;
    assert_eq!(Connection::here(second.application(1))?.get("/whoami", None)?.status, 200);
    let process = demo.process().pid();
    std::mem::forget(demo);
    drop(second);
    assert_eq!(traces_of(&names[1])?, Vec::<String>::new());
    assert!(directories.iter().all(|directory| !directory.exists()));
    assert!(!is_running(&process.to_string()));
    Ok(())
}

/// Not a test of its own: the child of the next one, which kills it.
#[test]
fn victim() -> Result<()> {
    let Some(report) = std::env::var_os(VICTIM) else {
        return Ok(());
    };
    let lab = Lab::builder("victim").client(ClientPlace::Host).build()?;
    let demo = Demo::start(&lab, DEMO, 1, "001")?;
    std::fs::write(report, format!("{} {}", lab.name(), demo.process().pid()))?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

#[test]
fn the_remains_of_a_killed_lab_are_cleaned_up() -> Result<()> {
    let lab = Lab::builder("survivor").build()?;
    let report = lab.dir().join("report");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "victim"])
        .env(VICTIM, &report)
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let text = loop {
        match std::fs::read_to_string(&report) {
            Ok(text) if text.contains(' ') => break text,
            _ => ensure!(Instant::now() < deadline, "the child builds no lab"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let (name, demo) = text.split_once(' ').context("a name and a process id")?;
    // Looked at while it lives: after that another test's lab may clean up at any time.
    assert_eq!(traces_of(name)?.len(), 1 + 3);
    assert!(is_running(demo));
    child.kill()?;
    child.wait()?;
    registry::clean()?;
    assert_eq!(traces_of(name)?, Vec::<String>::new());
    assert!(!is_running(demo));
    assert!(lab.dir().exists());
    assert_eq!(traces_of(lab.name())?.len(), 1 + 4);
    Ok(())
}

/// Whether the process is more than a zombie that nobody has waited for.
fn is_running(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

/// Namespaces and directories that carry a lab's name.
fn traces_of(name: &str) -> Result<Vec<String>> {
    let mut traces = Vec::new();
    for place in ["/run/netns", registry::ROOT] {
        for entry in std::fs::read_dir(place)? {
            let entry = entry?.file_name().to_string_lossy().into_owned();
            if entry == name || entry.starts_with(&format!("{name}-")) {
                traces.push(entry);
            }
        }
    }
    Ok(traces)
}
