//! A thousand people and more, a few of them at a time, in any order.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::nginx::{self, KEPT};
use super::runs::{Came, Runs};
use super::visit::Outcome;
use super::{Client, Visit};
use crate::client::{Connection, Whoami};
use crate::lab::Lab;
use crate::lab::node::Node;
use crate::lab::process::Process;

/// People behind a proxy.
pub const PEOPLE: usize = 1000;
/// Those who share a connection to the proxy.
const BEHIND_ONE: usize = PEOPLE.div_ceil(KEPT);

/// People who come directly, [`AT_ONCE`] at a time.
pub const VISITORS: usize = 2000;
/// How many of them come at a time.
pub const AT_ONCE: usize = 8;
/// One visit in so many is of somebody who threw the cookie away, and so is a new person.
const FORGETS: u32 = 12;

/// People at work.
#[derive(Debug)]
pub struct Crowd {
    people: Box<Runs>,
    /// Where they come through one.
    proxy: Option<Process>,
}

impl Crowd {
    /// Starts a pooling proxy and everybody behind it.
    pub fn behind_proxy(lab: &Lab) -> Result<Self> {
        let proxy = nginx::start(lab)?;
        let people = (0..PEOPLE).step_by(BEHIND_ONE).try_fold(Runs::new(), |runs, first| {
            let way = Way::Kept(Connection::open(lab.client(), nginx::ADDRESS)?);
            let mut group = Group::new(way, first, BEHIND_ONE.min(PEOPLE - first));
            anyhow::Ok(runs.thread(move || group.visit().map(|came| vec![came])))
        })?;
        Ok(Self { people: Box::new(people), proxy: Some(proxy) })
    }

    /// Starts [`VISITORS`] who come directly, each group from an address of its own: half of the groups share a kept-alive
    /// connection, the others connect for every request. Some throw their cookies away. They go on after an error.
    pub fn directly(lab: &Lab) -> Self {
        let people = (0..AT_ONCE).fold(Runs::new(), |runs, at| {
            let from = lab.addresses().client_nth(u8::try_from(at).expect("few groups"));
            let door = Door { node: lab.client().clone(), from, to: lab.service() };
            let way = if at % 2 == 0 { Way::Keeps(door, None) } else { Way::Closes(door) };
            let mut group = Group::new(way, at * VISITORS / AT_ONCE, VISITORS / AT_ONCE);
            runs.thread(move || {
                group.forget();
                Ok(vec![group.visit_whatever_comes()])
            })
        });
        Self { people: Box::new(people), proxy: None }
    }
}

impl Client for Crowd {
    fn visits(&self) -> Result<Vec<Visit>> {
        self.people.visits()
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Visit>> {
        let visits = self.people.finish()?;
        if let Some(proxy) = &mut self.proxy {
            ensure!(proxy.ended()?.is_none(), "nginx ended: {}", proxy.log());
        }
        Ok(visits)
    }
}

/// Where connections of a group come from and go to.
struct Door {
    node: Node,
    from: Ipv4Addr,
    to: SocketAddr,
}

impl Door {
    fn open(&self) -> Result<Connection> {
        Connection::open_from(&self.node, self.from, self.to)
    }
}

/// How a group's requests travel.
enum Way {
    /// All on this connection.
    Kept(Connection),
    /// All on one connection, which is opened anew after an error.
    Keeps(Door, Option<Connection>),
    /// Each on its own.
    Closes(Door),
}

impl Way {
    fn whoami(&mut self, session: Option<&str>) -> Result<(Whoami, Option<String>)> {
        match self {
            Self::Kept(connection) => whoami(connection, session),
            Self::Closes(door) => whoami(&mut door.open()?, session),
            Self::Keeps(door, kept) => {
                let mut connection = match kept.take() {
                    Some(connection) => connection,
                    None => door.open()?,
                };
                let came = whoami(&mut connection, session)?;
                *kept = Some(connection);
                Ok(came)
            }
        }
    }
}

/// The answer, and the cookie that it brought.
fn whoami(connection: &mut Connection, session: Option<&str>) -> Result<(Whoami, Option<String>)> {
    let response = connection.get("/whoami", session)?;
    ensure!(response.status == 200, "status {} for /whoami", response.status);
    let answer: Whoami = response.json()?;
    let issued = response.set_cookie("JSESSIONID");
    ensure!(issued.is_some() == answer.new, "{answer:?} came with the cookie {issued:?}");
    Ok((answer, issued))
}

/// People whose requests take turns.
struct Group {
    way: Way,
    /// Who they are, and what is in their jars.
    people: Vec<(usize, Option<String>)>,
    random: Xoshiro256PlusPlus,
}

impl Group {
    fn new(way: Way, first: usize, people: usize) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(first as u64);
        Self { way, people: (first..first + people).map(|person| (person, None)).collect(), random }
    }

    /// Somebody's request.
    fn visit(&mut self) -> Result<Came> {
        let at = self.random.random_range(0..self.people.len());
        self.visit_of(at)
    }

    fn visit_of(&mut self, at: usize) -> Result<Came> {
        let (person, jar) = &mut self.people[at];
        let (answer, issued) = self.way.whoami(jar.as_deref())?;
        *jar = issued.or(jar.take());
        Ok((*person, true, Outcome::Answer(answer)))
    }

    /// The same, where an error is not the end.
    fn visit_whatever_comes(&mut self) -> Came {
        let at = self.random.random_range(0..self.people.len());
        let person = self.people[at].0;
        self.visit_of(at).unwrap_or_else(|error| (person, true, Outcome::Error(format!("{error:#}"))))
    }

    /// Now and then somebody goes, and somebody comes who was never there.
    fn forget(&mut self) {
        if self.random.random_ratio(1, FORGETS) {
            let at = self.random.random_range(0..self.people.len());
            let (person, jar) = &mut self.people[at];
            (*person, *jar) = (*person + VISITORS, None);
        }
    }
}
