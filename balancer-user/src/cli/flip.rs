//! `balancer flip`.

use std::time::Duration;

use clap::ValueEnum;
use hyper::Method;

use super::{client::Client, terms};
use crate::{
    boot::whole_millis,
    exit::Failure,
    label::Label,
    model::{self, Over, Percent},
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
    /// With --mode exclusive: what becomes of requests that do not end in time.
    #[arg(long, value_enum)]
    on_timeout: Option<OnTimeout>,
    /// With --mode exclusive: what becomes of connections that changed protocols, such as WebSockets.
    #[arg(long, value_enum)]
    opaque: Option<Opaque>,
    /// With --mode exclusive: for how long a request counts whose client went away; its backend may still work on it. 5 s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    abandon_after: Option<Duration>,
    /// With --mode percent: by how many points of failures above the active version's the canary is given up; or never.
    #[arg(long, value_name = "PERCENT|never")]
    abort_over: Option<Over>,
    /// With --mode percent: after how many requests of the canary that may be at the earliest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    min_requests: Option<u64>,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnTimeout {
    /// Everything is as before, and the exit code is 4.
    Return,
    /// They are reset, and the flip is made.
    Cut,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Opaque {
    /// The flip waits for their end.
    Wait,
    /// They are reset.
    Close,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/flip", args.service);
    let (mode, drastic) = match args.mode {
        Mode::NewSessions => (FlipMode::NewSessions, None),
        Mode::Forced => (FlipMode::Forced, Some("every session moves at its next request")),
        Mode::Exclusive => (FlipMode::Exclusive, Some("every session moves, and requests wait for it")),
        Mode::Percent => (FlipMode::Percent, None),
    };
    let request = Flip {
        version: args.version,
        mode,
        percent: args.percent,
        max_hold_milliseconds: args.max_hold.map(whole_millis),
        on_timeout: args.on_timeout.map(|what| match what {
            OnTimeout::Return => model::OnTimeout::Return,
            OnTimeout::Cut => model::OnTimeout::Cut,
        }),
        opaque: args.opaque.map(|what| match what {
            Opaque::Wait => model::Opaque::Wait,
            Opaque::Close => model::Opaque::Close,
        }),
        abandon_after_milliseconds: args.abandon_after.map(whole_millis),
        abort_over: args.abort_over,
        min_requests: args.min_requests,
    };
    let danger = args.terms.danger(&args.service, drastic);
    terms::change(client, Method::POST, &path, &request, &args.terms, danger).await
}
