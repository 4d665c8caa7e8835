//! `balancer wait`: until nobody is on a version, or until it can serve.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use super::{Format, client::Client, print, table};
use crate::{
    exit::{Code, Failure},
    label::Label,
    model::Condition,
    wire::{ServiceStatus, VersionStatus},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    service: String,
    /// `idle=VERSION`: no request is in flight on it; `healthy=VERSION`: a backend of it takes work.
    #[arg(long = "for", value_name = "WHAT=VERSION")]
    what: What,
    /// How long to wait, for example 90s or 5m.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Idle(Label),
    Healthy(Label),
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, label) = text.split_once('=').unwrap_or((text, ""));
        let label = || super::label(label);
        match what {
            "idle" => Ok(Self::Idle(label()?)),
            "healthy" => Ok(Self::Healthy(label()?)),
            _ => Err(format!("`{text}` is nothing to wait for: write idle=VERSION or healthy=VERSION")),
        }
    }
}

impl What {
    fn label(&self) -> &Label {
        match self {
            Self::Idle(label) | Self::Healthy(label) => label,
        }
    }

    /// Whether it is so, and what there is to see.
    fn holds(&self, version: &VersionStatus) -> (bool, String) {
        match self {
            Self::Idle(_) => (version.in_flight <= 0, format!("{} requests are in flight on it", version.in_flight)),
            Self::Healthy(_) => {
                let up = version.backends.iter().any(|backend| backend.condition == Condition::Up);
                let details: Vec<String> =
                    version.backends.iter().map(|backend| format!("{}: {}", backend.address, backend.detail)).collect();
                (up, details.join(", "))
            }
        }
    }

    /// Looks that must agree. Counts of two CPUs can cancel out for an instant, so one look at "idle" proves nothing.
    fn looks(&self) -> u32 {
        match self {
            Self::Idle(_) => 2,
            Self::Healthy(_) => 1,
        }
    }
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let started = Instant::now();
    let label = args.what.label();
    let mut agreeing = 0;
    loop {
        let status: ServiceStatus = client.get(&format!("/v1/services/{}?sessions=false", args.service)).await?;
        let Some(version) = status.versions.iter().find(|version| version.label == *label) else {
            let known: Vec<&str> = status.versions.iter().map(|version| version.label.as_str()).collect();
            return Err(Failure::refused(
                format!("service `{}` has no version `{label}`", args.service),
                format!("the versions are: {}", known.join(", ")),
            ));
        };
        let (holds, seen) = args.what.holds(version);
        agreeing = if holds { agreeing + 1 } else { 0 };
        if agreeing >= args.what.looks() {
            return say(client.format, &args, version, started.elapsed());
        }
        if started.elapsed() >= args.timeout {
            return Err(Failure::new(
                Code::TimedOut,
                format!(
                    "{label} of {}: not so after {}: {seen}",
                    args.service,
                    humantime::format_duration(args.timeout)
                ),
                match args.what {
                    What::Idle(_) if status.active.as_ref() == Some(label) => {
                        format!("{label} is active: flip to another version first, or new requests keep coming")
                    }
                    What::Idle(_) => {
                        "wait longer with --timeout; sessions that stay on it keep making requests".to_owned()
                    }
                    What::Healthy(_) => "start its backends, or wait longer with --timeout".to_owned(),
                },
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn say(format: Format, args: &Args, version: &VersionStatus, waited: Duration) -> Result<(), Failure> {
    match format {
        Format::Json => print::json(version),
        Format::Text => {
            let what = match args.what {
                What::Idle(_) => "idle: no request is in flight on it",
                What::Healthy(_) => "healthy",
            };
            let waited = table::seconds(waited.as_secs());
            print::line(&format!("{}: {} is {what} (waited {waited})", args.service, version.label));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_wait_for() {
        let label: Label = "001".parse().unwrap();
        assert_eq!("idle=001".parse(), Ok(What::Idle(label.clone())));
        assert_eq!("healthy=001".parse(), Ok(What::Healthy(label)));
        for (bad, says) in
            [("busy=001", "idle=VERSION"), ("idle", "empty"), ("idle=0 1", "blank"), ("", "idle=VERSION")]
        {
            let error = bad.parse::<What>().unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
