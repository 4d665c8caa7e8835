//! `balancer drain` and `balancer retire`.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use hyper::Method;

use super::{Format, client::Client, print, table, terms};
use crate::{
    exit::{Code, Failure},
    label::Label,
    model,
    wire::{DrainVersion, Nothing, ServiceStatus, VersionStatus},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, by its name in the config.
    service: String,
    /// The version, by its label.
    #[arg(value_parser = super::label)]
    version: Label,
    /// When it ends at the latest, for example 45m; without it, when nobody is left.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "cancel")]
    deadline: Option<Duration>,
    /// What becomes of the version then.
    #[arg(long, value_enum, default_value_t = Then::Retire, conflicts_with = "cancel")]
    then: Then,
    /// It is no longer to be drained.
    #[arg(long)]
    cancel: bool,
    /// Wait until it has ended.
    #[arg(long, conflicts_with_all = ["cancel", "dry_run"])]
    wait: bool,
    /// With --wait: for how long at most; then the exit code is 4, and the drain goes on.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    terms: terms::Args,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Then {
    /// It is retired; at a deadline its last sessions move, and its last connections are closed over a minute.
    Retire,
    /// It stays with what it has.
    Keep,
    /// It stays, without sessions and connections.
    Close,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/versions/{}/drain", args.service, args.version);
    let then = match args.then {
        Then::Retire => model::Then::Retire,
        Then::Keep => model::Then::Keep,
        Then::Close => model::Then::Close,
    };
    let deadline_seconds = args.deadline.map(|deadline| deadline.as_secs());
    let request = DrainVersion { deadline_seconds, then, cancel: args.cancel };
    terms::change(client, Method::POST, &path, &request, &args.terms, None).await?;
    if args.wait { wait(client, &args.service, &args.version, args.timeout).await } else { Ok(()) }
}

/// Follows a drain to its end, with a line whenever something has changed.
async fn wait(client: &Client, service: &str, label: &Label, timeout: Option<Duration>) -> Result<(), Failure> {
    let started = Instant::now();
    let mut last = String::new();
    loop {
        let status: ServiceStatus = client.get(&format!("/v1/services/{service}")).await?;
        let version = status.versions.iter().find(|version| version.label == *label);
        let Some(version) = version.filter(|version| version.drain.is_some()) else {
            if client.format == Format::Text {
                let how = if version.is_some() { "has ended" } else { "has ended: it is retired" };
                print::line(&format!("done:    {service}: the drain of {label} {how}"));
            }
            return Ok(());
        };
        let now = progress(version);
        // The time that is left changes all the time, and is no news.
        let (news, _) = now.split_once("; ").unwrap_or((&now, ""));
        if client.format == Format::Text && news != last {
            print::line(&format!("left:    {now}"));
            last = news.to_owned();
        }
        if timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return Err(Failure::new(
                Code::TimedOut,
                format!("{label} of {service} is still draining: {now}"),
                "it goes on by itself: wait longer, or look at it with `balancer status`",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is left on a version that drains.
pub(super) fn progress(version: &VersionStatus) -> String {
    let sessions = version.sessions.unwrap_or_default();
    let mut text = format!(
        "{} sessions, {} new ones, {} flows, {} requests in flight",
        sessions.presented, sessions.issued, version.flows, version.in_flight
    );
    let Some(drain) = &version.drain else { return text };
    if let Some(oldest) = sessions.oldest_seconds {
        text.push_str(&format!("; the oldest {}", table::seconds(oldest)));
    }
    match drain.seconds_left {
        _ if drain.closing => text.push_str("; closing what is left"),
        Some(left) => text.push_str(&format!("; {} left, then {}", table::seconds(left), drain.then.as_str())),
        None => text.push_str(&format!("; then {}", drain.then.as_str())),
    }
    text
}

#[derive(Debug, clap::Args)]
pub(super) struct RetireArgs {
    /// The service, by its name in the config.
    service: String,
    /// The version, by its label.
    #[arg(value_parser = super::label)]
    version: Label,
    #[command(flatten)]
    terms: terms::ForceArgs,
}

pub(super) async fn retire(client: &Client, args: RetireArgs) -> Result<(), Failure> {
    let path = format!("/v1/services/{}/versions/{}/retire", args.service, args.version);
    let danger = args.terms.danger(&args.service, None);
    terms::change(client, Method::POST, &path, &Nothing {}, &args.terms, danger).await
}
