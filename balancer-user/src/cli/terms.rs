//! What all changes have in common on the command line: their terms, the plan before the deed, and the name that is to be typed
//! before one that moves everybody.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use hyper::Method;
use serde::Serialize;

use super::{client::Client, print};
use crate::{
    exit::Failure,
    wire::{Done, Terms},
};

// The terms of a change. (Not a documenting comment: clap would describe the verbs by it.)
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history and the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only if the service is still at this generation, which `status` shows; else exit code 6.
    #[arg(long, value_name = "N")]
    if_generation: Option<u64>,
}

// Those of a change that the director may refuse for somebody's good.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct ForceArgs {
    #[command(flatten)]
    terms: Args,
    /// Do it where the director would refuse; it says what for.
    #[arg(long)]
    force: bool,
    /// The service's name: what would have to be typed at a terminal.
    #[arg(long, value_name = "SERVICE")]
    confirm: Option<String>,
}

impl From<&Args> for Terms {
    fn from(args: &Args) -> Self {
        let Args { dry_run, reason, if_generation } = args.clone();
        Self { dry_run, reason, if_generation, force: false }
    }
}

impl From<&ForceArgs> for Terms {
    fn from(args: &ForceArgs) -> Self {
        Self { force: args.force, ..Self::from(&args.terms) }
    }
}

impl ForceArgs {
    /// What has to be confirmed, if anything: what the verb does to everybody, or what `--force` overrules.
    pub(super) fn danger<'a>(&'a self, service: &'a str, drastic: Option<&'a str>) -> Option<Danger<'a>> {
        let what = drastic.or(self.force.then_some("--force overrules what the director would refuse"))?;
        Some(Danger { service, what, confirmed: self.confirm.as_deref() })
    }
}

/// A change that nobody should make by a slip of the hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Danger<'a> {
    service: &'a str,
    what: &'a str,
    /// What `--confirm` says.
    confirmed: Option<&'a str>,
}

impl Danger<'_> {
    /// Asks for the service's name. Without a terminal nobody is asked: whoever wrote the script has said what it is to do.
    fn confirm(self) -> Result<(), Failure> {
        let Self { service, what, confirmed } = self;
        if let Some(typed) = confirmed {
            return check(service, typed);
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Ok(());
        }
        let mut typed = String::new();
        let mut asked = || -> std::io::Result<()> {
            write!(std::io::stderr(), "{what}. Type the service's name to go on: ")?;
            std::io::stderr().flush()?;
            std::io::stdin().lock().read_line(&mut typed).map(drop)
        };
        asked().map_err(|error| Failure::other(format!("nobody can be asked: {error}"), "say it with --confirm"))?;
        check(service, typed.trim())
    }
}

fn check(service: &str, typed: &str) -> Result<(), Failure> {
    if typed == service {
        return Ok(());
    }
    Err(Failure::refused(
        format!("not confirmed: `{typed}` is not the service's name; nothing was changed"),
        format!("type {service}, or give --confirm {service}"),
    ))
}

/// Says what a change will do, has it confirmed where that is wanted, and does it, unless it is to be a dry run. The plan is asked for
/// first where somebody is to see it before the deed.
pub(super) async fn change<B: Serialize>(
    client: &Client,
    method: Method,
    path: &str,
    request: &B,
    terms: impl Into<Terms>,
    danger: Option<Danger<'_>>,
) -> Result<(), Failure> {
    let done = change_quietly(client, method, path, request, terms, danger).await?;
    print::did(client.format, &done)
}

/// The same, for who wants to say more of what was done.
pub(super) async fn change_quietly<B: Serialize>(
    client: &Client,
    method: Method,
    path: &str,
    request: &B,
    terms: impl Into<Terms>,
    danger: Option<Danger<'_>>,
) -> Result<Done, Failure> {
    let terms = terms.into();
    let body = |dry_run| crate::terms::join(request, &Terms { dry_run, ..terms.clone() });
    if !terms.dry_run && danger.is_none() && !client.is_read_as_it_comes() {
        // The answer has the plan, too, and a round trip beside a load takes half a millisecond.
        let done = client.send(method, path, &body(false)?).await?;
        print::will(client.format, &done);
        return Ok(done);
    }
    let plan: Done = client.send(method.clone(), path, &body(true)?).await?;
    print::will(client.format, &plan);
    if terms.dry_run {
        return Ok(Done { undo: String::new(), ..plan });
    }
    if let Some(danger) = danger {
        danger.confirm()?;
    }
    client.send(method, path, &body(false)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_confirms_and_another_one_does_not() {
        let danger = |confirmed| Danger { service: "shop", what: "everybody moves", confirmed };
        assert!(danger(Some("shop")).confirm().is_ok());
        let failure = danger(Some("shpo")).confirm().unwrap_err();
        assert!(failure.error.contains("shpo") && failure.hint.contains("--confirm shop"), "{failure}");
    }
}
