//! Why a verb is refused, and what to do instead.

use thiserror::Error;

use super::Left;
use crate::{endpoint::Route, exit::Failure, family::Family, label::Label};

/// A verb that was understood and not done; the state is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("there is no service `{name}`")]
    NoService { name: String, known: Vec<String> },
    #[error("service `{service}` has no version `{label}`")]
    NoVersion { service: String, label: Label, known: Vec<Label> },
    #[error("service `{service}` already has a version `{label}`")]
    Exists { service: String, label: Label },
    #[error("{0}")]
    NoOrder(String),
    #[error("`{label}` is the active version of `{service}`: removing it would leave new sessions without one")]
    Active { service: String, label: Label },
    #[error("`{label}` is the only version of `{service}`: without it nothing would be served")]
    Last { service: String, label: Label },
    #[error("version `{label}` of `{service}` has no healthy backend: {backends} fail their checks")]
    Unhealthy { service: String, label: Label, backends: String },
    #[error("service `{service}` has no version to go back to")]
    NothingBefore { service: String },
    #[error("version `{label}` has {count} backends; 1 to {limit} are possible")]
    Backends { label: Label, count: usize, limit: usize },
    #[error("version `{label}` names the backend {address} twice")]
    TwiceBackend { label: Label, address: std::net::SocketAddr },
    #[error("version `{label}` names the backend {address}, but `{service}` listens on {family}")]
    OtherFamily { service: String, label: Label, address: std::net::SocketAddr, family: Family },
    #[error("version `{label}` of `{service}` has no backend {address}")]
    NoBackend { service: String, label: Label, address: std::net::SocketAddr, known: Vec<std::net::SocketAddr> },
    #[error("version `{label}` has two backends with the route `{route}`")]
    TwiceRoute { label: Label, route: Route },
    #[error("the session table is full: users of `{service}` who are not bound would change their version")]
    TableFull { service: String },
    #[error("`{label}` is the active version of `{service}`: draining it would leave new sessions without one")]
    DrainsActive { service: String, label: Label },
    #[error("no other version of `{service}` is there to take over from `{label}`")]
    NobodyElse { service: String, label: Label },
    #[error("`{label}` is the active version of `{service}`: it cannot be retired")]
    RetiresActive { service: String, label: Label, explicit: bool },
    #[error("`{label}` of `{service}` is not empty: {left}")]
    NotEmpty { service: String, label: Label, left: Left },
    #[error("`{label}` is the active version of `{service}`: all new sessions get it")]
    CanaryActive { service: String, label: Label },
    #[error("`{label}` is the canary of `{service}` already; there is one at a time")]
    OtherCanary { service: String, label: Label },
    #[error("service `{service}` has no canary")]
    NoCanary { service: String },
    #[error("service `{service}` is not paused")]
    NotPaused { service: String },
    #[error("an exclusive flip of `{service}` to `{label}` is under way, and holds its requests")]
    FlipHolds { service: String, label: Label },
    #[error("service `{service}` has pins by another name already: {present} (pin {id})")]
    OtherCarrier { service: String, present: String, id: u32 },
    #[error("service `{service}` has that pin already: pin {id}, to {to}")]
    SamePin { service: String, id: u32, to: String },
    #[error("service `{service}` has no pin {id}")]
    NoPin { service: String, id: u32, known: Vec<String> },
    #[error("there is no room for more {what}: {limit} are in use")]
    NoRoom { what: &'static str, limit: u32 },
}

impl Refusal {
    /// The fix, as a sentence or a command.
    pub fn hint(&self) -> String {
        match self {
            Self::NoService { known, .. } => format!("the services are: {}", known.join(", ")),
            Self::NoVersion { known, .. } => {
                let known: Vec<&str> = known.iter().map(Label::as_str).collect();
                format!("the versions are: {}", known.join(", "))
            }
            Self::Exists { service, label } => {
                format!("remove it first: balancer version rm {service} {label}; or add another label")
            }
            Self::NoOrder(_) => "use a label like 1.2.3, or set another `order` in the config".to_owned(),
            Self::Active { service, .. } => format!("flip to another version first: balancer flip {service} VERSION"),
            Self::Last { service, .. } => {
                format!("add another first: balancer version add {service} VERSION --backend IP:PORT")
            }
            Self::Unhealthy { service, label, .. } => {
                format!("start it, then: balancer wait {service} --for healthy={label}; or add --force")
            }
            Self::NothingBefore { service } => format!("name the version: balancer flip {service} VERSION"),
            Self::Backends { .. } => "give --backend IP:PORT for each server of the version".to_owned(),
            Self::NoBackend { known, .. } => {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                format!("its backends are: {}", known.join(", "))
            }
            Self::OtherFamily { family, .. } => {
                format!("name an {family} address of that server: a connection does not change its address family here")
            }
            Self::TwiceBackend { .. } => "name each backend once".to_owned(),
            Self::TwiceRoute { .. } => "give each backend the route of its own server".to_owned(),
            Self::TableFull { .. } => {
                "raise `sessions` in the config and restart, wait for sessions to expire, or add --force".to_owned()
            }
            Self::DrainsActive { service, .. } => {
                format!("flip to another version first: balancer flip {service} VERSION")
            }
            Self::NobodyElse { service, .. } => {
                format!(
                    "add one first: balancer version add {service} VERSION --backend IP:PORT; or lift a hold with a flip"
                )
            }
            Self::RetiresActive { service, explicit: true, .. } => {
                format!("flip to another version first: balancer flip {service} VERSION")
            }
            Self::RetiresActive { service, label, explicit: false } => {
                format!("let another one take over first: balancer drain {service} {label}; or flip to another version")
            }
            Self::NotEmpty { service, label, .. } => format!(
                "wait for them: balancer drain {service} {label} --deadline 45m; or add --force, which moves and cuts them"
            ),
            Self::CanaryActive { service, .. } => {
                format!("add new versions with --stage, or flip back first: balancer flip {service} VERSION")
            }
            Self::NotPaused { service } => format!("pause it first: balancer pause {service}"),
            Self::FlipHolds { service, .. } => {
                format!("wait for its end: balancer status {service}; or give it up: balancer abort {service}")
            }
            Self::OtherCanary { service, .. } => {
                format!("end it first: balancer promote {service}, or balancer abort {service}")
            }
            Self::NoCanary { service } => {
                format!("begin one: balancer flip {service} VERSION --mode percent --percent 10")
            }
            Self::OtherCarrier { service, present, .. } => {
                format!("use the same name ({present}); or take the others away first: balancer pin ls {service}")
            }
            Self::SamePin { service, id, .. } => format!("take it away first: balancer pin rm {service} {id}"),
            Self::NoPin { known, .. } if known.is_empty() => "it has none".to_owned(),
            Self::NoPin { known, .. } => format!("its pins are: {}", known.join(", ")),
            Self::NoRoom { .. } => "remove what is no longer used: balancer version ls SERVICE shows it".to_owned(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.to_string(), refusal.hint())
    }
}
