//! What is on disk: the state, the keys and the lock.
//!
//! A file is replaced as a whole (a temporary one, fsync, rename, fsync of the directory), so that a crash at any moment
//! leaves the old one or the new one.

#![forbid(unsafe_code)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use balancer_ebpf::layout::Key;
use rustix::fs::{FlockOperation, flock};

use crate::{
    exit::Failure,
    model::{FORMAT, State},
};

/// How the names of files end that are not complete yet.
const NEW: &str = ".new";

/// The state directory, locked: there is one daemon per directory.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Closing it would release the lock.
    _lock: File,
}

/// The director's keys. Of these the session key has to survive a reboot: with another one, no cookie is known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    pub session: Key,
    pub cookie: Key,
    pub isn: Key,
}

impl Store {
    /// Makes the directory if there is none, and takes the lock.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
            let what = format!("the state directory {} cannot be made: {error}", dir.display());
            Failure::other(what, "run as root, or set `state` to a directory that can be written")
        })?;
        let path = dir.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::other(format!("{} cannot be opened: {error}", path.display()), ""))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // Whose lock it is only makes the message better.
            let _ = lock.read_to_string(&mut pid);
            let what = format!("another daemon (pid {}) runs on the state {}", pid.trim(), dir.display());
            return Err(Failure::refused(what, "stop that one, or give this one another `name` and `state`"));
        }
        let mut written = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "{}", std::process::id())
        };
        written().map_err(|error| Failure::other(format!("{} cannot be written: {error}", path.display()), ""))?;
        remove_unfinished(dir)
            .map_err(|error| Failure::other(format!("{} cannot be tidied up: {error}", dir.display()), ""))?;
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Where the snapshot of the sessions is, too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state, if there is one.
    pub fn load(&self) -> Result<Option<State>, Failure> {
        load(&self.dir)
    }

    /// Writes the state so that it survives a crash.
    pub fn save(&self, state: &State) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(state).context("write the state as JSON")?;
        text.push(b'\n');
        replace(&self.dir, "state.json", &text)
    }

    /// The keys of this director, if it had any.
    pub fn load_keys(&self) -> anyhow::Result<Option<Keys>> {
        let path = self.dir.join("keys");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let bytes: [u8; 48] = bytes.try_into().map_err(|bytes: Vec<u8>| {
            Failure::other(
                format!("{} has {} bytes instead of 48", path.display(), bytes.len()),
                "remove it: the director takes the session key from its snapshot of sessions, or else makes a new one",
            )
        })?;
        Ok(Some(Keys::from_bytes(&bytes)))
    }

    pub fn save_keys(&self, keys: &Keys) -> anyhow::Result<()> {
        replace(&self.dir, "keys", &keys.to_bytes())
    }
}

impl Keys {
    /// New ones, from the kernel's random source.
    pub fn generate() -> anyhow::Result<Self> {
        let mut bytes = [0u8; 48];
        // Up to 256 bytes come in one piece (getrandom(2)).
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("get random bytes")?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; 48]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at * 8 + byte]));
        let key = |at: usize| Key { k0: word(at), k1: word(at + 1) };
        Self { session: key(0), cookie: key(2), isn: key(4) }
    }

    fn to_bytes(self) -> Vec<u8> {
        let keys = [self.session, self.cookie, self.isn];
        keys.iter().flat_map(|key| [key.k0, key.k1]).flat_map(u64::to_le_bytes).collect()
    }
}

/// The state in `dir`, without taking the lock.
pub fn load(dir: &Path) -> Result<Option<State>, Failure> {
    let path = dir.join("state.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::other(format!("{} cannot be read: {error}", path.display()), "")),
    };
    let state: State = serde_json::from_slice(&text).map_err(|error| {
        Failure::other(
            format!("{} is damaged: {error}", path.display()),
            "repair it, or move it away: the director then begins with the config's versions",
        )
    })?;
    if state.format != FORMAT {
        return Err(Failure::other(
            format!("{} has format {}, this balancer writes {FORMAT}", path.display(), state.format),
            "run the balancer that wrote it, or move the file away",
        ));
    }
    Ok(Some(state))
}

fn replace(dir: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut replacement = Replacement::begin(dir, name)?;
    replacement.file().write_all(bytes).with_context(|| format!("write {name} in {}", dir.display()))?;
    replacement.finish()
}

/// A private file that takes another's place once it is complete, and goes away if it never is.
#[derive(Debug)]
pub(crate) struct Replacement {
    dir: PathBuf,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    finished: bool,
}

impl Replacement {
    pub(crate) fn begin(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let temporary = dir.join(format!(".{name}{NEW}"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .with_context(|| format!("make {}", temporary.display()))?;
        Ok(Self { dir: dir.to_owned(), path: dir.join(name), temporary, file, finished: false })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.file.sync_all().with_context(|| format!("sync {}", self.temporary.display()))?;
        fs::rename(&self.temporary, &self.path).with_context(|| format!("rename to {}", self.path.display()))?;
        self.finished = true;
        // The rename itself is in the directory.
        File::open(&self.dir).and_then(|dir| dir.sync_all()).with_context(|| format!("sync {}", self.dir.display()))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.finished {
            // What stays behind goes at the next start.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes what a daemon that was killed was writing.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(NEW) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_state_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("deep/state")).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let mut state = State::default();
        state.ensure_service("shop").unwrap();
        store.save(&state).unwrap();
        store.save(&state).unwrap();
        assert_eq!(store.load().unwrap(), Some(state));
    }

    #[test]
    fn a_second_daemon_is_refused_and_told_which_is_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn keys_are_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load_keys().unwrap(), None);
        let keys = Keys::generate().unwrap();
        assert_ne!(keys.session, keys.cookie);
        store.save_keys(&keys).unwrap();
        assert_eq!(store.load_keys().unwrap(), Some(keys));
        let mode = fs::metadata(dir.path().join("keys")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_was_not_finished_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        let mut given_up = Replacement::begin(dir.path(), "a").unwrap();
        given_up.file().write_all(b"half").unwrap();
        assert!(there(".a.new"));
        drop(given_up);
        assert!(!there(".a.new") && !there("a"));
        // As after SIGKILL.
        std::mem::forget(Replacement::begin(dir.path(), "b").unwrap());
        assert!(there(".b.new"));
        Store::open(dir.path()).unwrap();
        assert!(!there(".b.new"));
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (text, says) in
            [("{", "damaged"), (r#"{"format":9,"services":[],"next_backend":0,"history":[]}"#, "format 9")]
        {
            fs::write(dir.path().join("state.json"), text).unwrap();
            let error = store.load().unwrap_err();
            assert!(error.error.contains(says), "{error}");
        }
    }
}
