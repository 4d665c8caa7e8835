//! `balancer explain`.

use std::net::IpAddr;

use hyper::Method;

use super::{Format, client::Client, print};
use crate::{
    exit::Failure,
    wire::{ExplainRequest, Explanation},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, by its name in the config.
    service: String,
    /// A value of the session cookie; several in the order of the request.
    #[arg(long = "cookie", value_name = "ID")]
    cookies: Vec<String>,
    /// The request's path, and its query if that matters. A session id may stand there as well.
    #[arg(long, value_parser = target)]
    path: Option<String>,
    /// The host that the request is for, with its port if that matters; unless said, the listener's address. Rules may look at it.
    #[arg(long, value_parser = host)]
    host: Option<String>,
    /// Another header of the request, for example one that carries a pin; may be given several times. `-` for this or for
    /// --cookie: read from standard input, a line each, so that no secret stands in the list of processes.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address: without a session it chooses among a version's backends.
    #[arg(long, value_name = "IP")]
    source: IpAddr,
}

/// A value that a Host field can have without ending it.
fn host(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("no request has it: a host has no blanks".to_owned())
}

/// A request target in origin form (RFC 9112, 3.2.1).
fn target(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains([' ', '\r', '\n']) {
        return Ok(text.to_owned());
    }
    Err("no request has it: a path begins with / and has no blank".to_owned())
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/explain", args.service);
    let (cookies, headers) = (from_input(args.cookies)?, from_input(args.headers)?);
    let request = ExplainRequest { cookies, path: args.path, host: args.host, headers, source: args.source };
    let explanation: Explanation = client.send(Method::POST, &path, &request).await?;
    if client.format == Format::Json {
        return print::json(&explanation);
    }
    let service = explanation.service.as_ref().map_or(String::new(), |service| format!("{service} "));
    match (&explanation.version, explanation.backend) {
        (Some(version), Some(backend)) => {
            print::line(&format!("{service}{version} on {backend} ({})", explanation.reason));
        }
        (Some(version), None) => print::line(&format!("{service}{version} ({})", explanation.reason)),
        (None, _) if explanation.reason == "unmatched" => {
            print::line("nothing: it would be answered with a 404 (unmatched)");
        }
        (None, _) if explanation.reason == "ambiguous" => {
            print::line("nothing: it would be answered with a 400 (ambiguous)");
        }
        (None, _) => print::line(&format!("nothing: it would be answered with a 503 ({})", explanation.reason)),
    }
    for step in &explanation.steps {
        print::line(&format!("  {step}"));
    }
    Ok(())
}

/// Replaces a `-` by the lines of standard input.
pub(super) fn from_input(values: Vec<String>) -> Result<Vec<String>, Failure> {
    if !values.iter().any(|value| value == "-") {
        return Ok(values);
    }
    let input = std::io::read_to_string(std::io::stdin())
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}"), "pipe the values to it"))?;
    let lines: Vec<String> = input.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Failure::usage("nothing came on standard input", "pipe the values to it, a line each"));
    }
    Ok(values.into_iter().flat_map(|value| if value == "-" { lines.clone() } else { vec![value] }).collect())
}
