//! Pinned links: putting another program into one, also into one that a former layout's director pinned.
//!
//! A link's program is replaced in one step, so that no packet passes between the old one and the new one.

use std::{fs, path::Path, path::PathBuf};

use anyhow::Context as _;
use aya::programs::{
    ProgramError, SchedClassifier, Xdp,
    links::{FdLink, PinnedLink},
};
use aya_obj::programs::XdpAttachType;
use log::warn;

use super::{object, pins::Pins};

/// A program that links can be given.
pub(super) trait Linkable: Sized {
    const PROGRAM: &'static str;
    fn put_into(&mut self, link: FdLink) -> anyhow::Result<()>;
    fn pinned(path: &Path) -> anyhow::Result<Self>;
}

impl Linkable for SchedClassifier {
    const PROGRAM: &'static str = object::TC;
    fn put_into(&mut self, link: FdLink) -> anyhow::Result<()> {
        Ok(self.attach_to_link(link.try_into()?).map(drop)?)
    }
    fn pinned(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::from_pin(path)?)
    }
}

impl Linkable for Xdp {
    const PROGRAM: &'static str = object::XDP;
    fn put_into(&mut self, link: FdLink) -> anyhow::Result<()> {
        Ok(self.attach_to_link(link.try_into()?).map(drop)?)
    }
    fn pinned(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::from_pin(path, XdpAttachType::Interface)?)
    }
}

/// The links of a director, and of one of a former layout that it takes the place of.
///
/// Unless the start succeeds ([`Self::keep`]), a former director's links get its programs back.
pub struct Links {
    pins: Pins,
    former: Option<Pins>,
    taken: Vec<Taken>,
}

/// A link that was taken from a former director.
struct Taken {
    from: PathBuf,
    to: PathBuf,
    give_back: fn(&Pins, &Path) -> anyhow::Result<()>,
}

impl Links {
    pub fn new(pins: Pins, former: Option<Pins>) -> Self {
        Self { pins, former, taken: Vec::new() }
    }

    /// Puts `program` into the link that is pinned for an interface. False if there is none whose interface still exists.
    pub(super) fn replace<P: Linkable>(
        &mut self,
        program: &mut P,
        pin: impl Fn(&Pins) -> PathBuf,
    ) -> anyhow::Result<bool> {
        let to = pin(&self.pins);
        for from in [Some(to.clone()), self.former.as_ref().map(&pin)].into_iter().flatten() {
            let Some(link) = pinned(&from)? else { continue };
            match program.put_into(link) {
                Ok(()) if from == to => return Ok(true),
                Ok(()) => {
                    fs::rename(&from, &to).with_context(|| format!("rename to {}", to.display()))?;
                    self.taken.push(Taken { from, to, give_back: give_back::<P> });
                    return Ok(true);
                }
                Err(error) if is_dead(&error) => fs::remove_file(&from)?,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The start has succeeded.
    pub fn keep(mut self) {
        self.taken.clear();
    }

    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let Some(former) = &self.former else { return };
        for Taken { from, to, give_back } in &self.taken {
            let given = give_back(former, to).and_then(|()| Ok(fs::rename(to, from)?));
            if let Err(error) = given {
                warn!("{} cannot be given back to the former director: {error:#}", to.display());
            }
        }
    }
}

fn give_back<P: Linkable>(former: &Pins, link: &Path) -> anyhow::Result<()> {
    let link = pinned(link)?.context("the link is gone")?;
    P::pinned(&former.program(P::PROGRAM))?.put_into(link)
}

fn pinned(pin: &Path) -> anyhow::Result<Option<FdLink>> {
    if !pin.exists() {
        return Ok(None);
    }
    let link = PinnedLink::from_pin(pin).with_context(|| format!("open {}", pin.display()))?;
    Ok(Some(link.into()))
}

/// The interface of the link is gone (`tcx_link_update` and `bpf_xdp_link_update` say ENOLINK).
fn is_dead(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::SyscallError(error)) => error.io_error.raw_os_error() == Some(libc::ENOLINK),
        _ => false,
    }
}
