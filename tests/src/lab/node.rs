//! One host of a lab: a network namespace, and the means to run things inside it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::Process;

/// Where network namespaces that have a name are mounted.
pub const NAMESPACES: &str = "/run/netns";

/// A host of the lab.
///
/// Its namespace is entered with setns(2) rather than `ip netns exec`, which would mount a new sysfs and so
/// hide /sys/fs/bpf, where the balancer pins its maps.
#[derive(Clone, Debug)]
pub struct Node {
    role: String,
    namespace: String,
    file: Arc<File>,
    address: Ipv4Addr,
    logs: PathBuf,
}

impl Node {
    /// The host with namespace `namespace`, which exists already.
    pub(crate) fn named(namespace: &str, role: &str, address: Ipv4Addr, logs: &Path) -> Result<Self> {
        Self::open(&Path::new(NAMESPACES).join(namespace), namespace, role, address, logs)
    }

    /// The machine's own network, where a person's shell and browser are.
    pub(crate) fn host(role: &str, address: Ipv4Addr, logs: &Path) -> Result<Self> {
        Self::open(Path::new("/proc/self/ns/net"), "", role, address, logs)
    }

    fn open(path: &Path, namespace: &str, role: &str, address: Ipv4Addr, logs: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open the namespace {}", path.display()))?;
        Ok(Self {
            role: role.to_owned(),
            namespace: namespace.to_owned(),
            file: Arc::new(file),
            address,
            logs: logs.to_owned(),
        })
    }

    /// `client`, `director`, `b1` and so on.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The namespace's name as `ip netns` lists it, empty for the machine's own network.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The address that others reach it by.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that will run inside this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = Arc::clone(&self.file);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; setns is one bare syscall
        // on a descriptor that the closure owns, and building the error from errno allocates nothing.
        unsafe {
            command.pre_exec(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(Into::into)
            });
        }
        command
    }

    /// Starts a command made by [`Self::command`] in the background, its output in the lab's directory as
    /// `<role>-<name>.log`.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::start(command, &self.logs.join(format!("{}-{name}.log", self.role)))
    }

    /// Runs a program to its end inside this host and returns what it printed; failing is an error.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("start {program} in {}", self.role))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("`{program} {}` in {}: {}: {}", arguments.join(" "), self.role, output.status, errors.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a closure inside this host, on a thread of its own since a namespace belongs to a thread.
    /// Sockets made there stay there, whichever thread uses them later.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into this host for good: for threads that were made to live there.
    pub fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("enter the namespace of {}", self.role))
    }
}
