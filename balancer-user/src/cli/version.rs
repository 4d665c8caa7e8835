//! `balancer version add | ls | rm`.

use hyper::Method;

use super::{Format, client::Client, print, status, table};
use crate::{
    endpoint::Endpoint,
    exit::Failure,
    label::Label,
    wire::{AddVersion, Done, RemoveVersion, ServiceStatus},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a version with its backends.
    Add(Add),
    /// List the versions, lowest first.
    Ls { service: String },
    /// Remove a version: its sessions get another one.
    Rm {
        service: String,
        #[arg(value_parser = super::label)]
        version: Label,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    service: String,
    /// 1 to 64 of A-Z a-z 0-9 . _ + -
    #[arg(value_parser = super::label)]
    version: Label,
    /// A server of the version; may be given several times. With a route, session ids that end in it lead there.
    #[arg(long = "backend", value_name = "IP:PORT[,route=ROUTE]", required = true, num_args = 1.., value_parser = backend)]
    backends: Vec<String>,
}

fn backend(text: &str) -> Result<String, String> {
    text.parse().map(|endpoint: Endpoint| endpoint.to_string())
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Add(add) => {
            let path = format!("/v1/services/{}/versions", add.service);
            let request =
                |dry_run| AddVersion { version: add.version.clone(), backends: add.backends.clone(), dry_run };
            let plan: Done = client.send(Method::POST, &path, &request(true)).await?;
            print::will(client.format, &plan);
            let done: Done = client.send(Method::POST, &path, &request(false)).await?;
            print::did(client.format, &done)
        }
        Verb::Rm { service, version } => {
            let path = format!("/v1/services/{service}/versions/{version}");
            let plan: Done = client.send(Method::DELETE, &path, &RemoveVersion { dry_run: true }).await?;
            print::will(client.format, &plan);
            let done: Done = client.send(Method::DELETE, &path, &RemoveVersion { dry_run: false }).await?;
            print::did(client.format, &done)
        }
        Verb::Ls { service } => {
            let status: ServiceStatus = client.get(&format!("/v1/services/{service}")).await?;
            match client.format {
                Format::Json => print::json(&status.versions),
                Format::Text => {
                    print::line(&table::text(&status::versions(&status.versions)));
                    Ok(())
                }
            }
        }
    }
}
