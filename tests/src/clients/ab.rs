//! ab, ApacheBench: HTTP/1.0 with kept-alive connections.

use anyhow::{Context, Result, ensure};

use super::runs::Runs;
use crate::client::Whoami;
use crate::lab::Lab;
use crate::lab::node::Node;

/// Requests of a run, and the connections that they share.
const RUN: [&str; 2] = ["20", "2"];

/// A keeper and a newcomer. ab has no cookie jar, so a run of the keeper presents what the run before it got.
pub fn ab(lab: &Lab) -> Runs {
    let url = format!("http://{}/whoami", lab.service());
    let (node, to) = (lab.client().clone(), url.clone());
    let mut jar: Option<String> = None;
    let keeper = move || {
        // The first session comes of a single request: of two, one would be lost.
        let answers = run(&node, &to, if jar.is_none() { ["1", "1"] } else { RUN }, jar.as_deref())?;
        jar = answers.iter().rfind(|answer| answer.new).map(|answer| answer.session.clone()).or(jar.take());
        Ok(answers)
    };
    let node = lab.client().clone();
    Runs::new().user(true, keeper).user(false, move || run(&node, &url, RUN, None))
}

fn run(node: &Node, url: &str, [count, connections]: [&str; 2], session: Option<&str>) -> Result<Vec<Whoami>> {
    let cookie = session.map(|session| format!("JSESSIONID={session}"));
    let mut arguments = vec!["-k", "-l", "-q", "-v", "4", "-s", "10", "-n", count, "-c", connections];
    arguments.extend(cookie.iter().flat_map(|cookie| ["-C", cookie.as_str()]));
    arguments.push(url);
    let output = node.output("ab", &arguments)?;
    let summary = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    ensure!(summary("Failed requests:") == Some("0"), "ab had failures: {output}");
    ensure!(summary("Non-2xx responses:").is_none(), "ab got other answers: {output}");
    ensure!(summary("Keep-Alive requests:") == Some(count), "connections were not kept: {output}");
    let bodies = output.lines().filter(|line| line.starts_with("{\""));
    let answers = bodies.map(serde_json::from_str).collect::<Result<Vec<Whoami>, _>>().context("read ab's answers")?;
    ensure!(answers.len().to_string() == count, "{} answers instead of {count}: {output}", answers.len());
    Ok(answers)
}
