//! `balancer rollback`.

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, print};
use crate::{
    exit::Failure,
    model,
    wire::{Done, Rollback},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    service: String,
    /// What becomes of sessions that were born on the version that is rolled back from.
    #[arg(long, value_enum, default_value_t = Sessions::Move)]
    sessions: Sessions,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
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
    let plan: Done = client.send(Method::POST, &path, &Rollback { sessions, dry_run: true }).await?;
    print::will(client.format, &plan);
    if args.dry_run {
        return print::did(client.format, &Done { undo: String::new(), ..plan });
    }
    let done: Done = client.send(Method::POST, &path, &Rollback { sessions, dry_run: false }).await?;
    print::did(client.format, &done)
}
