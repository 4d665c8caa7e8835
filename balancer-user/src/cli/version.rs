//! `balancer version add | ls | rm`.

use hyper::Method;

use super::{Format, client::Client, print, status, table, terms};
use crate::{
    endpoint::Endpoint,
    exit::Failure,
    label::Label,
    wire::{AddVersion, Nothing, ServiceStatus},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a version with its backends.
    Add(Add),
    /// List the versions, lowest first.
    Ls {
        /// The service, by its name in the config.
        service: String,
    },
    /// Remove a version: its sessions get another one.
    Rm {
        /// The service, by its name in the config.
        service: String,
        /// The version, by its label.
        #[arg(value_parser = super::label)]
        version: Label,
        #[command(flatten)]
        terms: terms::Args,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The service, by its name in the config.
    service: String,
    /// 1 to 64 of A-Z a-z 0-9 . _ + -
    #[arg(value_parser = super::label)]
    version: Label,
    /// A server of the version; may be given several times. With a route, session ids that end in it lead there; the weight is
    /// its share of new sessions, 100 unless given.
    #[arg(long = "backend", value_name = "IP:PORT[,route=ROUTE][,weight=N]", required = true, num_args = 1.., value_parser = backend)]
    backends: Vec<String>,
    /// Only pins and canaries reach it, until it is flipped to.
    #[arg(long)]
    stage: bool,
    #[command(flatten)]
    terms: terms::Args,
}

fn backend(text: &str) -> Result<String, String> {
    text.parse().map(|endpoint: Endpoint| endpoint.to_string())
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Add(Add { service, version, backends, stage, terms }) => {
            let path = format!("/v1/services/{service}/versions");
            terms::change(client, Method::POST, &path, &AddVersion { version, backends, stage }, &terms, None).await
        }
        Verb::Rm { service, version, terms } => {
            let path = format!("/v1/services/{service}/versions/{version}");
            terms::change(client, Method::DELETE, &path, &Nothing {}, &terms, None).await
        }
        Verb::Ls { service } => {
            let status: ServiceStatus = client.get(&format!("/v1/services/{service}")).await?;
            match client.format {
                Format::Json => print::json(&status.versions),
                Format::Text => {
                    print::line(&table::text(&status::versions(&status.versions, &status.retired)));
                    Ok(())
                }
            }
        }
    }
}
