//! `balancer doctor`: what is right and wrong with this host, a line each, with the fix.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use serde::Serialize;
use tokio::net::TcpStream;

use super::{Format, print};
use crate::{
    config::{Config, Hook, ReturnPath},
    exit::{Code, Failure},
    family::Family,
    host,
    kernel::{
        attach,
        interface::{self, Interface},
        pins,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The director's config; without it only the host itself is checked.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    level: Level,
    what: String,
    fix: String,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), fix: String::new() }
    }
    fn warn(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, what: what.into(), fix: fix.into() }
    }
    fn fail(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, what: what.into(), fix: fix.into() }
    }
    /// From a check that the daemon does as well.
    fn of(result: Result<(), Failure>, good: impl Into<String>) -> Self {
        match result {
            Ok(()) => Self::ok(good),
            Err(failure) => Self::fail(failure.error, failure.hint),
        }
    }
}

pub(super) async fn run(args: Args, format: Format) -> Result<(), Failure> {
    let mut findings = host_findings();
    match &args.config {
        None => findings.push(Finding::warn("no config was named", "balancer doctor --config FILE checks more")),
        Some(path) => match Config::load(path) {
            Err(error) => findings.push(Finding::fail(error.to_string(), error.fix)),
            Ok(config) => {
                findings.push(Finding::ok(format!("{} is a good config", path.display())));
                findings.extend(config_findings(&config).await?);
            }
        },
    }
    match format {
        Format::Json => print::json(&findings)?,
        Format::Text => {
            for finding in &findings {
                let level = match finding.level {
                    Level::Ok => "ok   ",
                    Level::Warn => "warn ",
                    Level::Fail => "FAIL ",
                };
                print::line(&format!("{level} {}", finding.what));
                if !finding.fix.is_empty() {
                    print::line(&format!("       fix: {}", finding.fix));
                }
            }
        }
    }
    let failed = findings.iter().filter(|finding| finding.level == Level::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(Code::Refused, format!("{failed} of {} checks failed", findings.len()), ""))
}

fn host_findings() -> Vec<Finding> {
    let release = host::kernel_release().unwrap_or_default();
    let mut findings = vec![
        Finding::of(host::check_kernel(&release), format!("the kernel {release} is new enough")),
        Finding::of(host::check_privileges(), "programs may be loaded (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)"),
    ];
    findings.push(if attach::has_tcx() {
        Finding::ok("TC programs are attached by tcx links")
    } else {
        Finding::warn("the kernel has no tcx: TC programs are attached as clsact filters", "Linux 6.6 has tcx")
    });
    findings
}

async fn config_findings(config: &Config) -> Result<Vec<Finding>, Failure> {
    let bpffs = config.bpffs.display().to_string();
    let mut findings = vec![Finding::of(pins::check_bpffs(&config.bpffs), format!("{bpffs} is a BPF file system"))];
    let known = interface::list().await?;
    let spoken = |family: &Family| config.services.iter().any(|service| Family::from(service.listen) == *family);
    let families: Vec<Family> = Family::ALL.into_iter().filter(spoken).collect();
    for name in &config.interfaces {
        match known.iter().find(|interface| interface.name == *name) {
            Some(interface) => findings.extend(interface_findings(config.hook, &families, interface)),
            None => {
                let names: Vec<&str> = known.iter().map(|interface| interface.name.as_str()).collect();
                let fix = format!("correct `interfaces`; there are: {}", names.join(", "));
                findings.push(Finding::fail(format!("there is no interface {name}"), fix));
            }
        }
    }
    findings.extend(gateway_findings(config));
    findings.extend(config.sources.iter().map(|source| local("source", *source)));
    findings.extend(config.services.iter().map(|service| local("listener", service.listen.ip())));
    for service in &config.services {
        for backend in service.versions.iter().flat_map(|version| &version.backends) {
            let backend = backend.address;
            let connect = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(backend)).await;
            findings.push(match connect {
                Ok(Ok(_)) => Finding::ok(format!("backend {backend} of {} accepts connections", service.name)),
                Ok(Err(error)) => Finding::warn(
                    format!("backend {backend} of {}: {error}", service.name),
                    "start it; if it runs, look at routes and neighbours: ip route get IP, ip neigh",
                ),
                Err(_) => Finding::warn(
                    format!("backend {backend} of {} does not answer", service.name),
                    "look at the route there, and at firewalls on the way",
                ),
            });
        }
    }
    Ok(findings)
}

fn interface_findings(hook: Hook, families: &[Family], interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let mut findings = Vec::new();
    let (wanted, why) = attach::wanted(hook, interface);
    let hook_name = if wanted == Hook::Xdp { "XDP" } else { "TC" };
    findings.push(if interface.up {
        Finding::ok(format!("{name} is up; its hook is {hook_name}: {why}"))
    } else {
        Finding::warn(format!("{name} is down"), format!("ip link set {name} up"))
    });
    findings.extend(families.iter().map(|family| match host::sysctl(*family, name, "forwarding").as_deref() {
        Some("1") => Finding::ok(format!("{name} forwards {family}")),
        // bpf_fib_lookup refuses to answer for an interface that does not forward.
        _ => Finding::fail(
            format!("{name} does not forward {family}"),
            format!("sysctl -w net.{}.conf.{name}.forwarding=1", family.sysctl()),
        ),
    }));
    if wanted == Hook::Xdp && interface.is_veth() {
        findings.push(Finding::warn(
            format!("{name} is a veth under XDP, which cannot handle partial checksums, and has one queue unless told"),
            format!(
                "on its other end: ethtool -K PEER tx off gro on, and on both a queue for each CPU: ethtool -L {name} rx N tx N, by which that \
                 CPU sends: queues/tx-*/xps_cpus in /sys/class/net/{name}; or hook = \"tc\", which is faster on veth ({name})"
            ),
        ));
    }
    findings
}

/// What answers to clients' own addresses need of this host. What they need of the backends cannot be seen from here.
fn gateway_findings(config: &Config) -> Vec<Finding> {
    let gateways = config.services.iter().filter(|service| service.return_path == ReturnPath::Gateway);
    let mut findings: Vec<Finding> = gateways
        .map(|service| {
            Finding::warn(
                format!(
                    "{} has return = \"gateway\": whether its backends route to clients through this host cannot be seen here",
                    service.name
                ),
                "on each backend: ip route get CLIENT, which has to name an address of this host; requests that time out \
                 while health checks are good mean that it does not",
            )
        })
        .collect();
    if findings.is_empty() {
        return findings;
    }
    for interface in &config.interfaces {
        // The stricter of the two counts (Documentation/networking/ip-sysctl.rst).
        let filter =
            |scope: &str| host::sysctl(Family::V4, scope, "rp_filter").and_then(|text| text.parse::<u32>().ok());
        let strict = |filter: Option<u32>| filter == Some(1);
        findings.push(match (filter("all"), filter(interface)) {
            (Some(2), _) | (_, Some(2)) => Finding::ok(format!("{interface} filters reverse paths loosely")),
            (all, own) if strict(all) || strict(own) => Finding::warn(
                format!(
                    "{interface} filters reverse paths strictly: what backends send to clients and no flow knows is \
                     dropped where clients are reached by another interface than their packets came in by"
                ),
                format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=2"),
            ),
            _ => Finding::ok(format!("{interface} does not filter reverse paths")),
        });
    }
    findings
}

/// The programs answer for these addresses, but neighbours ask the stack for their MAC, and a health check may come from one.
fn local(what: &str, address: IpAddr) -> Finding {
    if host::is_local(address) {
        return Finding::ok(format!("the {what} {address} is an address of this host"));
    }
    Finding::warn(
        format!(
            "the {what} {address} is no address of this host: who has no route to it through us asks for it in vain"
        ),
        format!("ip addr add {address} dev lo; or route it here from the others"),
    )
}
