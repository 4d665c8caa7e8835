//! The pin directory: where it is, what is in it, and how it goes away.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::exit::Failure;

/// `f_type` of a BPF file system (`BPF_FS_MAGIC`, include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// The pins of one director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    pub dir: PathBuf,
}

impl Pins {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub fn map(&self, name: &str) -> PathBuf {
        self.dir.join("maps").join(name)
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("programs").join(name)
    }

    /// The index is part of the name, because an interface that is made anew under an old name is another one.
    pub fn link(&self, hook: &str, interface: &str, index: u32) -> PathBuf {
        // bpffs refuses dots, which VLANs have in their names; no interface has a colon in its name.
        self.links().join(format!("{hook}-{index}-{}", interface.replace('.', ":")))
    }

    pub fn links(&self) -> PathBuf {
        self.dir.join("links")
    }

    /// Whether a director is attached by them. What a start left that was killed before it got so far is none.
    pub fn are_attached(&self) -> anyhow::Result<bool> {
        // Without links (clsact, below Linux 6.6) it is the program that is pinned last.
        Ok(!entries(&self.links())?.is_empty() || self.program(super::object::TC).exists())
    }

    /// The same director's pins of other layouts, oldest first.
    pub fn other_layouts(&self) -> anyhow::Result<Vec<(u32, Self)>> {
        let Some(director) = self.dir.parent() else { return Ok(Vec::new()) };
        let version = |path: &Path| path.file_name()?.to_str()?.strip_prefix('v')?.parse::<u32>().ok();
        let mut layouts: Vec<(u32, Self)> = entries(director)?
            .into_iter()
            .filter(|dir| *dir != self.dir)
            .filter_map(|dir| Some((version(&dir)?, Self::new(dir))))
            .collect();
        layouts.sort_by_key(|(version, _)| *version);
        Ok(layouts)
    }

    /// Makes the directories.
    pub fn make(&self) -> anyhow::Result<()> {
        for part in ["maps", "programs", "links"] {
            let dir = self.dir.join(part);
            fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        }
        Ok(())
    }

    /// Takes everything away, links first: traffic goes on through the stack before a map is missing.
    ///
    /// Answers what was removed. What is gone already is no error.
    pub fn remove(&self) -> anyhow::Result<Vec<String>> {
        let mut removed = Vec::new();
        for part in ["links", "programs", "maps"] {
            let dir = self.dir.join(part);
            for path in entries(&dir)? {
                gone(fs::remove_file(&path)).with_context(|| format!("remove {}", path.display()))?;
                removed.push(path.display().to_string());
            }
            gone(fs::remove_dir(&dir)).with_context(|| format!("remove {}", dir.display()))?;
        }
        gone(fs::remove_dir(&self.dir)).with_context(|| format!("remove {}", self.dir.display()))?;
        // The name's directory and the common one may hold another layout or another director.
        for parent in self.dir.ancestors().skip(1).take(2) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(removed)
    }
}

/// The paths in a directory; none if there is no directory.
pub fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
            let mut paths = paths.with_context(|| format!("list {}", dir.display()))?;
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {}", dir.display())),
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Refuses a directory that is not on a BPF file system. Mounting one is the host's business, not ours.
pub fn check_bpffs(bpffs: &Path) -> Result<(), Failure> {
    let fix = format!(
        "mkdir -p {0} && mount -t bpf bpf {0}   (`ip netns exec` hides the host's: mount one elsewhere and set `bpffs`)",
        bpffs.display()
    );
    match rustix::fs::statfs(bpffs) {
        // The field's width differs between architectures; the magic number has 32 bits.
        Ok(stat) if stat.f_type as u32 == BPF_FS_MAGIC => Ok(()),
        Ok(_) => Err(Failure::refused(format!("{} is no BPF file system", bpffs.display()), fix)),
        Err(error) => Err(Failure::refused(format!("{} cannot be used: {error}", bpffs.display()), fix)),
    }
}

/// Takes a director out of the kernel: filters, links, programs and maps.
///
/// `interfaces` matter only below Linux 6.6, where filters have no links.
pub fn detach(pins: &Pins, interfaces: &[u32]) -> anyhow::Result<Vec<String>> {
    let mut removed = super::attach::remove_filters(interfaces);
    removed.extend(pins.remove()?);
    Ok(removed)
}

/// The same for pins that no daemon holds, whichever layout they have.
pub fn detach_pinned(pins: &Pins) -> anyhow::Result<Vec<String>> {
    let mut removed = Vec::new();
    for (_, other) in pins.other_layouts()? {
        removed.extend(detach_one(&other)?);
    }
    removed.extend(detach_one(pins)?);
    Ok(removed)
}

fn detach_one(pins: &Pins) -> anyhow::Result<Vec<String>> {
    use aya::maps::{HashMap, Map, MapData};
    let path = pins.map(balancer_ebpf::layout::map::INTERFACES);
    let interfaces: Vec<u32> = MapData::from_pin(path)
        .and_then(|data| HashMap::<_, u32, u32>::try_from(Map::HashMap(data)))
        .map(|map| map.keys().filter_map(Result::ok).collect())
        .unwrap_or_default();
    detach(pins, &interfaces)
}
