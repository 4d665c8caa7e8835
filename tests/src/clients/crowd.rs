//! A thousand people behind a proxy, a few of them at a time.

use anyhow::{Result, ensure};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::nginx::{self, KEPT};
use super::runs::{Answered, Runs};
use super::{Client, Visit};
use crate::client::{Connection, Whoami};
use crate::lab::Lab;
use crate::lab::node::Node;
use crate::lab::process::Process;

/// Sessions in all.
pub const PEOPLE: usize = 1000;
/// Those who share a connection to the proxy.
const GROUP: usize = PEOPLE.div_ceil(KEPT);

/// People who come through nginx in any order.
#[derive(Debug)]
pub struct Crowd {
    people: Box<Runs>,
    proxy: Process,
}

impl Crowd {
    /// Starts the proxy and everybody.
    pub fn start(lab: &Lab) -> Result<Self> {
        let proxy = nginx::start(lab)?;
        let people = (0..PEOPLE).step_by(GROUP).try_fold(Runs::new(), |runs, first| {
            let mut group = Group::new(lab.client(), first)?;
            anyhow::Ok(runs.thread(move || group.visit()))
        })?;
        Ok(Self { people: Box::new(people), proxy })
    }
}

impl Client for Crowd {
    fn visits(&self) -> Result<Vec<Visit>> {
        self.people.visits()
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Visit>> {
        let visits = self.people.finish()?;
        ensure!(self.proxy.ended()?.is_none(), "nginx ended: {}", self.proxy.log());
        Ok(visits)
    }
}

/// People whose requests take turns on one connection to the proxy.
struct Group {
    connection: Connection,
    first: usize,
    jars: Vec<Option<String>>,
    random: Xoshiro256PlusPlus,
}

impl Group {
    fn new(node: &Node, first: usize) -> Result<Self> {
        let jars = vec![None; GROUP.min(PEOPLE - first)];
        let random = Xoshiro256PlusPlus::seed_from_u64(first as u64);
        Ok(Self { connection: Connection::open(node, nginx::ADDRESS)?, first, jars, random })
    }

    /// Somebody's request.
    fn visit(&mut self) -> Result<Vec<Answered>> {
        let person = self.random.random_range(0..self.jars.len());
        let response = self.connection.get("/whoami", self.jars[person].as_deref())?;
        ensure!(response.status == 200, "status {} for /whoami", response.status);
        let answer: Whoami = response.json()?;
        let issued = response.set_cookie("JSESSIONID");
        ensure!(issued.is_some() == answer.new, "{answer:?} came with the cookie {issued:?}");
        self.jars[person] = issued.or(self.jars[person].take());
        Ok(vec![(self.first + person, true, answer)])
    }
}
