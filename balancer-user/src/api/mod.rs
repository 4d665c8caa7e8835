//! The API: JSON over HTTP/1.1 on a Unix socket, so that curl can talk to it too:
//! `curl --unix-socket /run/balancer/lab.sock http://x/v1/status`.
//!
//! | method and path | does |
//! |---|---|
//! | `GET /v1/status[?sessions=false]` | everything |
//! | `GET /v1/services/S[?sessions=false]` | one service |
//! | `POST /v1/services/S/versions` | `version add` |
//! | `DELETE /v1/services/S/versions/V` | `version rm` |
//! | `POST /v1/services/S/versions/V/backends` | `backend weight` |
//! | `POST /v1/services/S/versions/V/drain` | `drain` |
//! | `POST /v1/services/S/versions/V/retire` | `retire` |
//! | `POST /v1/services/S/adopt` | `service adopt` |
//! | `POST /v1/services/S/flip` | `flip` |
//! | `POST /v1/services/S/promote` | `promote` |
//! | `POST /v1/services/S/abort` | `abort` |
//! | `POST /v1/services/S/rollback` | `rollback` |
//! | `POST /v1/services/S/pause`, `POST /v1/services/S/resume` | `pause`, `resume` |
//! | `GET /v1/services/S/sessions[?limit=N]` | `session ls` |
//! | `POST /v1/services/S/explain` | `explain` |
//! | `GET /v1/pins`, `GET /v1/services/S/pins` | `pin ls` |
//! | `POST /v1/services/S/pins` | `pin add` |
//! | `DELETE /v1/services/S/pins/N` | `pin rm` |
//! | `GET /v1/events[?since=N][&wait=SECONDS][&service=S][&limit=N]` | `events` |
//! | `GET /v1/history` | changes, oldest first |
//! | `POST /v1/config/diff` | `config diff` |
//! | `POST /v1/config/reload` | `config reload` |
//! | `GET /v1/config/export` | `config export` |
//! | `POST /v1/snapshot` | `snapshot` |
//! | `POST /v1/detach` | `detach`; the daemon ends |
//!
//! Changes take `"dry_run": true`, `"reason": "…"`, `"if_generation": N` and `"force": true` as well. An error is `{"error", "hint", "code"}`.

#![forbid(unsafe_code)]

mod exclusive;
mod flips;
mod route;
pub mod socket;
mod verbs;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use log::warn;
use serde::Serialize;
use tokio::{
    net::{UnixListener, UnixStream, unix::UCred},
    sync::Notify,
};

use crate::{
    audit::Actor,
    daemon::Shared,
    exit::{Code, Failure},
    host,
};
use route::Route;

/// Bytes of a request's body at most.
const MAX_BODY: usize = 64 * 1024;
/// The command line says here who used sudo.
pub const USER_HEADER: &str = "x-balancer-user";

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Context {
    director: Shared,
    /// Ends the daemon.
    stop: Arc<Notify>,
    /// The backends to check are others now.
    changed: Arc<Notify>,
}

/// Serves until it is aborted.
pub async fn serve(listener: UnixListener, director: Shared, stop: Arc<Notify>, changed: Arc<Notify>) {
    let context = Context { director, stop, changed };
    exclusive::carry_on(context.clone()).await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, context.clone()))),
            Err(error) => {
                warn!("the socket does not accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, context: Context) {
    let peer = stream.peer_cred().ok();
    let service = service_fn(|request| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(respond(request, peer, context).await) }
    });
    // A client that goes away in the middle is no news.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: Request<Incoming>, peer: Option<UCred>, context: Context) -> Response<Full<Bytes>> {
    let caller = actor(peer, request.headers().get(USER_HEADER).and_then(|value| value.to_str().ok()));
    let route = match Route::parse(request.method(), request.uri().path(), request.uri().query()) {
        Ok(route) => route,
        Err((status, failure)) => return json(status, &failure),
    };
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let failure = Failure::usage(format!("the request's body cannot be read: {error}"), "");
            return json(StatusCode::BAD_REQUEST, &failure);
        }
    };
    match verbs::answer(route, &body, &caller, &context).await {
        Ok(value) => json(StatusCode::OK, &value),
        Err(failure) => json(status_of(failure.code), &failure),
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Usage => StatusCode::BAD_REQUEST,
        Code::Refused => StatusCode::CONFLICT,
        Code::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Code::NoDaemon => StatusCode::SERVICE_UNAVAILABLE,
        Code::Conflict => StatusCode::PRECONDITION_FAILED,
        Code::Other => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The kernel says which user is at the other end; that root was somebody else before is only a claim.
fn actor(peer: Option<UCred>, claims: Option<&str>) -> Actor {
    let (uid, pid) = (peer.map(|peer| peer.uid()), peer.and_then(|peer| peer.pid()));
    Actor { name: name(uid, claims), uid, pid }
}

fn name(uid: Option<u32>, claims: Option<&str>) -> String {
    let user = match uid {
        Some(uid) => host::user_name(uid).unwrap_or_else(|| format!("uid {uid}")),
        None => "unknown".to_owned(),
    };
    let clean = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match claims.filter(|name| !name.is_empty() && name.len() <= 64 && name.chars().all(clean)) {
        Some(name) if name != user => format!("{name} as {user}"),
        _ => user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks() {
        let table = [
            (Some(0), None, "root"),
            (Some(0), Some("root"), "root"),
            (Some(0), Some("alice"), "alice as root"),
            (Some(0), Some("al\u{1b}[31m"), "root"),
            (Some(4_000_000), None, "uid 4000000"),
            (None, None, "unknown"),
        ];
        for (uid, claims, expected) in table {
            assert_eq!(name(uid, claims), expected);
        }
    }
}
