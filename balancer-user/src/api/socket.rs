//! The socket's file: made for root and its group, never taken from a daemon that lives.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use log::warn;
use tokio::net::{UnixListener, UnixStream};

use crate::exit::Failure;

/// Who may command the director.
const MODE: u32 = 0o660;

/// Removes the file when the daemon ends, however it ends.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}

/// Listens on `path`; the file of a daemon that is dead is replaced.
pub async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Failure> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(Failure::refused(
            format!("another daemon answers on {}", path.display()),
            "stop that one, or give this one another `socket`",
        ));
    }
    let listener = make(path).map_err(|error| {
        Failure::other(
            format!("the socket {} cannot be made: {error}", path.display()),
            "set `socket` to a path that can be written",
        )
    })?;
    Ok((listener, SocketFile(path.to_owned())))
}

fn make(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        return Err(io::Error::other("there is a file of another kind"));
    }
    // Bound under another name, so that nobody connects before the mode is right.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(MODE))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/x.sock");
        let (first, file) = bind(&path).await.unwrap();
        // As after SIGKILL.
        std::mem::forget(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(bind(&path).await.unwrap_err().error.contains("another daemon answers"));
        drop(first);
        bind(&path).await.unwrap();
    }
}
