//! Maps of a former layout: what an upgrade takes over from them.
//!
//! Sessions and keys move into new maps; everything else is made anew. Flows do not move: what their legs are in the middle
//! of cannot be said in another layout's words, so open connections end with the programs that held them, and their clients
//! connect again.
//!
//! A former layout is written down here as it was, in numbers of its own: the types of `layout` go on changing.

mod v1;
mod v2;
mod v3;

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use aya::maps::{Array, Map, MapData};
use balancer_ebpf::layout::{self, Key, map};

use super::{
    mmap::{Access, MappedArray},
    pins::Pins,
    table::Words,
};
use crate::{dataplane::Image, exit::Failure, store::Keys};

/// A director of a former layout, as it is pinned.
#[derive(Debug)]
pub struct Former {
    pub version: u32,
    pub pins: Pins,
    pub keys: Keys,
    table: MappedArray,
    layout: Layout,
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
    let Some(layout) = [v1::LAYOUT, v2::LAYOUT, v3::LAYOUT].into_iter().find(|layout| layout.version == version) else {
        // Older ones were never released.
        return Ok(None);
    };
    let read = open(layout, pins.clone());
    Ok(Some(read.with_context(|| format!("read the maps of layout {version} in {}", pins.dir.display()))?))
}

/// What has to be known of a former layout.
#[derive(Clone, Copy, Debug)]
struct Layout {
    version: u32,
    /// Bytes of the one value of `GLOBALS`; the keys are its first six words, in the machine's order, in all layouts so far.
    globals_bytes: u32,
    /// Bytes of a value of `SESSIONS`.
    bucket_bytes: u32,
    words: Words,
    /// An entry in the words of the present layout, given the idle time-outs of backends.
    image: fn(Image, &dyn Fn(u32) -> u32) -> Image,
}

fn open(layout: Layout, pins: Pins) -> anyhow::Result<Former> {
    let value = |name: &str, bytes: u32| {
        let data = MapData::from_pin(pins.map(name))?;
        let info = data.info()?;
        anyhow::ensure!(info.value_size() == bytes, "{name} has values of {} bytes, not {bytes}", info.value_size());
        Ok((data, info))
    };
    let (globals, _) = value(map::GLOBALS, layout.globals_bytes)?;
    let globals: Array<_, [u8; GLOBALS_BYTES]> = Map::Array(globals).try_into()?;
    let keys = keys(&globals.get(&0, 0)?);
    let (sessions, info) = value(map::SESSIONS, layout.bucket_bytes)?;
    let table = MappedArray::new(sessions.fd().as_fd(), info.value_size(), info.max_entries(), Access::Read)?;
    Ok(Former { version: layout.version, pins, keys, table, layout })
}

/// Bytes of `GLOBALS` in the layouts so far.
const GLOBALS_BYTES: usize = 200;

/// The keys that `GLOBALS` begins with: of session ids, of cookies, of initial sequence numbers.
fn keys(globals: &[u8; GLOBALS_BYTES]) -> Keys {
    let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| globals[at * 8 + byte]));
    let key = |at: usize| Key { k0: word(at), k1: word(at + 1) };
    Keys { session: key(0), cookie: key(2), isn: key(4) }
}

impl Former {
    /// Visits the entries in use, in the words of the present layout, with the idle time-outs of their backends. The former
    /// programs may still be at work.
    pub fn each(&self, idle: &dyn Fn(u32) -> u32, visit: &mut dyn FnMut(Image)) {
        let Layout { words, image, .. } = self.layout;
        for first in (0..self.table.words()).step_by(words.entry) {
            let word = |at: usize| self.table.load(first + at).unwrap_or_default();
            if let Some(found) = words.whole(word) {
                visit(image(found, idle));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_they_were() {
        let globals: [u8; GLOBALS_BYTES] = std::array::from_fn(|at| at as u8);
        let word = |first: u8| u64::from_ne_bytes(std::array::from_fn(|byte| first + byte as u8));
        let key = |first: u8| Key { k0: word(first), k1: word(first + 8) };
        assert_eq!(keys(&globals), Keys { session: key(0), cookie: key(16), isn: key(32) });
    }

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
