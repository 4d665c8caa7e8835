//! `balancer events`: what happened, and with `-f` what happens.

use super::{Format, client::Client, print};
use crate::{exit::Failure, wire::Events};

/// Seconds for which the daemon is asked to wait for something to happen.
const WAIT: u64 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this service.
    service: Option<String>,
    /// Go on with what happens from now on.
    #[arg(short, long)]
    follow: bool,
    /// How many of the past at most, the latest last.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let service = args.service.as_ref().map_or(String::new(), |service| format!("&service={service}"));
    let mut events: Events = client.get(&format!("/v1/events?limit={}{service}", args.limit)).await?;
    loop {
        show(client.format, &events)?;
        if !args.follow {
            return Ok(());
        }
        events = client.get(&format!("/v1/events?since={}&wait={WAIT}&limit=1000{service}", events.next)).await?;
    }
}

/// A line each; in JSON as well.
fn show(format: Format, events: &Events) -> Result<(), Failure> {
    if events.lost > 0 {
        eprintln!("{} events are lost: they came faster than they were read", events.lost);
    }
    for event in &events.events {
        match format {
            Format::Json => {
                let line =
                    serde_json::to_string(event).map_err(|error| Failure::other(format!("write JSON: {error}"), ""))?;
                print::line(&line);
            }
            Format::Text => {
                let service = event.service.as_deref().unwrap_or("-");
                print::line(&format!("{} {service} {}: {}", event.at, event.kind, event.text));
            }
        }
    }
    Ok(())
}
