//! The command line: one file a verb. Verbs print; errors travel up to `main`, which chooses the exit code.

#![forbid(unsafe_code)]

mod backend;
mod canary;
mod client;
mod completions;
mod config;
mod detach;
mod doctor;
mod drain;
mod events;
mod explain;
mod flip;
mod history;
mod pause;
mod pin;
mod print;
mod rollback;
mod run;
mod service;
mod session;
mod snapshot;
mod status;
mod table;
mod terms;
mod version;
mod wait;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::exit::Failure;
use client::Client;

/// Steers HTTP sessions to versions of an application, in the kernel.
#[derive(Debug, Parser)]
#[command(name = "balancer", version)]
pub struct Cli {
    /// The daemon's socket; without it, the only one in /run/balancer.
    #[arg(long, global = true, env = "BALANCER_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

// The grammar of a verb is built when it comes to that: building all of them made a flip beside a load a third of a millisecond later.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run the daemon.
    Run(run::Args),
    /// Show versions, sessions and traffic.
    Status(status::Args),
    /// Add, list or remove versions.
    #[command(subcommand)]
    Version(version::Verb),
    /// Change what a backend gets.
    #[command(subcommand)]
    Backend(backend::Verb),
    /// Change how a service treats its sessions.
    #[command(subcommand)]
    Service(service::Verb),
    /// Make another version the one that new sessions get.
    Flip(flip::Args),
    /// Go back to the version that was active before.
    Rollback(rollback::Args),
    /// Make the canary the version that all new sessions get.
    Promote(canary::PromoteArgs),
    /// Give the canary up, or an exclusive flip that is under way.
    Abort(canary::AbortArgs),
    /// Hold requests until they are resumed, or for so long.
    Pause(pause::PauseArgs),
    /// Let the requests go on that a pause holds.
    Resume(pause::ResumeArgs),
    /// Give a version no new sessions, and end it when nobody is left on it.
    Drain(drain::Args),
    /// Take a version away that nobody is left on.
    Retire(drain::RetireArgs),
    /// Pin testers, or one session, to a version.
    #[command(subcommand)]
    Pin(pin::Verb),
    /// Wait until a version is idle, drained, healthy or active.
    Wait(wait::Args),
    /// Show sessions.
    #[command(subcommand)]
    Session(session::Verb),
    /// Write the sessions to the state directory now, for the next reboot.
    Snapshot,
    /// Say which version and backend a request would get, and why.
    Explain(explain::Args),
    /// Show what happened, and with -f what happens.
    Events(events::Args),
    /// Show what was changed, when and by whom.
    History(history::Args),
    /// Check, compare, reload or write down a config.
    #[command(subcommand)]
    Config(config::Verb),
    /// Check this host.
    Doctor(doctor::Args),
    /// Take everything out of the kernel: traffic is no longer steered.
    Detach(detach::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
}

/// How verbs answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// A command that failed, and how to say so.
#[derive(Debug)]
pub struct Ended {
    pub failure: Failure,
    pub json: bool,
}

/// Parses the command line and does what it says.
pub fn main() -> Result<(), Ended> {
    let cli = Cli::parse();
    let json = cli.json;
    dispatch(cli).map_err(|failure| Ended { failure, json })
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    // Only the daemon has work for several threads; a verb that is there to flip should not begin by starting some.
    let runtime = match cli.command {
        Command::Run(_) => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    let runtime = runtime.map_err(|error| Failure::other(format!("start the runtime: {error}"), ""))?;
    let format = if cli.json { Format::Json } else { Format::Text };
    let socket = cli.socket;
    let named = socket.clone();
    let client = || Client::new(named.clone(), format);
    runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(args, socket).await,
            Command::Status(args) => status::run(&client()?, args).await,
            Command::Version(verb) => version::run(&client()?, verb).await,
            Command::Backend(verb) => backend::run(&client()?, verb).await,
            Command::Service(verb) => service::run(&client()?, verb).await,
            Command::Flip(args) => flip::run(&client()?, args).await,
            Command::Rollback(args) => rollback::run(&client()?, args).await,
            Command::Promote(args) => canary::promote(&client()?, args).await,
            Command::Abort(args) => canary::abort(&client()?, args).await,
            Command::Pause(args) => pause::pause(&client()?, args).await,
            Command::Resume(args) => pause::resume(&client()?, args).await,
            Command::Drain(args) => drain::run(&client()?, args).await,
            Command::Retire(args) => drain::retire(&client()?, args).await,
            Command::Pin(verb) => pin::run(&client()?, verb).await,
            Command::Events(args) => events::run(&client()?, args).await,
            Command::Wait(args) => wait::run(&client()?, args).await,
            Command::Session(verb) => session::run(&client()?, verb).await,
            Command::Snapshot => snapshot::run(&client()?).await,
            Command::Explain(args) => explain::run(&client()?, args).await,
            Command::History(args) => history::run(&client()?, args).await,
            // Nobody has to run for it, nor need one be chosen of several.
            Command::Config(config::Verb::Check { file }) => config::check(file, format),
            Command::Config(verb) => config::run(&client()?, verb).await,
            Command::Doctor(args) => doctor::run(args, format).await,
            Command::Detach(args) => detach::run(args, socket, format).await,
            Command::Completions(args) => completions::run(args),
        }
    })
}

/// A label on the command line; the error says what a label may be.
fn label(text: &str) -> Result<crate::label::Label, String> {
    text.parse().map_err(|error: crate::label::LabelError| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    /// What a verb's arguments are grouped by has words of its own, which must not become the verb's.
    #[test]
    fn verbs_are_described_alike_before_and_after_their_grammar_is_built() {
        let described = |command: &clap::Command| -> Vec<_> {
            command.get_subcommands().map(|verb| (verb.get_name().to_owned(), verb.get_about().cloned())).collect()
        };
        let mut command = super::Cli::command();
        let mut before = described(&command);
        command.build();
        let after = described(&command);
        // Which clap adds.
        before.extend(after.iter().filter(|(name, _)| name == "help").cloned());
        assert_eq!(before, after);
    }
}
