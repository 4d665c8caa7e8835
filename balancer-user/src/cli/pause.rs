//! `balancer pause` and `balancer resume`: requests are held, for a migration.

use std::time::Duration;

use hyper::Method;

use super::{client::Client, terms};
use crate::{
    boot::whole_millis,
    exit::Failure,
    wire::{Nothing, Pause},
};

#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The service, by its name in the config.
    service: String,
    /// For how long requests are held at most, without anybody's doing; 30s unless said, 10m at most.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_hold: Option<Duration>,
    #[command(flatten)]
    terms: terms::Args,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The service, by its name in the config.
    service: String,
    #[command(flatten)]
    terms: terms::Args,
}

pub(super) async fn pause(client: &Client, args: PauseArgs) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/pause", args.service);
    let request = Pause { max_hold_milliseconds: args.max_hold.map(whole_millis) };
    terms::change(client, Method::POST, &path, &request, &args.terms, None).await
}

pub(super) async fn resume(client: &Client, args: ResumeArgs) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/resume", args.service);
    terms::change(client, Method::POST, &path, &Nothing {}, &args.terms, None).await
}
