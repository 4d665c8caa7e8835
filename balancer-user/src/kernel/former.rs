//! Maps of a former layout: what an upgrade takes over from them.
//!
//! Sessions and keys move into new maps; everything else is made anew. Flows do not move: what their legs are in the middle
//! of cannot be said in another layout's words, so open connections end with the programs that held them, and their clients
//! connect again.
//!
//! A former layout is written down here as it was, in numbers of its own: the types of `layout` go on changing.

mod v1;

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use aya::maps::{Array, Map, MapData};
use balancer_ebpf::layout::{self, map};

use super::{
    mmap::{Access, MappedArray},
    pins::Pins,
};
use crate::{dataplane::Image, exit::Failure, store::Keys};

/// A director of a former layout, as it is pinned.
#[derive(Debug)]
pub struct Former {
    pub version: u32,
    pub pins: Pins,
    pub keys: Keys,
    table: MappedArray,
}

/// What is pinned beside `pins`, if an upgrade can take it over. Pins of a newer layout are an error.
pub fn find(pins: &Pins) -> Result<Option<Former>, Failure> {
    let others = pins.other_layouts()?;
    if let Some((version, newer)) = others.iter().find(|(version, _)| *version > layout::VERSION) {
        return Err(Failure::refused(
            format!("a newer balancer's programs are attached: {} has layout {version}", newer.dir.display()),
            "run that balancer; or take it out of the kernel with its `balancer detach`, which keeps a snapshot of the \
             sessions, then run this one",
        ));
    }
    // The newest is the one that was attached last.
    let Some((version, pins)) = others.into_iter().next_back() else { return Ok(None) };
    let read = || match version {
        v1::VERSION => open(version, pins.clone()).map(Some),
        // Older ones were never released.
        _ => Ok(None),
    };
    Ok(read().with_context(|| format!("read the maps of layout {version} in {}", pins.dir.display()))?)
}

fn open(version: u32, pins: Pins) -> anyhow::Result<Former> {
    let globals: Array<_, [u8; v1::GLOBALS_BYTES]> =
        Map::Array(MapData::from_pin(pins.map(map::GLOBALS))?).try_into()?;
    let keys = v1::keys(&globals.get(&0, 0)?);
    let sessions = MapData::from_pin(pins.map(map::SESSIONS))?;
    let info = sessions.info()?;
    anyhow::ensure!(info.value_size() == v1::BUCKET_BYTES, "SESSIONS has values of {} bytes", info.value_size());
    let table = MappedArray::new(sessions.fd().as_fd(), info.value_size(), info.max_entries(), Access::Read)?;
    Ok(Former { version, pins, keys, table })
}

impl Former {
    /// Visits the entries in use, in the words of the present layout, with the idle time-outs of their backends. The former
    /// programs may still be at work.
    pub fn each(&self, idle: &dyn Fn(u32) -> u32, visit: &mut dyn FnMut(Image)) {
        for first in (0..self.table.words()).step_by(v1::WORDS.entry) {
            let word = |at: usize| self.table.load(first + at).unwrap_or_default();
            if let Some(image) = v1::WORDS.whole(word) {
                visit(v1::image(image, idle));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_taken_over() {
        let bpffs = tempfile::tempdir().unwrap();
        let director = bpffs.path().join("balancer/lab");
        let pins = Pins::new(director.join(format!("v{}", layout::VERSION)));
        assert!(find(&pins).unwrap().is_none());
        for present in [format!("v{}", layout::VERSION), "vault".to_owned(), "v0".to_owned()] {
            std::fs::create_dir_all(director.join(present)).unwrap();
            assert!(find(&pins).unwrap().is_none());
        }
        let newer = layout::VERSION + 1;
        std::fs::create_dir(director.join(format!("v{newer}"))).unwrap();
        let failure = find(&pins).unwrap_err();
        assert!(failure.error.contains(&format!("has layout {newer}")) && failure.hint.contains("detach"), "{failure}");
        let layouts: Vec<u32> = pins.other_layouts().unwrap().into_iter().map(|(version, _)| version).collect();
        assert_eq!(layouts, [0, newer]);
    }
}
