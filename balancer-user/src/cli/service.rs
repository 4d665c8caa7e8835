//! `balancer service adopt`.

use hyper::Method;

use super::{client::Client, terms};
use crate::{exit::Failure, label::Label, wire::Adopt};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Adopt session ids that nobody knows into a version: for the day on which the director is put in front of an
    /// application that is already running.
    Adopt {
        /// The service, by its name in the config.
        service: String,
        /// The version that gets them, or `off`.
        #[arg(value_name = "VERSION|off", value_parser = version)]
        version: Version,
        #[command(flatten)]
        terms: terms::Args,
    },
}

/// A version, or none.
#[derive(Clone, Debug)]
pub(super) struct Version(Option<Label>);

fn version(text: &str) -> Result<Version, String> {
    if text == "off" { Ok(Version(None)) } else { super::label(text).map(Some).map(Version) }
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    let Verb::Adopt { service, version, terms } = verb;
    let path = format!("/v1/services/{service}/adopt");
    terms::change(client, Method::POST, &path, &Adopt { version: version.0 }, &terms, None).await
}
