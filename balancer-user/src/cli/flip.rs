//! `balancer flip`.

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, print};
use crate::{
    exit::Failure,
    label::Label,
    model,
    wire::{Done, Flip},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    service: String,
    /// The version that new sessions are to get.
    #[arg(value_parser = super::label)]
    version: Label,
    /// Whom the flip moves.
    #[arg(long, value_enum, default_value_t = Mode::NewSessions)]
    mode: Mode,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Nobody who has a session.
    NewSessions,
    /// Everybody, at their next request.
    Forced,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/flip", args.service);
    let mode = match args.mode {
        Mode::NewSessions => model::Mode::NewSessions,
        Mode::Forced => model::Mode::Forced,
    };
    let request = |dry_run| Flip { version: args.version.clone(), mode, dry_run };
    let plan: Done = client.send(Method::POST, &path, &request(true)).await?;
    print::will(client.format, &plan);
    if args.dry_run {
        return print::did(client.format, &Done { undo: String::new(), ..plan });
    }
    let done: Done = client.send(Method::POST, &path, &request(false)).await?;
    print::did(client.format, &done)
}
