//! `balancer status`.

use std::{io::IsTerminal as _, time::Duration};

use super::{Format, client::Client, drain::progress, print, table};
use crate::{
    config::{Hook, OnAmbiguous},
    exit::Failure,
    model::{Condition, Guard},
    sizes::human,
    wire::{
        AbortedStatus, HoldStatus, ListenerStatus, Restored, RetiredStatus, ServiceStatus, SnapshotStatus, Status,
        VersionStatus,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this service.
    service: Option<String>,
    /// Show it again every second.
    #[arg(short, long)]
    watch: bool,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    loop {
        let text = match &args.service {
            Some(service) => one(client, service).await?,
            None => all(client).await?,
        };
        if args.watch && std::io::stdout().is_terminal() {
            // Home, and what is below is cleared: less flicker than clearing all of it.
            print::line(&format!("\x1b[H\x1b[J{text}"));
        } else {
            print::line(&text);
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn one(client: &Client, service: &str) -> Result<String, Failure> {
    let status: ServiceStatus = client.get(&format!("/v1/services/{service}")).await?;
    match client.format {
        Format::Json => pretty(&status),
        Format::Text => Ok(service_text(&status)),
    }
}

async fn all(client: &Client) -> Result<String, Failure> {
    let status: Status = client.get("/v1/status").await?;
    match client.format {
        Format::Json => pretty(&status),
        Format::Text => Ok(status_text(&status)),
    }
}

fn pretty<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::other(format!("write JSON: {error}"), ""))
}

fn status_text(status: &Status) -> String {
    let interfaces: Vec<String> = status
        .interfaces
        .iter()
        .map(|interface| {
            let hook = if interface.hook == Hook::Xdp { "XDP" } else { "TC" };
            format!("{} ({hook})", interface.name)
        })
        .collect();
    let mut text = format!(
        "{}: up {}, pid {}, on {}; room for {} flows, {} sessions in {}\n",
        status.name,
        table::seconds(status.uptime_seconds),
        status.pid,
        interfaces.join(", "),
        status.flows_limit,
        status.sessions_limit,
        human(status.memory_bytes),
    );
    text.push_str(&snapshots_text(&status.snapshots));
    if status.hook_events_dropped > 0 {
        text.push_str(&format!(
            "warning: {} events were not told: their hook is too slow\n",
            status.hook_events_dropped
        ));
    }
    for service in &status.services {
        text.push('\n');
        text.push_str(&service_text(service));
        text.push('\n');
    }
    if !status.counters.is_empty() {
        let mut counters = table::new(&["counter", ">count"]);
        for counter in &status.counters {
            counters.add_row([counter.name.clone(), counter.value.to_string()]);
        }
        text.push('\n');
        text.push_str(&table::text(&counters));
    }
    text
}

/// What a reboot now would bring back, and what the start brought back.
fn snapshots_text(status: &SnapshotStatus) -> String {
    let mut text = match (&status.last, status.age_seconds) {
        (Some(last), Some(age)) => {
            format!("snapshot: {} sessions, {} ago, in {}", last.sessions, table::seconds(age), last.path.display())
        }
        _ => "snapshot: none since the start".to_owned(),
    };
    if let Some(Restored { from, sessions, expired, gone, no_room, problem }) = &status.restored {
        if !from.is_empty() {
            text.push_str(&format!(
                "\nrestored: {sessions} sessions from {from} ({expired} expired, {gone} of versions that are gone, {no_room} without room)"
            ));
        }
        if let Some(problem) = problem {
            text.push_str(&format!("\nwarning: {problem}"));
        }
    }
    if let Some(problem) = &status.problem {
        text.push_str(&format!("\nwarning: {problem}"));
    }
    text.push('\n');
    text
}

fn service_text(service: &ServiceStatus) -> String {
    let active = service.active.as_ref().map_or("none", |label| label.as_str());
    let previous = service.previous.as_ref().map_or(String::new(), |label| format!(", before it {label}"));
    let adopt = service.adopt.as_ref().map_or(String::new(), |label| format!(", unknown ids: {label}"));
    let mut text = format!(
        "{}  http://{}  active: {active}{previous}{adopt}, generation {}\n",
        service.name, service.listen, service.generation
    );
    text.push_str(&table::text(&versions(&service.versions, &service.retired)));
    if let Some(canary) = &service.canary {
        let measured = canary.measured_percent.map_or("none yet".to_owned(), |percent| format!("{percent:.1} %"));
        text.push_str(&format!(
            "\ncanary: {} gets {} % of new sessions; measured: {measured} of {}",
            canary.version, canary.percent, canary.new_sessions
        ));
        text.push_str(&format!("\n        {}; of the active version's {}", canary.outcomes, canary.active_outcomes));
        text.push_str(&match canary.guard {
            Some(Guard { over, min_requests }) => {
                format!("\n        it is given up by itself at more than {over} points above that, after {min_requests} requests")
            }
            None => "\n        it is not given up by itself".to_owned(),
        });
    }
    if let Some(listener) = &service.listener {
        text.push_str(&format!("\nrules: {}", rules_text(&service.name, listener)));
    }
    if let Some(AbortedStatus { version, at, why }) = &service.aborted {
        text.push_str(&format!("\naborted: {version} was given up as a canary at {at}: {why}"));
    }
    if let Some(HoldStatus { milliseconds, flip_to, paused }) = &service.hold {
        let time = humantime::format_duration(Duration::from_millis(*milliseconds));
        let what = match (flip_to, paused) {
            (_, true) => format!("until balancer resume {}", service.name),
            (Some(label), false) => format!("an exclusive flip to {label}"),
            (None, false) => "an exclusive flip".to_owned(),
        };
        let wait = if *paused { "wait" } else { "wait for" };
        text.push_str(&format!("\nheld: requests {wait} {what}, for {time} at most"));
    }
    for version in service.versions.iter().filter(|version| version.drain.is_some()) {
        text.push_str(&format!("\ndrain: {}: {}", version.label, progress(version)));
    }
    for warning in &service.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    text
}

/// Which requests of its address a service gets: its rules, each with its place among all of them.
fn rules_text(service: &str, listener: &ListenerStatus) -> String {
    let numbered = (1..).zip(&listener.rules).filter(|(_, rule)| rule.service == service);
    let mut rules: Vec<String> = numbered.map(|(number, rule)| format!("{number}. {}", rule.asks)).collect();
    if listener.default.as_deref() == Some(service) {
        rules.push(match listener.on_ambiguous {
            OnAmbiguous::Default => "what no rule matches, or may match".to_owned(),
            OnAmbiguous::Reject => "what no rule matches".to_owned(),
        });
    }
    rules.join("; ")
}

/// The versions of a service, lowest first, and those that are gone.
pub(super) fn versions(versions: &[VersionStatus], retired: &[RetiredStatus]) -> comfy_table::Table {
    let headings =
        ["version", "state", "backends", ">sessions", ">new", ">flows", ">idle legs", ">in flight", ">requests"];
    let mut table = table::new(&headings);
    for version in versions {
        let up = version.backends.iter().filter(|backend| backend.condition == Condition::Up).count();
        let addresses: Vec<String> = version.backends.iter().take(3).map(|b| b.address.to_string()).collect();
        let more = if version.backends.len() > 3 { ", …" } else { "" };
        let sessions = version.sessions.unwrap_or_default();
        table.add_row(vec![
            comfy_table::Cell::new(&version.label),
            table::state(version.state),
            comfy_table::Cell::new(format!("{up}/{} up: {}{more}", version.backends.len(), addresses.join(", "))),
            comfy_table::Cell::new(sessions.presented),
            comfy_table::Cell::new(sessions.issued),
            comfy_table::Cell::new(version.flows),
            comfy_table::Cell::new(version.backends.iter().map(|backend| backend.legs_idle).sum::<u64>()),
            comfy_table::Cell::new(version.in_flight),
            comfy_table::Cell::new(version.requests),
        ]);
    }
    for RetiredStatus { label, at, .. } in retired {
        table.add_row(vec![label.to_string(), "retired".to_owned(), at.clone()]);
    }
    table
}
