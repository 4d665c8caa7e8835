//! Loading the object onto the maps that are pinned, or onto new ones.

use std::fs;

use anyhow::Context as _;
use aya::{
    Ebpf, EbpfLoader,
    maps::MapInfo,
    programs::{Program, ProgramError, ProgramInfo, SchedClassifier, Xdp},
};
use balancer_ebpf::layout::map;

use super::{
    object::{self, MapPlan},
    pins::Pins,
};
use crate::{exit::Failure, sizes::Sizes};

/// Refuses pinned maps that are not what this daemon would make: aya adopts whatever lies at the path.
pub fn check_pinned(pins: &Pins, plans: &[MapPlan]) -> Result<(), Failure> {
    for plan in plans.iter().filter(|plan| plan.pinned) {
        let Some(info) = pinned(pins, &plan.name)? else { continue };
        if info.max_entries() != plan.entries && plan.name != map::COUNTERS {
            return Err(Failure::refused(
                format!(
                    "the config changed the size of a map that is in use: {} has {} entries, `{}` now asks for {}",
                    plan.name,
                    info.max_entries(),
                    Sizes::key(&plan.name),
                    plan.entries
                ),
                format!(
                    "put the old `{}` back; or end all connections with `balancer detach`, then run again: sessions come \
                     back from the snapshot",
                    Sizes::key(&plan.name)
                ),
            ));
        }
        let there = (info.key_size(), info.value_size(), info.map_flags());
        if there != (plan.key_size, plan.value_size, plan.flags) {
            return Err(Failure::refused(
                format!("the pinned map {} has another layout than this balancer's", pins.map(&plan.name).display()),
                "run the balancer that made it; or `balancer detach`, which ends connections and keeps sessions, then run again",
            ));
        }
    }
    Ok(())
}

/// Whether the counters that are pinned are another release's. It had more of them, or fewer, and so they stand for something else: those of
/// this one begin anew.
pub fn counters_are_foreign(pins: &Pins, plans: &[MapPlan]) -> anyhow::Result<bool> {
    let plan = plans.iter().find(|plan| plan.name == map::COUNTERS);
    Ok(plan.zip(pinned(pins, map::COUNTERS)?).is_some_and(|(plan, info)| info.max_entries() != plan.entries))
}

/// What is pinned as a map of this name, if anything is.
fn pinned(pins: &Pins, name: &str) -> anyhow::Result<Option<MapInfo>> {
    let path = pins.map(name);
    if !path.exists() {
        return Ok(None);
    }
    MapInfo::from_pin(&path).map(Some).with_context(|| format!("read {}", path.display()))
}

/// Loads the object; maps that are pinned are used, others are made and pinned. So are not counters in whose place `foreign` ones are pinned
/// ([`counters_are_foreign`]): what counts in those goes on until [`pin_counters`].
pub fn load(bytes: &[u8], pins: &Pins, plans: &[MapPlan], foreign: bool) -> anyhow::Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    for plan in plans {
        loader.map_max_entries(&plan.name, plan.entries);
        if plan.pinned && !(foreign && plan.name == map::COUNTERS) {
            loader.map_pin_path(&plan.name, pins.map(&plan.name));
        }
    }
    loader.load(bytes).context("load the kernel program's object and make its maps")
}

/// Pins the object's counters in the place of foreign ones.
pub fn pin_counters(ebpf: &Ebpf, pins: &Pins) -> anyhow::Result<()> {
    let path = pins.map(map::COUNTERS);
    let counters = ebpf.map(map::COUNTERS).context("the object has no counters")?;
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    counters.pin(&path).with_context(|| format!("pin {}", path.display()))
}

/// Whether the program that is pinned as `name` has the instructions of `new`.
pub fn same_program(pins: &Pins, name: &str, new: &ProgramInfo) -> bool {
    match ProgramInfo::from_pin(pins.program(name)) {
        Ok(pinned) => pinned.tag() == new.tag(),
        Err(_) => false,
    }
}

/// Lets the kernel verify the programs that are needed.
pub fn verify(ebpf: &mut Ebpf, with_xdp: bool) -> anyhow::Result<()> {
    for name in [object::TC].into_iter().chain(object::ERRANDS) {
        let classifier: &mut SchedClassifier = program(ebpf, name)?.try_into()?;
        classifier.load().map_err(|error| explain_refusal(name, error))?;
    }
    if with_xdp {
        let name = object::XDP;
        let xdp: &mut Xdp = program(ebpf, name)?.try_into()?;
        xdp.load().map_err(|error| explain_refusal(name, error))?;
    }
    Ok(())
}

/// A program of the object.
pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Program> {
    ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))
}

/// Puts a verifier's refusal into a form that a person can read: the kernel's last words, which name the reason.
fn explain_refusal(name: &str, error: ProgramError) -> anyhow::Error {
    if let ProgramError::LoadError { io_error, verifier_log } = &error {
        let log = verifier_log.to_string();
        let last: Vec<&str> = log.lines().rev().filter(|line| !line.trim().is_empty()).take(6).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return anyhow::anyhow!("the kernel refuses the program {name}: {io_error}\n    {}", last.join("\n    "));
    }
    anyhow::Error::new(error).context(format!("load the program {name}"))
}
