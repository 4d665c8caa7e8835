//! `balancer backend weight`.

use std::net::SocketAddr;

use hyper::Method;

use super::{client::Client, terms};
use crate::{config::parse_socket, endpoint::Weight, exit::Failure, label::Label, wire::Weigh};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Give a backend another share of its version's new sessions; 0: none, while others are there.
    Weight {
        /// The service, by its name in the config.
        service: String,
        /// The version, by its label.
        #[arg(value_parser = super::label)]
        version: Label,
        /// The backend's address.
        #[arg(value_name = "IP:PORT", value_parser = address)]
        backend: SocketAddr,
        /// 0 to 1000, of which 100 is the usual one.
        weight: Weight,
        #[command(flatten)]
        terms: terms::Args,
    },
}

fn address(text: &str) -> Result<SocketAddr, String> {
    parse_socket(text, "8080")
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    let Verb::Weight { service, version, backend, weight, terms } = verb;
    let path = format!("/v1/services/{service}/versions/{version}/backends");
    terms::change(client, Method::POST, &path, &Weigh { backend, weight }, &terms, None).await
}
