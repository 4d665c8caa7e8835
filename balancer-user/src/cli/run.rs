//! `balancer run`.

use std::path::PathBuf;

use crate::{
    daemon::{self, Options},
    exit::Failure,
    logging,
};

const EXAMPLE: &str = r#"A small balancer.toml:

    name = "lab"
    interfaces = ["client0", "b1"]
    sources = ["10.60.254.1"]       # where legs to backends come from; backends must answer to it

    [snapshot]
    every = "10s"                   # how often sessions are written to disk, for a reboot; or "never"

    [metrics]                       # not there: no metrics
    listen = "127.0.0.1:9114"       # /metrics, /healthz and /readyz; other hosts only with allow_remote = true

    [[service]]
    name = "shop"
    listen = "10.60.255.1:80"
    select = "highest"              # or "explicit": only flips change the active version
    order = "string"                # or "numeric", "semver", "explicit"
    cookie = "JSESSIONID"
    idle = "30m"
    rename_grace = "30s"            # for how long the former id of a renamed session stays where it is
    return = "snat"                 # or "gateway": backends see clients' addresses, and route to them through us
    pool = "safe"                   # or "off"; pool_legs = 64 idle legs are kept for each backend at most
    on_unframed = "close"           # or "keep": what becomes of connections whose requests cannot be told apart
    missing_version = "active"      # or "reject": a 503 where a session's version is missing
    on_backend_restart = "keep"     # or "forget": sessions of a backend that was down begin anew
    retire = "never"                # or "empty": old versions go when nobody is left on them, but for the last `keep`
    keep = 2
    health = { path = "/health", interval = "1s", timeout = "1s", rise = 1, fall = 2, slow_start = "30s" }

    [[service.version]]             # for the first start; afterwards `balancer version add`
    label = "001"
    backends = ["10.60.1.2:8080"]   # or { address = "10.60.1.2:8080", route = "n1", weight = 50 }: its ids end in `.n1`"#;

#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(super) struct Args {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Another kernel object than the one in this binary; for tests.
    #[arg(long, value_name = "FILE", hide = true)]
    object: Option<PathBuf>,
}

pub(super) async fn run(args: Args, socket: Option<PathBuf>) -> Result<(), Failure> {
    logging::start();
    daemon::run(Options { config: args.config, socket, object: args.object }).await
}
