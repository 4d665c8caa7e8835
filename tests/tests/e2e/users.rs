//! People with browsers: the client of the lab, which shows its TCP connection, and curl with a cookie jar.

use anyhow::{Result, ensure};
use balancer_tests::client::{Browser, Whoami};

use crate::curl::Curl;

/// What a person does.
pub(crate) trait Person {
    /// A request.
    fn visit(&mut self) -> Result<Whoami>;
    /// Deletes the cookie, and nothing else.
    fn clear_cookie(&mut self) -> Result<()>;
    /// The port of the connection that stays open between requests, if one does.
    fn port(&self) -> Result<Option<u16>>;
}

impl Person for Browser {
    fn visit(&mut self) -> Result<Whoami> {
        self.whoami()
    }
    fn clear_cookie(&mut self) -> Result<()> {
        Browser::clear_cookie(self);
        Ok(())
    }
    fn port(&self) -> Result<Option<u16>> {
        self.local_port().map(Some)
    }
}

impl Person for Curl {
    fn visit(&mut self) -> Result<Whoami> {
        self.whoami()
    }
    fn clear_cookie(&mut self) -> Result<()> {
        Curl::clear_cookie(self)
    }
    fn port(&self) -> Result<Option<u16>> {
        Ok(None)
    }
}

/// Begins a session on `version`.
pub(crate) fn begins_on(person: &mut (impl Person + ?Sized), version: &str) -> Result<Whoami> {
    let answer = person.visit()?;
    ensure!(answer.new && answer.hits == 1, "no new session: {answer:?}");
    ensure!(answer.version == version, "not on {version}: {answer:?}");
    Ok(answer)
}

/// The session of `last` goes on where it was.
pub(crate) fn goes_on(person: &mut (impl Person + ?Sized), last: &mut Whoami) -> Result<()> {
    let answer = person.visit()?;
    let wanted = Whoami { known: true, new: false, hits: last.hits + 1, ..last.clone() };
    ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
    *last = answer;
    Ok(())
}
