//! `balancer explain`.

use std::net::Ipv4Addr;

use hyper::Method;

use super::{Format, client::Client, print};
use crate::{
    exit::Failure,
    wire::{ExplainRequest, Explanation},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    service: String,
    /// A value of the session cookie; several in the order of the request.
    #[arg(long = "cookie", value_name = "ID")]
    cookies: Vec<String>,
    /// The request's path, where a session id may stand as well.
    #[arg(long)]
    path: Option<String>,
    /// The client's address: without a session it chooses among a version's backends.
    #[arg(long, value_name = "IP")]
    source: Ipv4Addr,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/explain", args.service);
    let request = ExplainRequest { cookies: args.cookies, path: args.path, source: args.source };
    let explanation: Explanation = client.send(Method::POST, &path, &request).await?;
    if client.format == Format::Json {
        return print::json(&explanation);
    }
    match (&explanation.version, explanation.backend) {
        (Some(version), Some(backend)) => print::line(&format!("{version} on {backend} ({})", explanation.reason)),
        (Some(version), None) => print::line(&format!("{version} ({})", explanation.reason)),
        (None, _) => print::line("nothing: the connection would be reset"),
    }
    for step in &explanation.steps {
        print::line(&format!("  {step}"));
    }
    Ok(())
}
