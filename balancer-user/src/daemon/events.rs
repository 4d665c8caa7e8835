//! Events: what happened, for whoever asks or waits. A bounded memory; who reads too slowly is told how much was lost.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::SystemTime};

use balancer_ebpf::layout::{NONE, PinEvent};
use tokio::sync::{Notify, mpsc};

use super::Director;
use crate::wire::{Event, Events};

/// Events that are kept.
const MEMORY: usize = 1000;

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Journal {
    events: VecDeque<Event>,
    /// The number of the next one.
    next: u64,
    /// Wakes those who wait for it.
    news: Arc<Notify>,
    /// Who tells the hook for events, and how many there was no room for.
    teller: Option<mpsc::Sender<Event>>,
    dropped: u64,
}

impl Journal {
    pub(super) fn add(&mut self, service: Option<&str>, kind: &str, text: String) {
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let event = Event { number: self.next, at, service: service.map(str::to_owned), kind: kind.to_owned(), text };
        if let Some(teller) = &self.teller {
            self.dropped += u64::from(teller.try_send(event.clone()).is_err());
        }
        self.events.push_back(event);
        self.next += 1;
        if self.events.len() > MEMORY {
            self.events.pop_front();
        }
        self.news.notify_waiters();
    }

    /// Tells somebody of each event from now on.
    pub(super) fn tell(&mut self, teller: mpsc::Sender<Event>) {
        self.teller = Some(teller);
    }

    /// Events that he had no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Events from a number on, of a service if one is named.
    fn from(&self, number: u64, service: Option<&str>, limit: usize) -> Events {
        let oldest = self.events.front().map_or(self.next, |event| event.number);
        let of = |event: &&Event| {
            event.number >= number && service.is_none_or(|service| event.service.as_deref() == Some(service))
        };
        let mut events: Vec<Event> = self.events.iter().filter(of).cloned().collect();
        let surplus = events.len().saturating_sub(limit);
        events.drain(..surplus);
        Events { events, next: self.next, lost: oldest.saturating_sub(number).min(self.next.saturating_sub(number)) }
    }
}

impl Director {
    /// Events from a number on; `None`: the last ones.
    pub fn events(&self, number: Option<u64>, service: Option<&str>, limit: usize) -> Events {
        match number {
            Some(number) => self.journal.from(number, service, limit),
            None => Events { lost: 0, ..self.journal.from(0, service, limit) },
        }
    }

    /// What wakes who waits for more.
    pub fn news(&self) -> Arc<Notify> {
        self.journal.news.clone()
    }

    /// Takes in what the programs tell of pinned requests.
    pub(super) fn listen(&mut self) {
        for told in self.plane.told() {
            let PinEvent { service, version, backend, pin, client, client_port, .. } = told;
            let Some(service) = self.state.services.iter().find(|other| other.id == service) else { continue };
            let client = SocketAddr::new(client.to_ip(), u16::from_be_bytes(client_port));
            let found = service.backend(version, backend);
            let text = match found {
                _ if version == NONE => format!("pin {pin}: {client} -> a 503: its version has no healthy backend"),
                Some((version, backend)) => format!("pin {pin}: {client} -> {} on {}", version.label, backend.address),
                None => format!("pin {pin}: {client} -> a version that is gone by now"),
            };
            let name = service.name.clone();
            self.journal.add(Some(&name), "pin", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_that_is_told() {
        let mut journal = Journal::default();
        for number in 0..MEMORY + 10 {
            journal.add(if number % 2 == 0 { Some("shop") } else { None }, "test", number.to_string());
        }
        let all = journal.from(0, None, usize::MAX);
        assert_eq!((all.events.len(), all.lost, all.next), (MEMORY, 10, MEMORY as u64 + 10));
        let some = journal.from(MEMORY as u64, Some("shop"), usize::MAX);
        assert_eq!((some.events.len(), some.lost), (5, 0));
        assert_eq!(journal.from(0, None, 3).events[0].text, (MEMORY + 7).to_string());
        assert_eq!(journal.from(all.next, None, 9).events, []);
    }
}
