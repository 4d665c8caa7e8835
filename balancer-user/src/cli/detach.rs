//! `balancer detach`: through the daemon if it runs, without it if not.

use std::path::{Path, PathBuf};

use hyper::Method;

use super::{Format, client::Client, print};
use crate::{
    config::{Config, pin_dir},
    exit::{Code, Failure},
    host,
    kernel::pins::{self, Pins},
    wire::Detached,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The director's config, where its name and BPF file system stand.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "bpffs"])]
    config: Option<PathBuf>,
    /// The director's name, if there is no config; without both, the only one that is pinned.
    #[arg(long)]
    name: Option<String>,
    /// The BPF file system.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
}

pub(super) async fn run(args: Args, socket: Option<PathBuf>, format: Format) -> Result<(), Failure> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let socket = socket.or_else(|| match (&config, &args.name) {
        (Some(config), _) => Some(config.socket.clone()),
        (None, Some(name)) => Some(PathBuf::from(format!("/run/balancer/{name}.sock"))),
        (None, None) => None,
    });
    let answer = match Client::new(socket, format) {
        Ok(client) => client.send::<_, Detached>(Method::POST, "/v1/detach", &()).await,
        Err(failure) => Err(failure),
    };
    let detached = match answer {
        Ok(detached) => detached,
        Err(failure) if failure.code == Code::NoDaemon => {
            host::check_privileges()?;
            let dir = match (config, &args.name) {
                (Some(config), _) => config.pin_dir(),
                (None, Some(name)) => pin_dir(&args.bpffs, name),
                (None, None) => only_pinned(&args.bpffs)?,
            };
            Detached { removed: pins::detach_pinned(&Pins::new(dir))? }
        }
        Err(failure) => return Err(failure),
    };
    match format {
        Format::Json => print::json(&detached),
        Format::Text if detached.removed.is_empty() => {
            print::line("nothing was attached");
            Ok(())
        }
        Format::Text => {
            for path in &detached.removed {
                print::line(&format!("removed {path}"));
            }
            print::line(
                "detached: packets are no longer steered; versions, history and the last snapshot of the sessions stay in the state directory",
            );
            Ok(())
        }
    }
}

/// The pins of the only director on this host.
fn only_pinned(bpffs: &Path) -> Result<PathBuf, Failure> {
    let names: Vec<String> = pins::entries(&bpffs.join("balancer"))?
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    match names.as_slice() {
        [name] => Ok(pin_dir(bpffs, name)),
        [] => Err(Failure::new(
            Code::NoDaemon,
            format!("no daemon answers, and nothing is pinned below {}", bpffs.join("balancer").display()),
            "name the config with --config, or the BPF file system with --bpffs",
        )),
        _ => Err(Failure::usage(
            format!("several directors are pinned: {}", names.join(", ")),
            "name one with --config or --name",
        )),
    }
}
