//! curl: a run asks many times on one kept-alive connection; a keeper's cookies are in a jar.

use anyhow::{Context, Result, ensure};

use super::runs::Runs;
use super::{KEEPERS, NEWCOMERS};
use crate::client::Whoami;
use crate::lab::Lab;

/// Requests of a run.
const RUN: usize = 20;

/// Users of curl.
pub fn curl(lab: &Lab) -> Runs {
    let users = (0..KEEPERS + NEWCOMERS).map(|user| (user, user < KEEPERS));
    users.fold(Runs::new(), |runs, (user, keeps)| {
        let (node, jar) = (lab.client().clone(), lab.dir().join(format!("curl-{user}.jar")));
        let mut arguments = ["-sS", "--fail", "--max-time", "10", "--rate", "200/s", "-w", "%{num_connects}\n"]
            .map(str::to_owned)
            .to_vec();
        if keeps {
            let jar = jar.to_string_lossy();
            arguments.extend(["-b", &jar, "-c", &jar].map(str::to_owned));
        }
        arguments.push(format!("http://{}/whoami?[1-{RUN}]", lab.service()));
        runs.user(keeps, move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            read(&node.output("curl", &arguments)?)
        })
    })
}

/// A body, then how many connections it took: 1 for the first and 0 for the others, or curl had to connect again.
fn read(output: &str) -> Result<Vec<Whoami>> {
    let lines: Vec<_> = output.lines().collect();
    let connections = lines.iter().skip(1).step_by(2);
    ensure!(connections.eq(["1"].iter().chain([&"0"; RUN - 1])), "connections were not kept: {output}");
    lines.iter().step_by(2).map(|body| serde_json::from_str(body).with_context(|| format!("read {body}"))).collect()
}
