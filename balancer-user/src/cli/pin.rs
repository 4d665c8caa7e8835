//! `balancer pin add | ls | rm`.

use std::time::Duration;

use hyper::Method;

use super::{Format, client::Client, explain::from_input, print, table, terms};
use crate::{
    exit::Failure,
    model::pin::{Network, Target},
    wire::{AddPin, Done, Nothing, PinList, PinStatus},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Pin testers to a version, whatever their session; or one session, as an operator.
    Add(Box<Add>),
    /// List pins; their values are not known any more.
    Ls {
        /// Only this service.
        service: Option<String>,
    },
    /// Take a pin away.
    Rm {
        /// The service, by its name in the config.
        service: String,
        /// Its number, as `pin ls` shows it.
        id: u32,
        #[command(flatten)]
        terms: terms::Args,
    },
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("carrier").args(["cookie", "header", "query", "session"])))]
pub(super) struct Add {
    /// The service, by its name in the config.
    service: String,
    /// The version; or `never`: no canary.
    #[arg(long, value_name = "VERSION|never")]
    to: Target,
    /// Requests from this network; with a cookie, header or parameter: only from there.
    #[arg(long, value_name = "CIDR", required_unless_present = "carrier")]
    source: Option<Network>,
    /// Requests with a value in this cookie; the value is made, and said once.
    #[arg(long, value_name = "NAME")]
    cookie: Option<String>,
    /// The same in this header.
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// The same in this parameter of the query.
    #[arg(long, value_name = "NAME")]
    query: Option<String>,
    /// Requests of one session. Its id is read from standard input, so write `-`.
    #[arg(long, value_name = "-", value_parser = ["-"])]
    session: Option<String>,
    /// A value of your own, for a pin that is limited by --source.
    #[arg(long, value_name = "TEXT", requires = "source")]
    value: Option<String>,
    /// How long it lasts, or `never`.
    #[arg(long, value_name = "TIME|never", default_value = "8h", value_parser = ttl)]
    ttl: Ttl,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Tell of each decision: `balancer events -f` shows them.
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    terms: terms::Args,
}

/// How long a pin lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ttl(Option<Duration>);

fn ttl(text: &str) -> Result<Ttl, String> {
    if text == "never" {
        return Ok(Ttl(None));
    }
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}: write a time such as 8h, or never"))?;
    if time.as_secs() == 0 { Err("write at least 1s, or never".to_owned()) } else { Ok(Ttl(Some(time))) }
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Add(add) => {
            let path = format!("/v1/services/{}/pins", add.service);
            let session = match add.session {
                Some(dash) => from_input(vec![dash])?.into_iter().next(),
                None => None,
            };
            let (cookie, header, query) = (add.cookie.clone(), add.header.clone(), add.query.clone());
            let request = AddPin {
                to: add.to.to_string(),
                source: add.source,
                cookie: add.cookie,
                header: add.header,
                query: add.query,
                session,
                value: add.value,
                ttl_seconds: add.ttl.0.map(|time| time.as_secs()),
                forever: add.ttl.0.is_none(),
                note: add.note,
                trace: add.trace,
            };
            let done = terms::change_quietly(client, Method::POST, &path, &request, &add.terms, None).await?;
            print::did(client.format, &done)?;
            if client.format == Format::Text {
                usage(&done, cookie.as_deref(), header.as_deref(), query.as_deref());
            }
            Ok(())
        }
        Verb::Rm { service, id, terms } => {
            let path = format!("/v1/services/{service}/pins/{id}");
            terms::change(client, Method::DELETE, &path, &Nothing {}, &terms, None).await
        }
        Verb::Ls { service } => {
            let path = service.map_or("/v1/pins".to_owned(), |service| format!("/v1/services/{service}/pins"));
            let list: PinList = client.get(&path).await?;
            if client.format == Format::Json {
                return print::json(&list);
            }
            let mut rows = table::new(&["service", ">pin", "to", "by", "from", "value", "ends in", "note"]);
            for PinStatus { service, id, to, carrier, source, hash, seconds_left, trace, note } in list.pins {
                rows.add_row([
                    service,
                    id.to_string(),
                    to,
                    carrier,
                    source.map_or("anywhere".to_owned(), |network| network.to_string()),
                    hash.map_or("-".to_owned(), |hash| format!("hash {hash}")),
                    seconds_left.map_or("never".to_owned(), table::seconds),
                    format!("{}{}", note.unwrap_or_default(), if trace { " (traced)" } else { "" }),
                ]);
            }
            print::line(&table::text(&rows));
            Ok(())
        }
    }
}

/// How a pin is used that was just made.
fn usage(done: &Done, cookie: Option<&str>, header: Option<&str>, query: Option<&str>) {
    let Some(value) = done.pin.as_ref().and_then(|pin| pin.value.as_deref()) else { return };
    if let Some(name) = cookie {
        print::line(&format!("use:     Cookie: {name}={value}"));
    }
    if let Some(name) = header {
        print::line(&format!("use:     {name}: {value}"));
    }
    if let Some(name) = query {
        print::line(&format!("use:     /?{name}={value}"));
    }
    print::line("note:    the value is said this once: who knows it is pinned");
}
