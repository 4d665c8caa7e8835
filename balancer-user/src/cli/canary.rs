//! `balancer promote` and `balancer abort`: how a canary ends. `flip --mode percent` begins one. `abort` gives an exclusive flip up, too.

use hyper::Method;

use super::{client::Client, rollback::Sessions, terms};
use crate::{
    exit::Failure,
    wire::{Abort, Nothing},
};

#[derive(Debug, clap::Args)]
pub(super) struct PromoteArgs {
    /// The service, by its name in the config.
    service: String,
    #[command(flatten)]
    terms: terms::ForceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct AbortArgs {
    /// The service, by its name in the config.
    service: String,
    /// What becomes of sessions that were born on the canary.
    #[arg(long, value_enum, default_value_t = Sessions::Move)]
    sessions: Sessions,
    #[command(flatten)]
    terms: terms::Args,
}

pub(super) async fn promote(client: &Client, args: PromoteArgs) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/promote", args.service);
    let danger = args.terms.danger(&args.service, None);
    terms::change(client, Method::POST, &path, &Nothing {}, &args.terms, danger).await
}

pub(super) async fn abort(client: &Client, args: AbortArgs) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/abort", args.service);
    let request = Abort { sessions: args.sessions.into() };
    terms::change(client, Method::POST, &path, &request, &args.terms, None).await
}
