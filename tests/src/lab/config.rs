//! The `balancer.toml` of a lab: one service, `shop`, whose backends are the lab's.

use std::fmt::Write;

use super::Lab;

/// The port on which every application of a lab listens.
pub const APPLICATION_PORT: u16 = 8080;

/// How the version for new sessions is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The highest label: story 2, parallel versions.
    Highest,
    /// The one that an operator flipped to: story 1.
    Explicit,
}

/// What varies between the configurations of labs.
#[derive(Clone, Debug)]
pub struct Shop<'a> {
    /// How the version for new sessions is chosen.
    pub select: Select,
    /// Each version's label and the numbers of its backend hosts.
    pub versions: &'a [(&'a str, &'a [usize])],
    /// Room for connections; a power of two.
    pub flows: u32,
    /// Room for sessions.
    pub sessions: u32,
    /// What backends see as the client.
    pub return_path: ReturnPath,
    /// Whether backends have routes: `n` and the number of the host.
    pub routes: bool,
    /// How long a connection may be silent before its room may go to another.
    pub flow_idle: &'a str,
    /// How many idle legs are kept for each backend, unless that is left to the director.
    pub pool_legs: Option<u32>,
    /// How long a health check waits for its answer.
    pub health_timeout: &'a str,
    /// More lines for the director.
    pub director_lines: &'a str,
    /// More lines for the service, and for its health checks.
    pub service_lines: &'a str,
    pub health_lines: &'a str,
}

/// What backends see as the client. A lab's backends route through the director in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnPath {
    /// One of the director's sources.
    Snat,
    /// The client's own address.
    Gateway,
}

impl<'a> Shop<'a> {
    /// A service with these versions, chosen as in story 2, in maps small enough to be made in no time.
    pub fn new(versions: &'a [(&'a str, &'a [usize])]) -> Self {
        Self {
            select: Select::Highest,
            versions,
            flows: 16_384,
            sessions: 65_536,
            return_path: ReturnPath::Snat,
            routes: false,
            flow_idle: "15m",
            pool_legs: None,
            health_timeout: "1s",
            director_lines: "",
            service_lines: "",
            health_lines: "",
        }
    }

    /// The same with another way of choosing the version for new sessions.
    #[must_use]
    pub fn select(self, select: Select) -> Self {
        Self { select, ..self }
    }

    /// The same with another address for backends to see.
    #[must_use]
    pub fn return_path(self, return_path: ReturnPath) -> Self {
        Self { return_path, ..self }
    }

    /// The configuration's text. Its name is the lab's, so that the pins of two labs never meet.
    pub fn to_toml(&self, lab: &Lab) -> String {
        let directory = lab.dir().display();
        let director = format!(
            r#"name = "{name}"
socket = "{directory}/balancer.sock"
state = "{directory}/state"
hook = "{hook}"
interfaces = {interfaces:?}
sources = {sources:?}
flows = {flows}
sessions = {sessions}
flow_idle = "{flow_idle}"
{director_lines}
"#,
            name = lab.name(),
            hook = lab.hook().name(),
            interfaces = lab.interfaces(),
            sources = lab.sources().iter().map(ToString::to_string).collect::<Vec<_>>(),
            flows = self.flows,
            sessions = self.sessions,
            flow_idle = self.flow_idle,
            director_lines = self.director_lines,
        );
        director + &self.service("shop", lab)
    }

    /// The same settings for a service of another name.
    pub fn service(&self, name: &str, lab: &Lab) -> String {
        let select = match self.select {
            Select::Highest => "highest",
            Select::Explicit => "explicit",
        };
        let return_path = match self.return_path {
            ReturnPath::Snat => "snat",
            ReturnPath::Gateway => "gateway",
        };
        let mut text = format!(
            r#"
[[service]]
name = "{name}"
listen = "{service}"
select = "{select}"
order = "string"
cookie = "JSESSIONID"
idle = "30m"
return = "{return_path}"
{pool_legs}{service_lines}
[service.health]
path = "/health"
interval = "1s"
timeout = "{health_timeout}"
{health_lines}
"#,
            health_timeout = self.health_timeout,
            service_lines = self.service_lines,
            health_lines = self.health_lines,
            service = lab.service(),
            pool_legs = self.pool_legs.map_or_else(String::new, |legs| format!("pool_legs = {legs}\n")),
        );
        for (label, backends) in self.versions {
            let backend = |index: &usize| match (lab.application(*index), self.routes) {
                (address, true) => format!("{{ address = \"{address}\", route = \"n{index}\" }}"),
                (address, false) => format!("\"{address}\""),
            };
            let backends = backends.iter().map(backend).collect::<Vec<_>>().join(", ");
            let _ = write!(text, "\n[[service.version]]\nlabel = \"{label}\"\nbackends = [{backends}]\n");
        }
        text
    }
}
