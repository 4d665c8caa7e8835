//! `balancer config`: look at a config, compare it with what runs, take it in, and write down what runs.

use std::path::PathBuf;

use hyper::Method;
use serde::Serialize;

use super::{Format, client::Client, print, terms};
use crate::{
    config::Config,
    exit::Failure,
    wire::{ConfigDiff, DiffConfig, Exported, How, Nothing, Terms},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Say whether a file is a good config; it needs no daemon.
    Check {
        /// The config file.
        file: PathBuf,
    },
    /// Show what is different between what runs and a file, and what a reload makes of it.
    Diff {
        /// The file; without it, the one that the daemon was started with, as it is now.
        file: Option<PathBuf>,
    },
    /// Have the daemon read its config again, as SIGHUP does: as a whole or not at all.
    Reload(ReloadArgs),
    /// Print the present state as a config file: what a first start elsewhere would begin with.
    Export,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history and the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Reload also where users would notice; `config diff` says what.
    #[arg(long)]
    force: bool,
}

/// What `check` found, as JSON.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    name: String,
    services: Vec<String>,
}

/// Whether a file is good, without anybody's help.
pub(super) fn check(file: PathBuf, format: Format) -> Result<(), Failure> {
    let config = Config::load(&file)?;
    let services: Vec<String> = config.services.iter().map(|service| service.name.clone()).collect();
    match format {
        Format::Json => return print::json(&Checked { file, name: config.name, services }),
        Format::Text => print::line(&format!(
            "{} is a good config of the director {} with {}",
            file.display(),
            config.name,
            services.join(", ")
        )),
    }
    Ok(())
}

pub(super) async fn run(client: &Client, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Check { file } => check(file, client.format),
        Verb::Diff { file } => diff(client, file).await,
        Verb::Reload(ReloadArgs { dry_run, reason, force }) => {
            let terms = Terms { dry_run, reason, force, if_generation: None };
            terms::change(client, Method::POST, "/v1/config/reload", &Nothing {}, terms, None).await
        }
        Verb::Export => {
            let exported: Exported = client.get("/v1/config/export").await?;
            match client.format {
                Format::Json => print::json(&exported),
                Format::Text => {
                    print::line(exported.config.trim_end());
                    Ok(())
                }
            }
        }
    }
}

async fn diff(client: &Client, file: Option<PathBuf>) -> Result<(), Failure> {
    let text = match &file {
        Some(file) => {
            // What is wrong with it is said with its name and line, which the daemon would not know.
            Config::load(file)?;
            let error = |error| Failure::other(format!("{} cannot be read: {error}", file.display()), "");
            Some(std::fs::read_to_string(file).map_err(error)?)
        }
        None => None,
    };
    let diff: ConfigDiff = client.send(Method::POST, "/v1/config/diff", &DiffConfig { text }).await?;
    if client.format == Format::Json {
        return print::json(&diff);
    }
    if diff.differences.is_empty() {
        let file = file.unwrap_or(diff.file);
        print::line(&format!("no difference: the director runs with what {} says", file.display()));
    }
    for difference in &diff.differences {
        let word = match difference.how {
            How::Live => "reload:",
            How::Force => "force:",
            How::Restart => "refuse:",
            How::FirstStart => "stays:",
        };
        print::line(&format!("{word:8} {difference}"));
        let fix = if difference.fix.is_empty() { String::new() } else { format!("; {}", difference.fix) };
        print::line(&format!("         {}{fix}", difference.what));
    }
    Ok(())
}
