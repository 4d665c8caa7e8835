//! `GET /metrics`, `/healthz` and `/readyz`, on an address that a reload of the config may change.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, header::HeaderValue, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use log::{info, warn};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
};

use super::{page, text};
use crate::{boot, daemon::Shared, exit::Failure};

/// For how long a client may be silent, and how long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients at a time; the others wait. Prometheus is one.
const CLIENTS: usize = 16;
/// The daemon's loop turns once a second: after this time without a turn it hangs.
const HANGS: Duration = Duration::from_secs(10);

/// When the daemon's loop last turned, in milliseconds of the boot clock.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub fn beat(&self) {
        self.0.store(boot::millis(), Ordering::Relaxed);
    }

    /// Since when it has not turned, if that is too long.
    fn stopped(&self) -> Option<Duration> {
        let silent = Duration::from_millis(boot::millis().saturating_sub(self.0.load(Ordering::Relaxed)));
        (silent > HANGS).then_some(silent)
    }
}

/// Tells the server where to listen; `None`: nowhere.
pub type Exporter = mpsc::UnboundedSender<Option<TcpListener>>;

/// Listens, so that an address that cannot be had is an error before anything is changed.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listen = || -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error| {
        let what = format!("metrics cannot be served on {address}: {error}");
        Failure::refused(what, "set `listen` of [metrics] to an address of this host and a port that nobody has")
    })
}

/// Serves wherever it is told to, until nobody can tell it any more.
pub async fn serve(mut places: mpsc::UnboundedReceiver<Option<TcpListener>>, director: Shared, pulse: Pulse) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    let mut listener: Option<tokio::net::TcpListener> = None;
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            place = places.recv() => match place {
                Some(place) => listener = place.and_then(adopt),
                None => return,
            },
            accepted = accepted => match accepted {
                Ok((stream, _)) => {
                    let Ok(turn) = clients.clone().acquire_owned().await else { return };
                    let (director, pulse) = (director.clone(), pulse.clone());
                    tokio::spawn(async move {
                        let _turn = turn;
                        // A client that goes away in the middle is no news.
                        let _ = tokio::time::timeout(2 * PATIENCE, connection(stream, director, pulse)).await;
                    });
                }
                Err(error) => {
                    warn!("the socket of the metrics does not accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

fn adopt(listener: TcpListener) -> Option<tokio::net::TcpListener> {
    let address = listener.local_addr();
    match (tokio::net::TcpListener::from_std(listener), address) {
        (Ok(listener), Ok(address)) => {
            info!("metrics: http://{address}/metrics; /healthz and /readyz beside it");
            Some(listener)
        }
        (Err(error), _) | (_, Err(error)) => {
            warn!("metrics are not served: {error}");
            None
        }
    }
}

async fn connection(stream: TcpStream, director: Shared, pulse: Pulse) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let (director, pulse) = (director.clone(), pulse.clone());
        async move { Ok::<_, Infallible>(answer(&request, &director, &pulse).await) }
    });
    // One request a connection: who scrapes every few seconds gains nothing from keeping it.
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: &Request<Incoming>, director: &Shared, pulse: &Pulse) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return plain(StatusCode::NOT_FOUND, "there is /metrics, /healthz and /readyz");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    // Whether the process lives is said without the director's lock: it may be what hangs.
    if path == "/healthz" {
        return match pulse.stopped() {
            None => plain(StatusCode::OK, "ok"),
            Some(silent) => unavailable(&format!("the daemon's loop has not turned for {} s", silent.as_secs())),
        };
    }
    let Ok(mut director) = tokio::time::timeout(PATIENCE, director.lock()).await else {
        return unavailable(&format!("the director is busy with something for more than {} s", PATIENCE.as_secs()));
    };
    if path == "/readyz" {
        return match director.readiness() {
            Ok(reasons) if reasons.is_empty() => plain(StatusCode::OK, "ready"),
            Ok(reasons) => unavailable(&reasons.join("\n")),
            Err(failure) => unavailable(&failure.error),
        };
    }
    match director.sample() {
        Ok(sample) => {
            drop(director);
            respond(StatusCode::OK, text::CONTENT_TYPE, page(&sample))
        }
        Err(failure) => plain(StatusCode::INTERNAL_SERVER_ERROR, &failure.error),
    }
}

fn unavailable(text: &str) -> Response<Full<Bytes>> {
    plain(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
