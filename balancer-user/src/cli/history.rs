//! `balancer history`.

use super::{Format, client::Client, print, table};
use crate::{exit::Failure, wire::History};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this service.
    service: Option<String>,
    /// How many at most, the latest last.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn run(client: &Client, args: Args) -> Result<(), Failure> {
    let mut history: History = client.get("/v1/history").await?;
    history.changes.retain(|change| args.service.as_ref().is_none_or(|service| *service == change.service));
    let surplus = history.changes.len().saturating_sub(args.limit);
    history.changes.drain(..surplus);
    if client.format == Format::Json {
        return print::json(&history);
    }
    let mut rows = table::new(&["at", "who", "service", ">generation", "did", "active", "why", "undo"]);
    for change in &history.changes {
        let about = change.version.as_ref().map_or(String::new(), |version| format!(" {version}"));
        let mode = change.mode.as_ref().map_or(String::new(), |mode| format!(" ({mode})"));
        let name = |label: &Option<crate::label::Label>| label.as_ref().map_or("-".to_owned(), ToString::to_string);
        let (from, to) = (name(&change.from), name(&change.to));
        rows.add_row([
            change.at.clone(),
            change.who.clone(),
            // The director as a whole has no name here.
            if change.service.is_empty() { "-".to_owned() } else { change.service.clone() },
            change.generation.to_string(),
            format!("{}{about}{mode}", change.verb),
            if from == to { to } else { format!("{from} -> {to}") },
            change.reason.clone().unwrap_or_default(),
            change.undo.clone(),
        ]);
    }
    print::line(&table::text(&rows));
    Ok(())
}
