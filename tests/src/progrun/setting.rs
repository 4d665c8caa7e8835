//! What a director is told in tests: one service on one listener, with versions and backends. Values in, values out.

use std::net::{IpAddr, SocketAddr};

use balancer_ebpf::layout::{
    Address, Backend, Binding, FAMILIES, Globals, KIND_ISSUED, Key, Listener, ListenerKey, MAX_SOURCES, MAX_VERSIONS,
    Name, OFFER_SACK, OFFER_SCALE, OFFER_TIMESTAMPS, Policy, ROLE_LISTENER, ROLE_SOURCE, SessionHash, SessionRule,
    VERSION_BACKENDS, VERSION_SERVES, VersionPolicy,
};
use balancer_ebpf::sip::hash_id;

use super::Room;
use crate::lab::Lab;

/// The service's index.
pub const SERVICE: u32 = 0;
/// The session cookie.
pub const COOKIE: &str = "JSESSIONID";
/// Keys of session ids and SYN cookies.
pub const KEY: Key = Key { k0: 0x0123_4567_89ab_cdef, k1: 0xfedc_ba98_7654_3210 };
/// The key of legs' initial sequence numbers.
pub const ISN_KEY: Key = Key { k0: 3, k1: 5 };

/// A director of one service.
#[derive(Clone, Debug)]
pub struct Setting {
    pub listener: SocketAddr,
    /// Of the listener's family.
    pub sources: Vec<IpAddr>,
    /// Each version's backends; the first version is the active one. A backend's id is its place among all.
    pub versions: Vec<Vec<SocketAddr>>,
    pub room: Room,
}

impl Setting {
    /// That of a lab, each of whose backends is a version of its own.
    pub fn of(lab: &Lab, room: Room) -> Self {
        let versions = (1..=lab.backends().len()).map(|host| vec![lab.application(host)]).collect();
        Self { listener: lab.service(), sources: lab.sources(), versions, room }
    }

    pub fn globals(&self) -> Globals {
        let family = usize::from(self.listener.is_ipv6());
        let mut sources = [[Address::NONE; MAX_SOURCES]; FAMILIES];
        for (to, from) in sources[family].iter_mut().zip(&self.sources) {
            *to = (*from).into();
        }
        let mut source_count = [0; FAMILIES];
        source_count[family] = self.sources.len() as u32;
        Globals {
            session_key: KEY,
            cookie_key: KEY,
            isn_key: ISN_KEY,
            flows: self.room.flows,
            stashes: self.room.stashes,
            bucket_mask: self.room.buckets - 1,
            source_count,
            flow_idle_seconds: 600,
            sources,
        }
    }

    pub fn listener(&self) -> (ListenerKey, Listener) {
        let key =
            ListenerKey { address: self.listener.ip().into(), port: self.listener.port().to_be_bytes(), zero: [0; 2] };
        let offers = OFFER_TIMESTAMPS | OFFER_SACK | OFFER_SCALE;
        (key, Listener { service: SERVICE, offers, mss: 1460, scale: 7 })
    }

    pub fn roles(&self) -> Vec<(Address, u32)> {
        let sources = (0u32..).zip(&self.sources).map(|(index, source)| ((*source).into(), ROLE_SOURCE | index));
        sources.chain([(self.listener.ip().into(), ROLE_LISTENER)]).collect()
    }

    pub fn backends(&self) -> Vec<Backend> {
        let backend = |address: &SocketAddr| Backend::up(address.ip().into(), address.port());
        self.versions.iter().flatten().map(backend).collect()
    }

    pub fn policy(&self) -> Policy {
        let mut versions = [VersionPolicy::NONE; MAX_VERSIONS as usize];
        let mut id = 0;
        for (index, (slot, backends)) in versions.iter_mut().zip(&self.versions).enumerate() {
            let mut ids = [0; VERSION_BACKENDS];
            for slot in ids.iter_mut().take(backends.len()) {
                *slot = id;
                id += 1;
            }
            *slot = VersionPolicy {
                generation: index as u32 + 1,
                flags: VERSION_SERVES,
                backend_count: backends.len() as u32,
                birth: index as u32 + 1,
                backends: ids,
            };
        }
        let name = |text: &str| Name::new(text.as_bytes()).unwrap_or(Name { words: [0; 8], len: 0, zero: 0 });
        let rule = SessionRule::new(name(COOKIE), name("jsessionid"));
        Policy { generation: 1, versions, ..Policy::new(rule) }
    }

    /// The keyed hash of a session's id.
    pub fn hash(&self, id: &[u8]) -> SessionHash {
        hash_id(KEY, SERVICE, id)
    }

    /// The buckets that a session may lie in.
    pub fn buckets_of(&self, hash: &SessionHash) -> [u32; 2] {
        let mask = self.room.buckets - 1;
        [hash.bucket as u32 & mask, (hash.bucket >> 32) as u32 & mask]
    }

    /// What a session that a backend issued is bound to.
    pub fn issued_by(&self, version: u32, backend: u32) -> Binding {
        Binding::new(version, version + 1, backend, KIND_ISSUED)
    }
}
