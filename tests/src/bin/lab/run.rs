//! The demonstration: namespaces, applications in three versions and the balancer, until Ctrl-C.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

use balancer_tests::applications::Demo;
use balancer_tests::balancer::{Balancer, SOCKET_VARIABLE};
use balancer_tests::lab::config::Shop;
use balancer_tests::lab::node::NAMESPACES;
use balancer_tests::lab::{ClientPlace, Hook, Lab};
use balancer_tests::tomcat::Tomcat;

use crate::reboot::SIGNAL;

/// Backend hosts and the version that runs on each: two for 001, so that a session's binding to its backend shows.
const INSTANCES: [(usize, &str); 4] = [(1, "001"), (2, "001"), (3, "002"), (4, "003")];

pub(crate) fn run(program: &Path, hook: Hook, tomcat: bool) -> Result<()> {
    // The director's namespace has the same files, but not necessarily the same directory.
    let program = program.canonicalize().with_context(|| format!("find the balancer {}", program.display()))?;
    // Before there is anything to clean up: from here on a signal ends the lab in order.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut end = runtime.block_on(async { End::new() })?;
    let lab = Lab::builder("run").backends(INSTANCES.len()).client(ClientPlace::Host).hook(hook).build()?;
    let _applications = start_applications(&lab, tomcat)?;
    let config = Shop { flows: 262_144, sessions: 1_048_576, ..Shop::new(&[("001", &[1, 2])]) }.to_toml(&lab);
    let mut balancer = Balancer::start(&lab, &program, &config)?;
    println!("{}", instructions(&lab, &program, tomcat));
    runtime.block_on(async {
        let mut reboots = signal(SignalKind::from_raw(SIGNAL.as_raw()))?;
        loop {
            tokio::select! {
                () = end.wait() => return anyhow::Ok(()),
                _ = reboots.recv() => {
                    println!("\nThe director reboots.");
                    balancer.reboot()?;
                    println!("It is back.");
                }
                () = report_daemon(&mut balancer, &lab, &program) => {}
            }
        }
    })?;
    println!("\ncleaning up");
    // What the daemon does not take away, because somebody tried what happens without it, goes with the lab.
    if let Err(error) = balancer.detach() {
        eprintln!("balancer detach: {error:#}");
    }
    Ok(())
}

/// The running applications, which end when this is dropped.
enum Applications {
    Demo { _instances: Vec<Demo> },
    Tomcat { _instances: Vec<Tomcat> },
}

fn start_applications(lab: &Lab, tomcat: bool) -> Result<Applications> {
    if tomcat {
        println!("starting {} Tomcats", INSTANCES.len());
        return Ok(Applications::Tomcat { _instances: Tomcat::start_all(lab, &INSTANCES)? });
    }
    let demo = std::env::current_exe()?.with_file_name("demo");
    ensure!(demo.exists(), "{} is not there: build the package balancer-tests", demo.display());
    let start = |(index, version): &(usize, &str)| Demo::start(lab, &demo, *index, version);
    Ok(Applications::Demo { _instances: INSTANCES.iter().map(start).collect::<Result<_>>()? })
}

/// Signals that end the lab.
struct End {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl End {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Says so when the daemon ends, and goes on: that traffic flows without it is worth seeing. Never returns.
async fn report_daemon(balancer: &mut Balancer<'_>, lab: &Lab, program: &Path) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Ok(Some(status)) = balancer.process().ended() {
            let namespace = Path::new(NAMESPACES).join(lab.director().namespace());
            println!("\nThe daemon has ended ({status}). Its programs go on; to start it again, in another terminal:");
            println!(
                "  nsenter --net={} {} run --config {}",
                namespace.display(),
                program.display(),
                lab.dir().join("balancer.toml").display()
            );
            return std::future::pending().await;
        }
    }
}

fn instructions(lab: &Lab, program: &Path, tomcat: bool) -> String {
    let own = std::env::current_exe().unwrap_or_else(|_| "lab".into());
    let application = if tomcat { "Tomcat" } else { "the demo application" };
    format!(
        "
  http://{vip}/   {application} as 001, behind the balancer; 002 and 003 run too, and wait to be added

Open it, or `curl -b jar -c jar http://{vip}/whoami`. Then, in another terminal:

  export {SOCKET_VARIABLE}={socket}
  {balancer} status
  {balancer} version add shop 002 --backend {second}
  {balancer} explain shop --source {client} --path /
  {balancer} flip shop 001
  {balancer} rollback shop
  {lab} reboot

Who has a session stays on its version; clear the cookie, and the next request is decided anew. `reboot` takes all that the kernel
knows, as a reboot of the director does: sessions come back from the snapshot, connections are opened again.
003 is at {third}. Logs and configuration: {directory}
Ctrl-C ends the lab and cleans up.",
        vip = lab.vip(),
        socket = Balancer::socket(lab).display(),
        balancer = program.display(),
        lab = own.display(),
        second = lab.application(3),
        third = lab.application(4),
        client = lab.client().address(),
        directory = lab.dir().display(),
    )
}
