//! Start: from a config and whatever is pinned or stored to a director that can be attached.

use std::{collections::BTreeMap, path::Path, time::Duration};

use aya::{
    Ebpf,
    programs::{SchedClassifier, Xdp},
    util::nr_cpus,
};
use aya_log::EbpfLogger;
use aya_obj::programs::XdpAttachType;
use balancer_ebpf::layout::{BACKEND_UP, BACKEND_USED, FAMILIES, Globals, INTERFACE_PEER};
use log::{info, warn};

use super::{
    Director,
    director::{Kernel, Limits},
    origin::Origin,
};
use crate::{
    config::{Config, Hook},
    dataplane::Dataplane,
    exit::Failure,
    kernel::{
        attach::{self, Attachment},
        interface::Interface,
        links::Links,
        load,
        maps::Maps,
        object,
        pins::Pins,
    },
    model::{Condition, Conditions, State},
    plan,
    sizes::{Sizes, human},
    snapshot::Keeper,
    store::{Keys, Store},
    wire,
};

/// Passes what programs log to our own logger.
type Logger = EbpfLogger<&'static dyn log::Log>;

/// Pins that go away again unless the start succeeds: a failed start changes nothing.
pub(super) struct Fresh(Option<Pins>);

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(pins) = self.0.take()
            && let Err(error) = pins.remove()
        {
            warn!("{} cannot be removed: {error:#}", pins.dir.display());
        }
    }
}

/// What is between loading and attaching.
pub(super) struct Loaded {
    ebpf: Ebpf,
    pins: Pins,
    /// Of a layout that this director takes the place of.
    former_pins: Option<Pins>,
    interfaces: Vec<Interface>,
    /// Indexes of those that left the config.
    former: Vec<u32>,
    fingerprint: u64,
    /// The pinned programs came from another object, or from none that we know of.
    changed: bool,
    fresh: Fresh,
}

/// Loads the object onto pinned or new maps, and makes the director that owns them.
pub(super) fn director(
    config: Config,
    store: Store,
    interfaces: Vec<Interface>,
    object_file: Option<&Path>,
) -> Result<(Director, Loaded), Failure> {
    let sizes = Sizes::of(&config);
    let bytes = object::bytes(object_file)?;
    let plans = object::maps(&bytes, &sizes)?;
    let cpus = u32::try_from(nr_cpus().map_err(|(what, error)| anyhow::anyhow!("read {what}: {error}"))?).unwrap_or(1);
    let memory = object::memory(&plans, cpus);
    say_room(&config, &sizes, memory);

    let pins = Pins::new(config.pin_dir());
    let adopts = pins.are_attached()?;
    if adopts {
        load::check_pinned(&pins, &plans)?;
    }
    let origin = Origin::find(&config, &store, &pins, adopts)?;
    if !adopts {
        // What a start left that was killed: half a table would be taken for all of it.
        pins.remove()?;
    }
    let fresh = Fresh((!adopts).then(|| pins.clone()));
    pins.make()?;
    let foreign = load::counters_are_foreign(&pins, &plans)?;
    let mut ebpf = load::load(&bytes, &pins, &plans, foreign)?;
    // Before anything is written: a program that the kernel refuses must not find half of a new config in the maps.
    let with_xdp = interfaces.iter().any(|interface| attach::wanted(config.hook, interface).0 == Hook::Xdp);
    load::verify(&mut ebpf, with_xdp)?;
    if foreign {
        info!("the release that was here had other counters: they begin anew");
        load::pin_counters(&ebpf, &pins)?;
    }
    let mut maps = Maps::open(pins.clone())?;

    let fingerprint = object::fingerprint(&bytes);
    let stored = store.load()?;
    // Programs of other counters are of another object, whatever the state says.
    let changed = foreign || stored.as_ref().and_then(|state| state.object) != Some(fingerprint);
    write_globals(&mut maps, &config, &sizes, &store, &origin)?;
    let peers: BTreeMap<u32, u32> =
        interfaces.iter().map(|i| (i.index, if i.peer_elsewhere { INTERFACE_PEER } else { 0 })).collect();
    let former = maps.interfaces().into_iter().filter(|index| !peers.contains_key(index)).collect();
    maps.set_interfaces(&peers)?;

    let state = match stored {
        Some(state) => {
            info!("the state in {} knows the versions; the config's are for a first start", config.state.display());
            state
        }
        None => first_state(&config, &maps, origin.newest_generation())?,
    };
    let globals = maps.globals()?;
    let restored = origin.fill(&pins, &globals, &config, &state)?;
    let keeper = Keeper::new(&config, globals.session_key, maps.sessions(), restored);
    let conditions = pinned_conditions(&maps, &state, adopts);
    let limits = Limits { flows: sizes.usable_flows, memory };
    let mut director = Director::new(config, state, conditions, Box::new(maps), store, keeper, limits)?;
    if adopts {
        info!("adopted what is pinned below {}", pins.dir.display());
    }
    director.fill_services()?;
    director.take_up_flips(adopts);
    let former_pins = pins.other_layouts()?.pop().map(|(_, former)| former);
    let loaded = Loaded { ebpf, pins, former_pins, interfaces, former, fingerprint, changed, fresh };
    Ok((director, loaded))
}

fn say_room(config: &Config, sizes: &Sizes, memory: u64) {
    info!("room for {} flows and {} sessions; all maps take {}", sizes.usable_flows, config.sessions, human(memory));
    if sizes.usable_flows < sizes.flows {
        warn!(
            "`flows` = {} but {} source address(es) have ports for {}: add `sources` to use the rest",
            sizes.flows,
            config.sources.len(),
            sizes.usable_flows
        );
    }
}

/// Keys stay as they are for as long as anything remembers them: the maps first, then those of a former layout, the state
/// directory, and the snapshot.
fn write_globals(
    maps: &mut Maps,
    config: &Config,
    sizes: &Sizes,
    store: &Store,
    origin: &Origin,
) -> Result<(), Failure> {
    let present = maps.globals()?;
    let keys = if present.source_count != [0; FAMILIES] {
        Keys { session: present.session_key, cookie: present.cookie_key, isn: present.isn_key }
    } else {
        match origin.keys(store)? {
            Some(keys) => keys,
            None => Keys::generate()?,
        }
    };
    if store.load_keys()? != Some(keys) {
        store.save_keys(&keys)?;
    }
    let (sources, source_count) = plan::sources(config);
    // A leg's address is its slot's place in the list of its family: what is in use must not move.
    let used = |family: usize| &present.sources[family][..present.source_count[family] as usize];
    if (0..FAMILIES).any(|family| !sources[family][..source_count[family] as usize].starts_with(used(family))) {
        let old: Vec<String> = (0..FAMILIES).flat_map(used).map(ToString::to_string).collect();
        return Err(Failure::refused(
            format!("`sources` was {} when the director was attached, and flows use these addresses", old.join(", ")),
            "keep those of each family in this order and only add behind them; or end all connections with `balancer detach`",
        ));
    }
    maps.set_globals(&Globals {
        session_key: keys.session,
        cookie_key: keys.cookie,
        isn_key: keys.isn,
        flows: sizes.usable_flows,
        stashes: sizes.stashes,
        bucket_mask: maps.buckets() - 1,
        source_count,
        flow_idle_seconds: u32::try_from(config.flow_idle.as_secs()).unwrap_or(u32::MAX),
        sources,
    })?;
    Ok(())
}

/// A director without a state begins with the config's versions.
fn first_state(config: &Config, maps: &Maps, newest_generation: u32) -> Result<State, Failure> {
    let mut state = State::default();
    for service in &config.services {
        let known = state.ensure_service(&service.name)?;
        // Bindings of a director whose state was lost must not be taken for those of new versions.
        let policy = maps.policy(known.id)?;
        let pinned = policy.iter().flat_map(|policy| &policy.versions).map(|version| version.generation);
        known.next_generation = pinned.chain([newest_generation]).max().unwrap_or_default().saturating_add(1);
    }
    Ok(state)
}

/// What the last daemon knew of the backends. Without pins nothing is known.
fn pinned_conditions(maps: &Maps, state: &State, adopts: bool) -> Conditions {
    let mut conditions = Conditions::default();
    let versions = state.services.iter().flat_map(|service| &service.versions);
    for backend in versions.flat_map(|version| &version.backends).filter(|_| adopts) {
        let Ok(pinned) = maps.backend(backend.id) else { continue };
        let same = pinned.address == backend.address.ip().into() && pinned.port == backend.address.port().to_be_bytes();
        if same && pinned.flags & BACKEND_USED != 0 {
            let up = pinned.flags & BACKEND_UP != 0;
            conditions.0.insert(backend.id, if up { Condition::Up } else { Condition::Down });
        }
    }
    conditions
}

/// Fills the maps and attaches: from here on packets are steered.
pub(super) fn attach(director: &mut Director, loaded: Loaded) -> Result<Option<Logger>, Failure> {
    let Loaded { mut ebpf, pins, former_pins, interfaces, former, fingerprint, changed, mut fresh } = loaded;
    director.sync_all()?;
    let mut links = Links::new(pins.clone(), former_pins.clone());

    let hook = director.config.hook;
    let mut attachments = Vec::new();
    with_tc(&mut ebpf, &pins, changed, |program| {
        for interface in &interfaces {
            attach::attach_tc(program, &mut links, interface)?;
            let (hook, why) = attach::wanted(hook, interface);
            attachments.push(Attachment { interface: interface.clone(), hook, why });
        }
        Ok(())
    })?;
    if attachments.iter().any(|attachment| attachment.hook == Hook::Xdp) {
        with_xdp(&mut ebpf, &pins, changed, |program| {
            for attachment in attachments.iter_mut().filter(|attachment| attachment.hook == Hook::Xdp) {
                if let Err(error) = attach::attach_xdp(program, &mut links, &attachment.interface) {
                    if hook == Hook::Xdp {
                        return Err(attach::no_native_xdp(&attachment.interface.name, &error).into());
                    }
                    attachment.hook = Hook::Tc;
                    attachment.why = format!("its driver refuses native XDP ({error:#})");
                }
            }
            Ok(())
        })?;
    }
    for name in object::ERRANDS {
        let classifier: &mut SchedClassifier =
            load::program(&mut ebpf, name)?.try_into().map_err(anyhow::Error::from)?;
        attach::pin_program(&pins, name, |path| classifier.pin(path))?;
    }
    for path in attach::remove_others(&pins, &attachments)?.into_iter().chain(attach::remove_filters(&former)) {
        info!("removed {path}: of an interface or a hook that the config does not want any more");
    }
    links.keep();
    fresh.0 = None;
    if let Some(former) = former_pins {
        former.remove()?;
        warn!("{} is taken over: connections of its programs end, their sessions stay", former.dir.display());
    }
    for Attachment { interface, hook, why } in &attachments {
        let hook_name = if *hook == Hook::Xdp { "XDP and TC" } else { "TC" };
        info!("{} (index {}): attached by {hook_name}: {why}", interface.name, interface.index);
    }
    let wire = attachments.into_iter().map(|attachment| wire::Interface {
        name: attachment.interface.name,
        index: attachment.interface.index,
        hook: attachment.hook,
        why: attachment.why,
        peer: attachment.interface.peer_elsewhere,
    });
    director.attached(Kernel { interfaces: wire.collect(), object: fingerprint })?;
    // A program that logs nothing has no map for it.
    Ok(EbpfLogger::init(&mut ebpf).ok())
}

/// Hands the TC program to `attach`: the pinned one if it is the same, else the new one, which is pinned in its place.
fn with_tc(
    ebpf: &mut Ebpf,
    pins: &Pins,
    changed: bool,
    attach: impl FnOnce(&mut SchedClassifier) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = object::TC;
    let new: &mut SchedClassifier = load::program(ebpf, name)?.try_into()?;
    if !changed && load::same_program(pins, name, &new.info()?) {
        return attach(&mut SchedClassifier::from_pin(pins.program(name))?);
    }
    attach(new)?;
    attach::pin_program(pins, name, |path| new.pin(path))
}

/// The same for XDP.
fn with_xdp(
    ebpf: &mut Ebpf,
    pins: &Pins,
    changed: bool,
    attach: impl FnOnce(&mut Xdp) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = object::XDP;
    let new: &mut Xdp = load::program(ebpf, name)?.try_into()?;
    if !changed && load::same_program(pins, name, &new.info()?) {
        return attach(&mut Xdp::from_pin(pins.program(name), XdpAttachType::Interface)?);
    }
    attach(new)?;
    attach::pin_program(pins, name, |path| new.pin(path))
}

/// Passes on what the programs log: rare things, never one per packet.
pub(super) async fn flush_logs(mut logs: Logger) {
    loop {
        logs.flush();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
