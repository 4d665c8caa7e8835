//! Kinds of load.

use std::time::Duration;

use anyhow::Result;

use super::super::Extent;
use super::super::contender::Contender;
use super::super::wrk::{Cookies, Sample, Target, Wrk};
use super::short;

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    KeepAlive,
    /// One request per connection, which the server closes.
    Close,
    /// One request per connection, which could be kept but is closed by the client.
    Short,
}

/// How many sessions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    /// One of each backend.
    One,
    /// [`MANY`].
    Many,
}

/// What [`Sessions::Many`] are.
pub(super) const MANY: usize = 10_000;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) uses: Use,
    pub(super) connections: usize,
    pub(super) sessions: Sessions,
}

/// Each backend's sessions.
pub(super) struct Pools(pub(super) Vec<Vec<String>>);

impl Load {
    /// All that are to be measured.
    pub(super) fn all(extent: Extent) -> Vec<Self> {
        let one = |uses, connections| Self { uses, connections, sessions: Sessions::One };
        let quick = || vec![one(Use::KeepAlive, 64), one(Use::Short, 64), one(Use::Close, 64)];
        let full = || {
            let mut all = Vec::new();
            for uses in [Use::KeepAlive, Use::Short, Use::Close] {
                for sessions in [Sessions::One, Sessions::Many] {
                    all.extend([1, 8, 64, 512].map(|connections| Self { uses, connections, sessions }));
                }
            }
            all
        };
        match extent {
            Extent::Quick => quick(),
            Extent::Full => full(),
        }
    }

    pub(super) fn name(&self) -> String {
        let uses = match self.uses {
            Use::KeepAlive => "keep-alive",
            Use::Close => "one request per connection, closed by the server",
            Use::Short => "one request per connection, closed by the client",
        };
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            many => format!("{many} connections"),
        };
        match self.sessions {
            Sessions::One => format!("{uses}, {connections}"),
            Sessions::Many => format!("{uses}, {connections}, {MANY} sessions"),
        }
    }

    /// Puts it on a contender.
    pub(super) fn run(&self, contender: &Contender<'_>, pools: &Pools, time: Duration) -> Result<Sample> {
        match self.uses {
            Use::Short => short::run(contender, pools, *self, time),
            Use::KeepAlive | Use::Close => self.wrk(contender, pools).run(contender.lab, time),
        }
    }

    /// The same by wrk.
    pub(super) fn wrk(&self, contender: &Contender<'_>, pools: &Pools) -> Wrk {
        let target = |(index, sessions): (usize, &Vec<String>)| Target {
            to: contender.address(index + 1),
            cookies: match self.sessions {
                Sessions::One => Cookies::One(sessions.first().cloned()),
                Sessions::Many => Cookies::Each(sessions.clone()),
            },
        };
        // wrk wants a connection for each thread.
        let targets = pools.0.iter().enumerate().map(target).take(self.connections).collect();
        Wrk { targets, connections: self.connections, path: "/", close: self.uses == Use::Close, rate: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_matrix_has_the_quick_one() {
        let full = Load::all(Extent::Full);
        assert_eq!(full.len(), 24);
        assert!(Load::all(Extent::Quick).iter().all(|load| full.contains(load)));
    }
}
