//! Bad input: an error that names the thing and the fix, an exit code that says what kind it is, and nothing changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use balancer_tests::lab::Hook;

use crate::programs;
use crate::scene::Scene;
use crate::stage::Stage;

/// Exit codes, as `balancer` documents them.
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const TIMED_OUT: i32 = 4;
const NO_DAEMON: i32 = 5;

/// A directory of its own for a director that does not come to be.
struct Nowhere(PathBuf);

impl Nowhere {
    fn new(name: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("balancer-bad-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        Ok(Self(directory))
    }

    /// A config that is right, but for the interface, which no machine has.
    fn config(&self) -> String {
        let (directory, name) = (self.0.display(), self.name());
        format!(
            "name = \"{name}\"\nsocket = \"{directory}/run/b.sock\"\nstate = \"{directory}/state\"\n\
             interfaces = [\"nosuch0\"]\nsources = [\"10.9.254.1\"]\n\n\
             [[service]]\nname = \"shop\"\nlisten = \"10.9.255.1:80\"\n\n\
             [[service.version]]\nlabel = \"001\"\nbackends = [\"10.9.1.2:8080\"]\n"
        )
    }

    fn name(&self) -> String {
        format!("bad{}", std::process::id())
    }

    fn write(&self, text: &str) -> Result<PathBuf> {
        let path = self.0.join("balancer.toml");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The command fails as it should, and leaves nothing behind.
    fn refuses(&self, command: &mut Command, code: i32, says: &[&str]) -> Result<()> {
        fails(command, code, says)?;
        for path in [self.0.join("state"), self.0.join("run"), Path::new("/sys/fs/bpf/balancer").join(self.name())] {
            ensure!(!path.exists(), "{} was made", path.display());
        }
        Ok(())
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command ends with `code`, and what it says has each of the parts: the thing first, then the fix.
fn fails(command: &mut Command, code: i32, says: &[&str]) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(code), "{command:?}: {}, not {code}: {text}", output.status);
    for part in says {
        ensure!(text.contains(part), "{command:?} does not say `{part}`: {text}");
    }
    Ok(())
}

#[test]
fn a_bad_config() -> Result<()> {
    let nowhere = Nowhere::new("config")?;
    // What is replaced by what, and which words the error has to have.
    let table: [(&str, &str, &[&str]); 9] = [
        ("sources =", "sauces =", &["balancer.toml:5", "unknown key `sauces`", "fix:", "sources"]),
        ("name = \"shop\"", "name = \"shop\"\nport = 80", &["unknown key `port`", "fix:"]),
        ("10.9.1.2:8080", "10.9.1.256:8080", &["10.9.1.256:8080", "fix:"]),
        ("10.9.1.2:8080", "10.9.1.2", &["10.9.1.2", "fix:", ":8080"]),
        ("10.9.255.1:80", "10.9.255.1:80000", &["10.9.255.1:80000", "fix:"]),
        ("\"10.9.254.1\"", "\"nowhere\"", &["nowhere", "fix:"]),
        ("label = \"001\"", "label = \"0 1\"", &["0 1", "blank", "fix:"]),
        ("listen = \"10.9.255.1:80\"\n", "", &["`listen` is missing", "fix:"]),
        ("interfaces = [\"nosuch0\"]", "interfaces = []", &["interfaces", "fix:"]),
    ];
    for (from, to, says) in table {
        let text = nowhere.config();
        ensure!(text.contains(from));
        let path = nowhere.write(&text.replace(from, to))?;
        let mut command = Command::new(programs::balancer()?);
        nowhere.refuses(command.arg("run").arg("--config").arg(path), USAGE, says).with_context(|| to.to_owned())?;
    }
    let mut command = Command::new(programs::balancer()?);
    nowhere.refuses(command.args(["run", "--config", "/no/such.toml"]), USAGE, &["/no/such.toml", "fix:", "--config"])
}

#[test]
fn a_host_that_cannot_do_it() -> Result<()> {
    let nowhere = Nowhere::new("host")?;
    let path = nowhere.write(&nowhere.config())?;
    let refuses = |command: &mut Command, says: &[&str]| {
        nowhere.refuses(command.arg("run").arg("--config").arg(&path), REFUSED, says)
    };
    let balancer = programs::balancer()?;
    refuses(&mut Command::new(&balancer), &["nosuch0", "fix:"]).context("an interface that is not there")?;

    // Nobody may read root's folders, so the program is copied to where everybody may.
    let copy = nowhere.0.join("balancer");
    fs::copy(&balancer, &copy)?;
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    refuses(&mut unprivileged, &["needs root", "fix:", "sudo"]).context("no root")?;

    // The kernel's release is what a file says, and in a mount namespace of its own that is another file.
    let release = nowhere.0.join("osrelease");
    fs::write(&release, "5.15.0-91-generic\n")?;
    let mut old = Command::new("unshare");
    old.args(["--mount", "sh", "-c", "mount --bind \"$0\" /proc/sys/kernel/osrelease && exec \"$@\""]);
    old.arg(&release).arg(&balancer);
    let says = ["5.15.0-91-generic is too old", "6.1 or newer", "fix:", "newer kernel"];
    refuses(&mut old, &says).context("a kernel that is too old")
}

/// A network namespace that is there for one test.
struct Namespace(String);

impl Namespace {
    fn new() -> Result<Self> {
        let name = format!("bad{}", std::process::id());
        ensure!(Command::new("ip").args(["netns", "add", &name]).status()?.success(), "no namespace");
        Ok(Self(name))
    }

    /// What runs in it as most people run it: with a sysfs of its own, on which the host's bpffs is not mounted.
    fn exec(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// N4.
#[test]
fn below_ip_netns_exec_there_is_no_bpffs_and_the_fix_is_one() -> Result<()> {
    let nowhere = Nowhere::new("netns")?;
    let namespace = Namespace::new()?;
    let path = nowhere.write(&nowhere.config())?;
    let balancer = programs::balancer()?;
    let mut hidden = namespace.exec();
    hidden.arg(&balancer).arg("run").arg("--config").arg(&path);
    let says = ["/sys/fs/bpf is no BPF file system", "fix:", "mount -t bpf bpf", "`ip netns exec`", "set `bpffs`"];
    nowhere.refuses(&mut hidden, REFUSED, &says)?;

    // As it says: one mounted elsewhere, and `bpffs` set to that. Now it is the interface that is missing.
    let bpffs = nowhere.0.join("bpffs");
    let path = nowhere.write(&format!("bpffs = \"{}\"\n{}", bpffs.display(), nowhere.config()))?;
    let mut mended = namespace.exec();
    mended.args(["sh", "-c", "mkdir -p \"$0\" && mount -t bpf bpf \"$0\" && exec \"$@\""]);
    mended.arg(&bpffs).arg(&balancer).arg("run").arg("--config").arg(&path);
    nowhere.refuses(&mut mended, REFUSED, &["nosuch0", "fix:"])
}

#[test]
fn no_daemon() -> Result<()> {
    let nowhere = Nowhere::new("nodaemon")?;
    let socket = nowhere.0.join("b.sock");
    for verb in ["status", "version ls shop", "flip shop 002", "rollback shop", "wait shop --for idle=001", "history"] {
        let mut command = Command::new(programs::balancer()?);
        command.arg("--socket").arg(&socket).args(verb.split(' '));
        let name = socket.display().to_string();
        nowhere.refuses(&mut command, NO_DAEMON, &["no daemon answers", &name, "fix:", "balancer run --config"])?;
    }
    Ok(())
}

#[test]
fn bad_commands_change_nothing() -> Result<()> {
    Stage::new(Hook::Tc, "badcommands").versions(&[("001", &[1])]).play(|scene| {
        let (up, down) = (scene.lab.application(1).to_string(), scene.lab.application(2).to_string());
        let before = everything(scene)?;
        let twice = ["twice", up.as_str(), "fix:"];
        let table: Vec<(Vec<&str>, i32, &[&str])> = vec![
            (vec!["version", "add", "shop", "0 2", "--backend", &up], USAGE, &["0 2", "blank", "0-2"]),
            (vec!["version", "add", "shop", "", "--backend", &up], USAGE, &["empty"]),
            (vec!["version", "add", "shop", "002", "--backend", "10.1.2.3"], USAGE, &["10.1.2.3"]),
            (vec!["version", "add", "shop", "002"], USAGE, &["--backend"]),
            (
                vec!["version", "add", "shop", "001", "--backend", &down],
                REFUSED,
                &["already has", "001", "fix:", "version rm"],
            ),
            (vec!["version", "add", "shop", "002", "--backend", &up, &up], REFUSED, &twice),
            (vec!["version", "add", "shoe", "002", "--backend", &up], REFUSED, &["shoe", "fix:", "shop"]),
            (vec!["version", "rm", "shop", "001"], REFUSED, &["001", "fix:", "version add"]),
            (vec!["version", "rm", "shop", "009"], REFUSED, &["009", "fix:", "001"]),
            (vec!["flip", "shop", "009"], REFUSED, &["009", "fix:", "001"]),
            (vec!["flip", "shoe", "001"], REFUSED, &["shoe", "fix:", "shop"]),
            (vec!["flip", "shop", "001", "--mode", "sudden"], USAGE, &["sudden", "forced"]),
            (vec!["rollback", "shop"], REFUSED, &["no version to go back to", "fix:", "balancer flip"]),
            (vec!["wait", "shop", "--for", "busy=001"], USAGE, &["busy=001", "idle=VERSION"]),
            (vec!["wait", "shop", "--for", "idle=009"], REFUSED, &["009", "fix:", "001"]),
            (vec!["explain", "shop", "--source", "here"], USAGE, &["here"]),
            (vec!["frob"], USAGE, &["frob"]),
        ];
        for (arguments, code, says) in table {
            fails(&mut scene.balancer.command(&arguments), code, says)?;
            ensure!(everything(scene)? == before, "{arguments:?} changed something");
        }

        // A backend that is down is added with a warning, gets no work, and cannot be flipped to or waited for.
        let said = scene.cli(&["version", "add", "shop", "002", "--backend", &down])?;
        ensure!(said.contains("warning:") && said.contains(&down), "no warning: {said}");
        let down_says = ["002", "fix:", "wait shop --for healthy=002"];
        fails(&mut scene.balancer.command(&["flip", "shop", "002"]), REFUSED, &down_says)?;
        let wait = ["wait", "shop", "--for", "healthy=002", "--timeout", "300ms"];
        fails(&mut scene.balancer.command(&wait), TIMED_OUT, &["002", "300ms", &down, "fix:"])?;
        ensure!(scene.active()? == "001");

        // A second daemon with the same socket, and one with another socket but the same pins.
        let before = everything(scene)?;
        let config = scene.lab.write_config(&scene.config)?;
        let mut second = scene.lab.director().command(programs::balancer()?);
        second.arg("run").arg("--config").arg(&config);
        fails(&mut second, REFUSED, &["another daemon", "fix:"])?;
        let other = scene.lab.dir().join("other.sock");
        let mut second = scene.lab.director().command("timeout");
        second.arg("5").arg(programs::balancer()?).arg("run").arg("--config").arg(&config).arg("--socket").arg(&other);
        fails(&mut second, REFUSED, &["another daemon", "fix:"]).context("with another socket")?;
        ensure!(everything(scene)? == before, "a second daemon changed something");
        ensure!(scene.browser().whoami()?.version == "001");
        Ok(())
    })
}

/// All that a command could change.
fn everything(scene: &Scene) -> Result<String> {
    let status = scene.json(&["status", "shop"])?;
    let history = scene.json(&["history"])?;
    Ok(format!("{}{}{}{history}", status["active"], status["previous"], status["versions"]))
}

#[test]
fn errors_are_json_for_who_asks_for_it() -> Result<()> {
    let mut command = Command::new(programs::balancer()?);
    let output = command.args(["--json", "--socket", "/no/such.sock", "status"]).output()?;
    let error: serde_json::Value = serde_json::from_slice(&output.stderr)?;
    ensure!(error["code"] == "no-daemon" && error["error"].is_string() && error["hint"].is_string(), "{error}");
    ensure!(output.status.code() == Some(NO_DAEMON));
    Ok(())
}
