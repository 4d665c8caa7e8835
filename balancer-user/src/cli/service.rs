//! `balancer service adopt`.

use hyper::Method;

use super::{client::Client, print};
use crate::{
    exit::Failure,
    label::Label,
    wire::{Adopt, Done},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Adopt session ids that nobody knows into a version: for the day on which the director is put in front of an
    /// application that is already running.
    Adopt {
        service: String,
        /// The version that gets them, or `off`.
        #[arg(value_name = "VERSION|off", value_parser = version)]
        version: Version,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
    },
}

/// A version, or none.
#[derive(Clone, Debug)]
pub(super) struct Version(Option<Label>);

fn version(text: &str) -> Result<Version, String> {
    if text == "off" { Ok(Version(None)) } else { super::label(text).map(Some).map(Version) }
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    let Verb::Adopt { service, version, dry_run } = verb;
    let path = format!("/v1/services/{service}/adopt");
    let request = |dry_run| Adopt { version: version.0.clone(), dry_run };
    let plan: Done = client.send(Method::POST, &path, &request(true)).await?;
    print::will(client.format, &plan);
    if dry_run {
        return print::did(client.format, &Done { undo: String::new(), ..plan });
    }
    let done: Done = client.send(Method::POST, &path, &request(false)).await?;
    print::did(client.format, &done)
}
