//! The queue of flows whose requests are held.

use anyhow::Context as _;
use aya::maps::{Map, MapData, MapError, Queue};
use balancer_ebpf::layout::map;

use super::pins::Pins;

/// Slots of flows, those that were held first come first.
pub(super) struct Held(Queue<MapData, u32>);

impl Held {
    pub(super) fn open(pins: &Pins) -> anyhow::Result<Self> {
        let data = MapData::from_pin(pins.map(map::HELD)).context("open the map HELD")?;
        Ok(Self(Map::Queue(data).try_into().context("use HELD")?))
    }

    /// The next one, which is then no longer in it.
    pub(super) fn pop(&mut self) -> anyhow::Result<Option<u32>> {
        match self.0.pop(0) {
            Ok(slot) => Ok(Some(slot)),
            Err(MapError::ElementNotFound) => Ok(None),
            Err(error) => Err(error).context("read HELD"),
        }
    }

    /// Puts one back. If the queue is full meanwhile, its client's timer does what would have been done.
    pub(super) fn keep(&mut self, slot: u32) -> anyhow::Result<()> {
        match self.0.push(slot, 0) {
            Ok(()) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(E2BIG) => Ok(()),
            Err(error) => Err(error).context("write HELD"),
        }
    }
}

/// What a full queue says.
const E2BIG: i32 = 7;
