//! Real Tomcat 10 on a backend host of a lab, from the distribution's packages, with a base directory of its own.

mod webapp;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::applications::wait_until_healthy;
use crate::lab::Lab;
use crate::lab::config::APPLICATION_PORT;
use crate::lab::process::Process;

pub use webapp::Webapp;

/// Where Debian's `tomcat10` installs what all instances share.
const HOME: &str = "/usr/share/tomcat10";

/// Several virtual machines start at once on few processors and little memory: the quick compiler only, a
/// collector without threads, and no search for tag libraries, which the pages do not use.
const OPTIONS: [&str; 8] = [
    "-Xmx96m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "-Djava.security.egd=file:/dev/urandom",
    "-Dtomcat.util.scan.StandardJarScanFilter.jarsToSkip=*.jar",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
];

/// A running Tomcat. Dropping it kills it.
#[derive(Debug)]
pub struct Tomcat {
    process: Process,
    index: usize,
}

impl Tomcat {
    /// Starts Tomcat on backend host `index` with the application as `version`, without waiting: see
    /// [`Self::wait`]. Starting a host's Tomcat again, with another version, is an update of that server.
    pub fn start(lab: &Lab, index: usize, version: &str) -> Result<Self> {
        Self::serve(lab, index, &[Webapp::alone(version, lab.backend(index).role())])
    }

    /// Starts Tomcat on backend host `index` with any applications, without waiting.
    pub fn serve(lab: &Lab, index: usize, webapps: &[Webapp]) -> Result<Self> {
        Self::serve_and(lab, index, webapps, false)
    }

    /// The same; with `undeploys`, old versions go by themselves ("undeployOldVersions").
    pub fn serve_and(lab: &Lab, index: usize, webapps: &[Webapp], undeploys: bool) -> Result<Self> {
        let bootstrap = Path::new(HOME).join("bin/bootstrap.jar");
        ensure!(bootstrap.exists(), "{} is not there: apt-get install tomcat10", bootstrap.display());
        let node = lab.backend(index);
        let base = base(lab, index);
        let address = node.address().to_string();
        write_base(&base, webapps, &address, undeploys).with_context(|| format!("write {}", base.display()))?;
        let juli = Path::new(HOME).join("bin/tomcat-juli.jar");
        let mut command = node.command("java");
        command
            .args(OPTIONS)
            .arg(format!("-Dcatalina.home={HOME}"))
            .arg(format!("-Dcatalina.base={}", base.display()))
            .arg(format!("-Djava.io.tmpdir={}", base.join("temp").display()))
            .arg("-classpath")
            .arg(format!("{}:{}", bootstrap.display(), juli.display()))
            .args(["org.apache.catalina.startup.Bootstrap", "start"]);
        let process = node.spawn("tomcat", &mut command).context("start Tomcat: is a Java runtime installed?")?;
        Ok(Self { process, index })
    }

    /// Waits until the application answers: some seconds, so start all first.
    pub fn wait(&mut self, lab: &Lab) -> Result<()> {
        wait_until_healthy(lab, self.index, &mut self.process, Duration::from_secs(60))
            .with_context(|| format!("start Tomcat on {}", lab.backend(self.index).role()))
    }

    /// Starts several at once, each given as backend host and version, and waits for all.
    pub fn start_all(lab: &Lab, instances: &[(usize, &str)]) -> Result<Vec<Self>> {
        let mut started =
            instances.iter().map(|(index, version)| Self::start(lab, *index, version)).collect::<Result<Vec<_>>>()?;
        started.iter_mut().try_for_each(|tomcat| tomcat.wait(lab))?;
        Ok(started)
    }

    /// What every request asked for on backend host `index`, a line for each: the value of `X-User`, `|`, method and target.
    pub fn access_log(lab: &Lab, index: usize) -> Result<String> {
        let path = lab.dir().join(format!("tomcat-{}/logs/access.log", lab.backend(index).role()));
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Puts another version beside those of a Tomcat that serves several. It is there some seconds later.
    pub fn deploy(&self, lab: &Lab, webapp: &Webapp) -> Result<()> {
        let base = base(lab, self.index);
        webapp.write(&base.join("staging"), &base.join("webapps"))
    }

    /// Takes a version away again. Tomcat notices some seconds later.
    pub fn undeploy(&self, lab: &Lab, webapp: &Webapp) -> Result<()> {
        let base = base(lab, self.index);
        let gone = base.join("gone");
        fs::rename(base.join("webapps").join(webapp.directory()), &gone)
            .with_context(|| format!("take away {}", webapp.directory()))?;
        fs::remove_dir_all(&gone).with_context(|| format!("remove {}", gone.display()))
    }

    /// Whether a version's directory is there.
    pub fn has(&self, lab: &Lab, webapp: &Webapp) -> bool {
        base(lab, self.index).join("webapps").join(webapp.directory()).exists()
    }

    /// The process, to stop, continue or kill it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The base directory of the Tomcat on a backend host.
fn base(lab: &Lab, index: usize) -> PathBuf {
    lab.dir().join(format!("tomcat-{}", lab.backend(index).role()))
}

fn write_base(base: &Path, webapps: &[Webapp], address: &str, undeploys: bool) -> Result<()> {
    // What an earlier release compiled must not answer for this one.
    if base.exists() {
        fs::remove_dir_all(base)?;
    }
    for directory in ["conf", "logs", "temp"] {
        fs::create_dir_all(base.join(directory))?;
    }
    let server = include_str!("tomcat/server.xml")
        .replace("{port}", &APPLICATION_PORT.to_string())
        .replace("{address}", address)
        .replace("{deploys}", if webapps.iter().any(Webapp::is_parallel) { "true" } else { "false" })
        .replace("{undeploys}", if undeploys { "true" } else { "false" });
    fs::write(base.join("conf/server.xml"), server)?;
    fs::write(base.join("conf/users.xml"), include_str!("tomcat/users.xml"))?;
    webapps.iter().try_for_each(|webapp| webapp.write(&base.join("staging"), &base.join("webapps")))
}
