//! HTTP over the Unix socket.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::Format;
use crate::{
    api::USER_HEADER,
    exit::{Code, Failure},
};

/// Where daemons put their sockets unless told otherwise.
const DIR: &str = "/run/balancer";

/// Talks to one daemon.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: PathBuf,
    pub(crate) format: Format,
}

impl Client {
    pub(crate) fn new(socket: Option<PathBuf>, format: Format) -> Result<Self, Failure> {
        let socket = match socket {
            Some(socket) => socket,
            None => only_socket(Path::new(DIR))?,
        };
        Ok(Self { socket, format })
    }

    /// Whether somebody may be looking on: what is printed first is read first then, and not just all at the end.
    pub(crate) fn is_read_as_it_comes(&self) -> bool {
        self.format == Format::Text && io::stdout().is_terminal()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::other(format!("write JSON: {error}"), ""))?;
        self.call(method, path, Bytes::from(body)).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| refused(&self.socket, &error))?;
        let lost = |error: hyper::Error| went_away(&self.socket, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "balancer")
            .header(header::CONTENT_TYPE, "application/json");
        // `sudo` hides who somebody is; the history should not.
        if let Ok(user) = std::env::var("SUDO_USER") {
            request = request.header(USER_HEADER, user);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Failure::usage(format!("`{path}` cannot be asked for: {error}"), ""))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let success = response.status().is_success();
        let body = response.into_body().collect().await.map_err(lost)?.to_bytes();
        connection.abort();
        if success {
            serde_json::from_slice(&body).map_err(|error| {
                Failure::other(format!("the daemon's answer cannot be read: {error}"), "is it as old as this command?")
            })
        } else {
            Err(serde_json::from_slice(&body)
                .unwrap_or_else(|_| Failure::other(String::from_utf8_lossy(&body).into_owned(), "")))
        }
    }
}

fn refused(socket: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let what = format!("you may not use the socket {}", socket.display());
        return Failure::refused(what, "run it with sudo, or as a member of the socket's group");
    }
    no_daemon(socket, &error.to_string())
}

/// It was there when it was asked: what it was asked for may be done, or half done.
fn went_away(socket: &Path, error: &hyper::Error) -> Failure {
    Failure::new(
        Code::NoDaemon,
        format!("the daemon on {} went away before it answered: {error}", socket.display()),
        "see what became of it once a daemon runs again (balancer run --config FILE): balancer history, balancer status. It goes on with \
         an exclusive flip if there is time left",
    )
}

fn no_daemon(socket: &Path, why: &str) -> Failure {
    Failure::new(
        Code::NoDaemon,
        format!("no daemon answers on {}: {why}", socket.display()),
        "start it: balancer run --config FILE; or name its socket with --socket or BALANCER_SOCKET",
    )
}

/// The only socket in `dir`: whoever runs one director need not name it.
fn only_socket(dir: &Path) -> Result<PathBuf, Failure> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut sockets: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect();
    sockets.sort();
    match sockets.as_slice() {
        [] => Err(no_daemon(&dir.join("*.sock"), "there is no socket")),
        [socket] => Ok(socket.clone()),
        several => {
            let several: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::usage(
                format!("several daemons run: {}", several.join(", ")),
                "name one with --socket or BALANCER_SOCKET",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(only_socket(dir.path()).unwrap_err().code, Code::NoDaemon);
        std::fs::write(dir.path().join("a.sock"), "").unwrap();
        std::fs::write(dir.path().join("a.txt"), "").unwrap();
        assert_eq!(only_socket(dir.path()).unwrap(), dir.path().join("a.sock"));
        std::fs::write(dir.path().join("b.sock"), "").unwrap();
        let error = only_socket(dir.path()).unwrap_err();
        assert!(error.code == Code::Usage && error.error.contains("b.sock"), "{error}");
    }
}
