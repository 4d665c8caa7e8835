//! curl as a browser: each request on a connection of its own, the cookies in a jar.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Whoami;
use balancer_tests::lab::Lab;
use balancer_tests::lab::node::Node;

/// A cookie jar and the command that uses it.
pub(crate) struct Curl {
    node: Node,
    jar: PathBuf,
    url: String,
    source: Option<String>,
}

impl Curl {
    /// A person called `name` at the client.
    pub(crate) fn new(lab: &Lab, name: &str) -> Self {
        let jar = lab.dir().join(format!("{name}.jar"));
        Self { node: lab.client().clone(), jar, url: format!("http://{}", lab.service()), source: None }
    }

    /// The same, from the client's `index`th address.
    pub(crate) fn from(self, lab: &Lab, index: u8) -> Self {
        Self { source: Some(lab.addresses().client_nth(index).to_string()), ..self }
    }

    /// Asks who answers.
    pub(crate) fn whoami(&self) -> Result<Whoami> {
        let text = self.get(&["/whoami"])?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Asks for several paths, all on one connection, and returns what came, joined.
    pub(crate) fn get(&self, paths: &[&str]) -> Result<String> {
        let mut command = self.node.command("curl");
        command.args(["-sS", "--fail", "--max-time", "10", "-b"]).arg(&self.jar).arg("-c").arg(&self.jar);
        if let Some(source) = &self.source {
            command.args(["--interface", source]);
        }
        command.args(paths.iter().map(|path| format!("{}{path}", self.url)));
        let output = command.output().context("start curl")?;
        ensure!(output.status.success(), "curl: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The status that a path is answered with, asked for with more arguments and without the jar.
    pub(crate) fn status(&self, arguments: &[&str], path: &str) -> Result<String> {
        let mut command = self.node.command("curl");
        command.args(["-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}"]).args(arguments);
        let output = command.arg(format!("{}{path}", self.url)).output().context("start curl")?;
        ensure!(output.status.success(), "curl: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Empties the jar.
    pub(crate) fn clear_cookie(&self) -> Result<()> {
        std::fs::write(&self.jar, "").context("empty the cookie jar")
    }
}

/// The jar has to exist before curl reads it.
pub(crate) fn people<const N: usize>(lab: &Lab, names: [&str; N]) -> Result<[Curl; N]> {
    let people = names.map(|name| Curl::new(lab, name));
    people.iter().try_for_each(Curl::clear_cookie)?;
    Ok(people)
}
