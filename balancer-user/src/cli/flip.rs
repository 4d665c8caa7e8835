//! `balancer flip`.

use std::time::Duration;

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, terms};
use crate::{
    exit::Failure,
    label::Label,
    model::Percent,
    wire::{Flip, FlipMode},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, by its name in the config.
    service: String,
    /// The version that new sessions are to get.
    #[arg(value_parser = super::label)]
    version: Label,
    /// Whom the flip moves.
    #[arg(long, value_enum, default_value_t = Mode::NewSessions)]
    mode: Mode,
    /// With --mode percent: how many of new sessions get the version, 0.01 to 100.
    #[arg(long, value_name = "N", required_if_eq("mode", "percent"))]
    percent: Option<Percent>,
    /// With --mode exclusive: for how long requests are held at most. Then everything is as before, and the exit code 4.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_hold: Option<Duration>,
    #[command(flatten)]
    terms: terms::ForceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Nobody who has a session.
    NewSessions,
    /// Everybody, at their next request.
    Forced,
    /// The same, when the old version has finished what it works on; new requests wait until then.
    Exclusive,
    /// A share of new sessions: a canary, until promote or abort.
    Percent,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/flip", args.service);
    let (mode, drastic) = match args.mode {
        Mode::NewSessions => (FlipMode::NewSessions, None),
        Mode::Forced => (FlipMode::Forced, Some("every session moves at its next request")),
        Mode::Exclusive => (FlipMode::Exclusive, Some("every session moves, and requests wait for it")),
        Mode::Percent => (FlipMode::Percent, None),
    };
    let max_hold_milliseconds = args.max_hold.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let request = Flip { version: args.version, mode, percent: args.percent, max_hold_milliseconds };
    let danger = args.terms.danger(&args.service, drastic);
    terms::change(client, Method::POST, &path, &request, &args.terms, danger).await
}
