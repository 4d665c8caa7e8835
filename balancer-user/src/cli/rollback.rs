//! `balancer rollback`.

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, terms};
use crate::{exit::Failure, model, wire::Rollback};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, by its name in the config.
    service: String,
    /// What becomes of sessions that were born on the version that is rolled back from.
    #[arg(long, value_enum, default_value_t = Sessions::Move)]
    sessions: Sessions,
    #[command(flatten)]
    terms: terms::ForceArgs,
}

/// What becomes of sessions that were born on a version that is given up.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Sessions {
    /// They move at their next request.
    Move,
    /// They stay until they end.
    Keep,
}

impl From<Sessions> for model::Sessions {
    fn from(sessions: Sessions) -> Self {
        match sessions {
            Sessions::Move => Self::Move,
            Sessions::Keep => Self::Keep,
        }
    }
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/rollback", args.service);
    let sessions = args.sessions.into();
    let danger = args.terms.danger(&args.service, None);
    terms::change(client, Method::POST, &path, &Rollback { sessions }, &args.terms, danger).await
}
