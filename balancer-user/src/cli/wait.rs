//! `balancer wait`: until nobody is on a version, or until it serves.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use super::{Format, client::Client, drain::progress, print, table};
use crate::{
    exit::{Code, Failure},
    label::Label,
    model::Condition,
    wire::{ServiceStatus, VersionState, VersionStatus},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, by its name in the config.
    service: String,
    /// `idle=VERSION`: no request is in flight on it; `drained=VERSION`: no session is left either, or it is retired;
    /// `healthy=VERSION`: a backend of it takes work; `active=VERSION`: new sessions get it.
    #[arg(long = "for", value_name = "WHAT=VERSION")]
    what: What,
    /// How long to wait, for example 90s or 5m.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Idle(Label),
    Drained(Label),
    Healthy(Label),
    Active(Label),
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, label) = text.split_once('=').unwrap_or((text, ""));
        let label = || super::label(label);
        match what {
            "idle" => Ok(Self::Idle(label()?)),
            "drained" => Ok(Self::Drained(label()?)),
            "healthy" => Ok(Self::Healthy(label()?)),
            "active" => Ok(Self::Active(label()?)),
            _ => Err(format!(
                "`{text}` is nothing to wait for: write idle=VERSION, drained=VERSION, healthy=VERSION or active=VERSION"
            )),
        }
    }
}

impl What {
    fn label(&self) -> &Label {
        match self {
            Self::Idle(label) | Self::Drained(label) | Self::Healthy(label) | Self::Active(label) => label,
        }
    }

    /// Whether it is so, and what there is to see.
    fn holds(&self, version: &VersionStatus) -> (bool, String) {
        match self {
            Self::Drained(_) => {
                let sessions = version.sessions.unwrap_or_default();
                (sessions.presented + sessions.issued == 0 && version.in_flight <= 0, progress(version))
            }
            Self::Active(_) => (version.state == VersionState::Active, format!("it is {}", version.state.as_str())),
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
            Self::Idle(_) | Self::Drained(_) => 2,
            Self::Healthy(_) | Self::Active(_) => 1,
        }
    }
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let started = Instant::now();
    let label = args.what.label();
    let mut agreeing = 0;
    loop {
        let counts = matches!(args.what, What::Drained(_));
        let status: ServiceStatus = client.get(&format!("/v1/services/{}?sessions={counts}", args.service)).await?;
        if counts && status.retired.iter().any(|retired| retired.label == *label) {
            return say_retired(client.format, &args, started.elapsed());
        }
        let Some(version) = status.versions.iter().find(|version| version.label == *label) else {
            let known: Vec<&str> = status.versions.iter().map(|version| version.label.as_str()).collect();
            return Err(Failure::refused(
                format!("service `{}` has no version `{label}`", args.service),
                format!("the versions are: {}", known.join(", ")),
            ));
        };
        if counts && version.state == VersionState::Active {
            return Err(Failure::refused(
                format!(
                    "`{label}` is the active version of `{}`: it gets new sessions, and is never drained",
                    args.service
                ),
                format!("flip to another one first, or drain it: balancer drain {} {label}", args.service),
            ));
        }
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
                    What::Drained(_) => {
                        format!("drain it with a deadline: balancer drain {} {label} --deadline 45m", args.service)
                    }
                    What::Active(_) => format!("flip to it: balancer flip {} {label}", args.service),
                    What::Healthy(_) => "start its backends, or wait longer with --timeout".to_owned(),
                },
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What was waited for has gone further than that.
fn say_retired(format: Format, args: &Args, waited: Duration) -> Result<(), Failure> {
    match format {
        Format::Json => print::json(&serde_json::json!({ "label": args.what.label(), "state": "retired" })),
        Format::Text => {
            let waited = table::seconds(waited.as_secs());
            print::line(&format!("{}: {} is retired (waited {waited})", args.service, args.what.label()));
            Ok(())
        }
    }
}

fn say(format: Format, args: &Args, version: &VersionStatus, waited: Duration) -> Result<(), Failure> {
    match format {
        Format::Json => print::json(version),
        Format::Text => {
            let what = match args.what {
                What::Idle(_) => "idle: no request is in flight on it",
                What::Drained(_) => "drained: no session is left, and no request in flight",
                What::Healthy(_) => "healthy",
                What::Active(_) => "active: new sessions get it",
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
        assert_eq!("drained=001".parse(), Ok(What::Drained(label.clone())));
        assert_eq!("active=001".parse(), Ok(What::Active(label.clone())));
        assert_eq!("healthy=001".parse(), Ok(What::Healthy(label)));
        for (bad, says) in
            [("busy=001", "idle=VERSION"), ("idle", "empty"), ("idle=0 1", "blank"), ("", "idle=VERSION")]
        {
            let error = bad.parse::<What>().unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
