//! What a start goes on from: maps in the kernel, maps of a former layout, a snapshot, or nothing.

use std::{fmt::Write as _, time::Duration};

use balancer_ebpf::layout::Globals;
use log::{info, warn};

use crate::{
    config::Config,
    exit::Failure,
    kernel::{
        former::{self, Former},
        maps::open_table,
        pins::Pins,
    },
    model::State,
    snapshot::{self, Filler, Known, Moment, Snapshot, Unusable},
    store::{Keys, Store},
    wire::Restored,
};

/// Where sessions and keys come from.
pub(super) enum Origin {
    /// The kernel has them.
    Pinned,
    /// An upgrade: maps of a former layout have them.
    Former(Former),
    /// A reboot, or a start after `detach`.
    Snapshot(Snapshot),
    /// A first start, or a snapshot that cannot be used, and why.
    Nothing { problem: Option<String> },
}

impl Origin {
    /// Looks for what there is. `adopts` says that maps of the present layout are pinned and complete.
    pub(super) fn find(config: &Config, store: &Store, pins: &Pins, adopts: bool) -> Result<Self, Failure> {
        // Even if nothing is taken from it: two layouts must not be attached at once.
        let former = former::find(pins)?;
        if adopts {
            return Ok(Self::Pinned);
        }
        if let Some(former) = former {
            return Ok(Self::Former(former));
        }
        let key = store.load_keys()?.map(|keys| keys.session);
        Ok(match snapshot::open(store.dir(), &config.name, key) {
            Ok(Some(snapshot)) => Self::Snapshot(snapshot),
            Ok(None) => Self::Nothing { problem: None },
            Err(error) => Self::Nothing { problem: Some(set_aside(store, &error)) },
        })
    }

    /// The keys that the sessions were hashed with, if it has them.
    pub(super) fn keys(&self, store: &Store) -> Result<Option<Keys>, Failure> {
        let stored = store.load_keys()?;
        Ok(match self {
            Self::Former(former) => Some(former.keys),
            Self::Snapshot(snapshot) if stored.is_none() => {
                info!("the state directory has no keys: the session key is the snapshot's");
                Some(Keys { session: snapshot.key(), ..Keys::generate()? })
            }
            Self::Snapshot(_) | Self::Pinned | Self::Nothing { .. } => stored,
        })
    }

    /// The highest generation that a binding may carry which no map of the present layout knows.
    pub(super) fn newest_generation(&self) -> u32 {
        match self {
            Self::Former(former) => {
                let mut newest = 0;
                former.each(&|_| 0, &mut |image| {
                    newest = balancer_ebpf::layout::Binding(image.binding).generation().max(newest);
                });
                newest
            }
            Self::Snapshot(snapshot) => snapshot.newest_generation(),
            Self::Pinned | Self::Nothing { .. } => 0,
        }
    }

    /// Fills the table, which nobody uses yet; `None` where there was nothing to do.
    pub(super) fn fill(
        self,
        pins: &Pins,
        globals: &Globals,
        config: &Config,
        state: &State,
    ) -> anyhow::Result<Option<Restored>> {
        let (from, taken) = match &self {
            Self::Former(former) => (format!("the maps of layout {}", former.version), Moment::now()),
            Self::Snapshot(snapshot) => {
                let taken = snapshot.taken();
                let ago = humantime::format_duration(Duration::from_secs(Moment::now().since(&taken)));
                (format!("a snapshot of {} sessions, {ago} old", snapshot.sessions()), taken)
            }
            Self::Nothing { problem: Some(problem) } => {
                warn!("{problem}");
                return Ok(Some(Restored { problem: Some(problem.clone()), ..Restored::default() }));
            }
            Self::Pinned | Self::Nothing { problem: None } => return Ok(None),
        };
        let table = open_table(pins)?;
        let known = Known::of(config, state);
        let mut filler = Filler::new(&table, globals, known.clone(), taken, Moment::now());
        let mut problem = None;
        match self {
            Self::Former(former) => former.each(&|backend| known.idle(backend), &mut |image| filler.put(image)),
            Self::Snapshot(mut snapshot) => {
                if let Err(error) = snapshot.each(&mut |image| filler.put(image)) {
                    problem = Some(format!("the rest of the snapshot cannot be read: {error}"));
                }
            }
            Self::Pinned | Self::Nothing { .. } => {}
        }
        let restored = Restored { from, problem, ..filler.finish() };
        say(&restored);
        Ok(Some(restored))
    }
}

/// Says what came back, and what did not.
fn say(restored: &Restored) {
    let mut lost = String::new();
    for (count, what) in [
        (restored.expired, "have expired meanwhile"),
        (restored.gone, "are of versions that are gone"),
        (restored.no_room, "have no room: raise `sessions`"),
    ] {
        if count > 0 {
            let _ = write!(lost, "; {count} {what}");
        }
    }
    info!("{} sessions are known from {}{lost}", restored.sessions, restored.from);
    if let Some(problem) = &restored.problem {
        warn!("{problem}");
    }
}

/// Keeps a snapshot that cannot be used for somebody to look at; answers what to tell an operator.
fn set_aside(store: &Store, error: &Unusable) -> String {
    let path = store.dir().join(snapshot::FILE);
    let kept = match snapshot::set_aside(store.dir()) {
        Ok(aside) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("it cannot be moved away ({error}), and the next snapshot takes its place"),
    };
    format!(
        "the snapshot {} cannot be used: {error}; the director starts without sessions, which begin anew; {kept}",
        path.display()
    )
}
