//! `balancer flip`.

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, terms};
use crate::{exit::Failure, label::Label, model, wire::Flip};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    service: String,
    /// The version that new sessions are to get.
    #[arg(value_parser = super::label)]
    version: Label,
    /// Whom the flip moves.
    #[arg(long, value_enum, default_value_t = Mode::NewSessions)]
    mode: Mode,
    #[command(flatten)]
    terms: terms::ForceArgs,
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
    let drastic = match mode {
        model::Mode::NewSessions => None,
        model::Mode::Forced => Some("every session moves at its next request"),
    };
    let request = Flip { version: args.version, mode };
    let danger = args.terms.danger(&args.service, drastic);
    terms::change(client, Method::POST, &path, &request, &args.terms, danger).await
}
