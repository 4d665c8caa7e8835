//! The maps of pins, and the ring of what is told of them.

use std::collections::BTreeMap;
use std::mem::size_of;

use anyhow::Context as _;
use aya::maps::{HashMap, LpmTrie, Map, MapData, RingBuf, lpm_trie::Key};
use balancer_ebpf::layout::{Pin, PinEvent, PinKey, SourceKey, map};

use super::{
    pins::Pins,
    values::{from_bytes, to_bytes},
};

type PinBytes = [u8; size_of::<Pin>()];
type SourceBytes = [u8; size_of::<SourceKey>()];

/// Bits of a source's key that are always compared: those of the service. And of an address.
const SERVICE_BITS: u32 = 32;
const ADDRESS_BITS: u32 = 128;

/// Handles of the three maps.
pub(super) struct PinMaps {
    pins: HashMap<MapData, [u8; size_of::<PinKey>()], PinBytes>,
    sources: LpmTrie<MapData, SourceBytes, PinBytes>,
    events: RingBuf<MapData>,
}

impl PinMaps {
    pub(super) fn open(pins: &Pins) -> anyhow::Result<Self> {
        let data = |name: &str| MapData::from_pin(pins.map(name)).with_context(|| format!("open the map {name}"));
        Ok(Self {
            pins: Map::HashMap(data(map::PINS)?).try_into().context("use PINS")?,
            sources: Map::LpmTrie(data(map::SOURCE_PINS)?).try_into().context("use SOURCE_PINS")?,
            events: Map::RingBuf(data(map::EVENTS)?).try_into().context("use EVENTS")?,
        })
    }

    pub(super) fn pins(&self) -> anyhow::Result<BTreeMap<PinKey, Pin>> {
        let entries: Result<Vec<_>, _> = self.pins.iter().collect();
        Ok(entries.context("read PINS")?.iter().map(|(key, pin)| (from_bytes(key), from_bytes(pin))).collect())
    }

    pub(super) fn sources(&self) -> anyhow::Result<BTreeMap<(SourceKey, u32), Pin>> {
        let entries: Result<Vec<_>, _> = self.sources.iter().collect();
        let entries = entries.context("read SOURCE_PINS")?;
        let entry = |(key, pin): &(Key<SourceBytes>, PinBytes)| {
            ((from_bytes(&key.data()), key.prefix_len() - SERVICE_BITS), from_bytes(pin))
        };
        Ok(entries.iter().map(entry).collect())
    }

    /// New ones first, so that nobody is without a pin for an instant because of another's.
    pub(super) fn set(
        &mut self,
        wanted: &BTreeMap<PinKey, Pin>,
        sources: &BTreeMap<(SourceKey, u32), Pin>,
    ) -> anyhow::Result<()> {
        let (present, present_sources) = (self.pins()?, self.sources()?);
        for (key, pin) in wanted.iter().filter(|(key, pin)| present.get(key) != Some(pin)) {
            self.pins.insert(to_bytes(key), to_bytes(pin), 0).context("write PINS")?;
        }
        let trie = |(key, bits): &(SourceKey, u32)| Key::new(SERVICE_BITS + bits, to_bytes(key));
        for (key, pin) in sources.iter().filter(|(key, pin)| present_sources.get(key) != Some(pin)) {
            self.sources.insert(&trie(key), to_bytes(pin), 0).context("write SOURCE_PINS")?;
        }
        for key in present.keys().filter(|key| !wanted.contains_key(key)) {
            self.pins.remove(&to_bytes(key)).context("write PINS")?;
        }
        for key in present_sources.keys().filter(|key| !sources.contains_key(key)) {
            self.sources.remove(&trie(key)).context("write SOURCE_PINS")?;
        }
        Ok(())
    }

    pub(super) fn pin(&self, key: &PinKey) -> Option<Pin> {
        self.pins.get(&to_bytes(key), 0).ok().map(|bytes| from_bytes(&bytes))
    }

    pub(super) fn source(&self, key: &SourceKey) -> Option<Pin> {
        self.sources.get(&Key::new(SERVICE_BITS + ADDRESS_BITS, to_bytes(key)), 0).ok().map(|bytes| from_bytes(&bytes))
    }

    pub(super) fn told(&mut self) -> Vec<PinEvent> {
        let mut told = Vec::new();
        while let Some(record) = self.events.next() {
            if let Some(bytes) = record.first_chunk() {
                told.push(from_bytes::<PinEvent, { size_of::<PinEvent>() }>(bytes));
            }
        }
        told
    }
}
