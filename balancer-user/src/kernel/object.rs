//! The kernel program's object: the one inside this binary, what maps it wants, and what they will take.

use std::{borrow::Cow, hash::Hasher as _, path::Path};

use anyhow::Context as _;
use aya_obj::Object;
use aya_obj::generated::bpf_map_type;
use balancer_ebpf::layout::map;

use crate::{
    exit::Failure,
    sizes::{self, Kind, Sizes},
};

/// What the build script built.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/balancer-ebpf"));

/// Names of the programs in it.
pub const TC: &str = "balancer_tc";
pub const XDP: &str = "balancer_xdp";
/// It is run to close a flow.
pub const CLOSE: &str = "balancer_close";
/// It is run to let a request go on that was held.
pub const RELEASE: &str = "balancer_release";
/// Those that are never attached, but run by the daemon.
pub const ERRANDS: [&str; 2] = [CLOSE, RELEASE];

/// A map as the object wants it, sized by the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapPlan {
    pub name: String,
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub entries: u32,
    pub flags: u32,
    /// It outlives the daemon.
    pub pinned: bool,
}

/// The object's bytes: the embedded ones, or a file's.
pub fn bytes(file: Option<&Path>) -> Result<Cow<'static, [u8]>, Failure> {
    match file {
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display()), ""))?;
            Ok(Cow::Owned(bytes))
        }
        None if EMBEDDED.is_empty() => {
            Err(Failure::other("this balancer was built without its kernel program", "build it without AYA_BUILD_SKIP"))
        }
        None => Ok(Cow::Borrowed(EMBEDDED)),
    }
}

/// A number that differs between objects.
///
/// A program's tag covers its instructions but not its constants (`.rodata` is a map), so the tag alone would miss a change.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    // Not a promise about other releases of Rust: at worst an unchanged program is replaced by itself.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The maps that `bytes` wants.
pub fn maps(bytes: &[u8], sizes: &Sizes) -> anyhow::Result<Vec<MapPlan>> {
    let object = Object::parse(bytes).context("parse the kernel program's object")?;
    let mut plans: Vec<MapPlan> = object
        .maps
        .iter()
        .map(|(name, map)| MapPlan {
            name: name.clone(),
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            entries: sizes.entries(name).unwrap_or_else(|| map.max_entries()),
            flags: map.map_flags(),
            // Sections of constants belong to one load of the program, scratch memory to nobody.
            pinned: !name.starts_with('.') && name != map::WORK,
        })
        .collect();
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(plans)
}

/// Bytes that all of `maps` take.
pub fn memory(maps: &[MapPlan], cpus: u32) -> u64 {
    maps.iter()
        .map(|plan| {
            let kind = kind(plan.kind);
            sizes::memory(kind, plan.key_size, plan.value_size, plan.entries, cpus)
        })
        .sum()
}

fn kind(kind: u32) -> Kind {
    match bpf_map_type::try_from(kind) {
        Ok(bpf_map_type::BPF_MAP_TYPE_HASH | bpf_map_type::BPF_MAP_TYPE_LRU_HASH) => Kind::Hash,
        Ok(bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY) => Kind::PerCpu,
        Ok(bpf_map_type::BPF_MAP_TYPE_RINGBUF) => Kind::Ring,
        _ => Kind::Array,
    }
}
