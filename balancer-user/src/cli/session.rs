//! `balancer session ls`.

use super::{Format, client::Client, print, table};
use crate::{exit::Failure, wire::SessionList};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List sessions, the latest seen first.
    Ls {
        /// The service, by its name in the config.
        service: String,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    let Verb::Ls { service, limit } = verb;
    let list: SessionList = client.get(&format!("/v1/services/{service}/sessions?limit={limit}")).await?;
    if client.format == Format::Json {
        return print::json(&list);
    }
    let mut rows = table::new(&["session", "version", "backend", "kind", ">age", ">idle"]);
    for session in &list.sessions {
        rows.add_row([
            session.hash.clone(),
            session.version.to_string(),
            session.backend.map_or("-".to_owned(), |address| address.to_string()),
            session.kind.clone(),
            table::seconds(session.age_seconds),
            table::seconds(session.idle_seconds),
        ]);
    }
    print::line(&table::text(&rows));
    print::line(&format!("{} of {} sessions", list.sessions.len(), list.total));
    Ok(())
}
