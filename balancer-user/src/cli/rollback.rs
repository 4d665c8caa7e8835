//! `balancer rollback`.

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, terms};
use crate::{exit::Failure, model, wire::Rollback};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    service: String,
    /// What becomes of sessions that were born on the version that is rolled back from.
    #[arg(long, value_enum, default_value_t = Sessions::Move)]
    sessions: Sessions,
    #[command(flatten)]
    terms: terms::ForceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sessions {
    /// They move at their next request.
    Move,
    /// They stay until they end.
    Keep,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/rollback", args.service);
    let sessions = match args.sessions {
        Sessions::Move => model::Sessions::Move,
        Sessions::Keep => model::Sessions::Keep,
    };
    let danger = args.terms.danger(&args.service, None);
    terms::change(client, Method::POST, &path, &Rollback { sessions }, &args.terms, danger).await
}
