//! Pins in a running director: values are made, hashed and forgotten here; what is left is a hash with an end.

use balancer_ebpf::sip::hash_id;

use super::{
    Director,
    director::{random_bytes, unix_now},
};
use crate::{
    audit::Actor,
    boot,
    exit::Failure,
    label::Label,
    model::{Verb, pin},
    plan,
    wire::{AddPin, Done, PinMade, PinStatus, Terms},
};

/// How long a pin lasts if nobody says.
const TTL: u64 = 8 * 3600;
/// Bytes of a value or an id that are looked up.
const MAX_VALUE: usize = 128;

impl Director {
    /// `pin add`. The value on the wire is in the answer, and nowhere else.
    pub fn add_pin(&mut self, name: &str, request: &AddPin, caller: &Actor, terms: &Terms) -> Result<Done, Failure> {
        let (made, value) = self.make_pin(name, request)?;
        let id = self.state.next_pin;
        let verb = Verb::AddPin { pin: Box::new(made) };
        let mut done = self.change(name, &verb, caller, terms)?;
        if !terms.dry_run {
            done.pin = Some(PinMade { id, value });
        }
        Ok(done)
    }

    fn make_pin(&self, name: &str, request: &AddPin) -> Result<(pin::Pin, Option<String>), Failure> {
        let usage = |what: String, fix: &str| Failure::usage(what, fix);
        let config = self.service_config(name)?;
        let carriers = [
            request.cookie.clone().map(pin::Carrier::Cookie),
            request.header.as_ref().map(|name| pin::Carrier::Header(name.to_ascii_lowercase())),
            request.query.clone().map(pin::Carrier::Query),
            request.session.as_ref().map(|_| pin::Carrier::Session),
        ];
        let mut carriers = carriers.into_iter().flatten();
        let carrier = match (carriers.next(), carriers.next()) {
            (Some(_), Some(_)) => {
                return Err(usage("a pin has one carrier".to_owned(), "name one of cookie, header, query and session"));
            }
            (Some(carrier), None) => carrier,
            (None, _) if request.source.is_some() => pin::Carrier::Source,
            (None, _) => {
                return Err(usage(
                    "nothing says whom the pin is for".to_owned(),
                    "name a source, cookie, header, query or session",
                ));
            }
        };
        pin::check_name(&carrier, &config.cookie).map_err(|error| match error.split_once(": write ") {
            Some((what, fix)) => Failure::usage(what, format!("write {fix}")),
            None => Failure::usage(error, ""),
        })?;
        let by_value = matches!(carrier, pin::Carrier::Cookie(_) | pin::Carrier::Header(_) | pin::Carrier::Query(_));
        let value = match (&request.value, by_value) {
            (Some(_), false) => {
                return Err(usage(
                    "only cookies, headers and query parameters have values".to_owned(),
                    "leave the value out",
                ));
            }
            (Some(_), true) if request.source.is_none() => {
                // D15: anybody on the internet can send a header.
                let what = "a value of one's own can be guessed, and anybody can send it";
                return Err(usage(what.to_owned(), "leave it out, and one is made; or limit it with --source"));
            }
            (Some(value), true) => Some(value.clone()),
            (None, true) => Some(random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect()),
            (None, false) => None,
        };
        let hashed = value.as_deref().or(request.session.as_deref());
        if hashed.is_some_and(|text| text.is_empty() || text.len() > MAX_VALUE || !text.bytes().all(plain)) {
            return Err(usage(
                "that is no value that a request can carry".to_owned(),
                "give 1 to 128 visible ASCII characters without \" , ; \\ & and blanks",
            ));
        }
        let service = self.state.service(name).map_or(0, |service| service.id);
        let key = self.plane.globals()?.session_key;
        let hash = hashed.map(|text| hash_id(key, service, text.as_bytes())).map(|hash| (hash.tag, hash.bucket));
        let ttl = if request.forever { None } else { Some(request.ttl_seconds.unwrap_or(TTL)) };
        if ttl == Some(0) {
            return Err(usage("a pin cannot end at once".to_owned(), "give --ttl a time, for example 8h, or never"));
        }
        let made = pin::Pin {
            id: 0,
            to: request.to.parse().map_err(|error: String| Failure::usage(error, "name a version, or never"))?,
            carrier,
            hash,
            source: request.source,
            expires: ttl.map(|ttl| unix_now().saturating_add(ttl)),
            trace: request.trace,
            note: request.note.clone(),
        };
        Ok((made, value))
    }

    /// The pins of a service, or of all.
    pub fn pins(&self, name: Option<&str>) -> Result<Vec<PinStatus>, Failure> {
        if let Some(name) = name {
            self.service_config(name)?;
        }
        let services = self.state.services.iter().filter(|service| name.is_none_or(|name| service.name == name));
        let now = unix_now();
        let pins = services.flat_map(|service| {
            service.pins.iter().map(|pin| PinStatus {
                service: service.name.clone(),
                id: pin.id,
                to: pin.to.to_string(),
                carrier: pin.carrier.to_string(),
                source: pin.source,
                hash: pin.hash.map(|(tag, _)| crate::explain::short_hash(tag)),
                seconds_left: pin.expires.map(|expires| expires.saturating_sub(now)),
                trace: pin.trace,
                note: pin.note.clone(),
            })
        });
        Ok(pins.collect())
    }

    /// Writes all pins into the kernel. Before the policy that says that there are any.
    pub(super) fn sync_pins(&mut self) -> Result<(), Failure> {
        let (values, sources) = plan::pins(&self.state, unix_now(), boot::elapsed().as_secs());
        Ok(self.plane.set_pins(&values, &sources)?)
    }

    /// Takes away what has expired. In the kernel it counts no more already.
    pub(super) fn expire_pins(&mut self) -> Result<(), Failure> {
        let now = unix_now();
        let over = |pin: &pin::Pin| pin.expires.is_some_and(|expires| expires <= now);
        let services: Vec<String> = self.state.services.iter().map(|service| service.name.clone()).collect();
        for name in services {
            let mut state = self.state.clone();
            let Some(service) = state.service_mut(&name) else { continue };
            let ids: Vec<String> = service.pins.iter().filter(|pin| over(pin)).map(|pin| pin.id.to_string()).collect();
            if ids.is_empty() {
                continue;
            }
            service.pins.retain(|pin| !over(pin));
            let why = format!("expired: pin {}", ids.join(", "));
            self.decided(state, &name, &Actor::director("ttl"), "pin rm", None::<Label>, &why)?;
        }
        Ok(())
    }
}

/// What may stand in a cookie's value (RFC 6265, section 4.1.1), and in a query.
fn plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\&#".contains(&byte)
}
