//! Differences, as they are found: key by key.

use crate::wire::{Difference, How};

/// What was found of a service, or of the director.
pub(super) struct Keys<'a> {
    service: Option<&'a str>,
    pub(super) found: Vec<Difference>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(service: Option<&'a str>) -> Self {
        Self { service, found: Vec::new() }
    }

    /// A key whose difference is made at once; `what` says what that is to whom.
    pub(super) fn live(&mut self, key: &str, old: &str, new: &str, what: &str) {
        self.add(key, old, new, How::Live, what, "");
    }

    /// One that would hurt somebody.
    pub(super) fn force(&mut self, key: &str, old: &str, new: &str, what: &str, fix: &str) {
        self.add(key, old, new, How::Force, what, fix);
    }

    /// One that a reload cannot make.
    pub(super) fn restart(&mut self, key: &str, old: &str, new: &str, what: &str, fix: &str) {
        self.add(key, old, new, How::Restart, what, fix);
    }

    /// One about what the state decides.
    pub(super) fn first_start(&mut self, key: &str, old: &str, new: &str, fix: &str) {
        self.add(key, old, new, How::FirstStart, "the file says it for a first start only; the state decides now", fix);
    }

    fn add(&mut self, key: &str, old: &str, new: &str, how: How, what: &str, fix: &str) {
        if old != new {
            self.found.push(Difference {
                service: self.service.map(str::to_owned),
                key: key.to_owned(),
                from: old.to_owned(),
                to: new.to_owned(),
                how,
                what: what.to_owned(),
                fix: fix.to_owned(),
            });
        }
    }
}
