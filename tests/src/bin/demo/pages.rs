//! What each path answers.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::application::Application;
use crate::content::{Content, Framing};
use crate::upgrade;

/// Answers one request; what goes wrong inside is a 500 that says so.
///
/// Every answer says in `X-Peer` who is at the other end of the connection: the director, or the client itself; and in `X-Worked`
/// from when until when the application worked on it, so that a test can tell which requests overlapped.
pub(crate) async fn answer(
    application: &RefCell<Application>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Content> {
    let pad = number(request.uri().query(), "pad");
    let before = number(request.uri().query(), "before");
    let path = request.uri().path();
    // Looked up first: entry() would copy the path for each of a load's requests.
    let counted = application.borrow_mut().paths.get_mut(path).map(|count| *count += 1);
    if counted.is_none() {
        application.borrow_mut().paths.insert(path.to_owned(), 1);
    }
    if let Some(user) = request.headers().get("x-user") {
        let user = String::from_utf8_lossy(user.as_bytes()).into_owned();
        let asked = format!("{} {}", request.method(), request.uri());
        application.borrow_mut().users.entry(user).or_default().push(asked);
    }
    let began = nanoseconds();
    let mut response = route(application, request).await.unwrap_or_else(|error| {
        let mut response = typed("text/plain", format!("{error:#}\n"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    for (name, value) in &application.borrow().marks {
        response.headers_mut().insert(*name, value.clone());
    }
    if let Ok(worked) = HeaderValue::from_str(&format!("{began}-{}", nanoseconds())) {
        response.headers_mut().insert("x-worked", worked);
    }
    if let Ok(peer) = HeaderValue::from_str(&peer.to_string()) {
        response.headers_mut().insert("x-peer", peer);
    }
    let padding = |length: u64| HeaderValue::from_str(&"x".repeat(usize::try_from(length).ok()?)).ok();
    if let Some(value) = pad.and_then(padding) {
        response.headers_mut().insert("x-pad", value);
    }
    // The same in front of all other headers: so a cookie can be as far behind as a test wants.
    if let Some(value) = before.and_then(padding) {
        let rest = std::mem::take(response.headers_mut());
        response.headers_mut().insert("x-before", value);
        response.headers_mut().extend(rest);
    }
    response
}

async fn route(application: &RefCell<Application>, mut request: Request<Incoming>) -> Result<Response<Content>> {
    let page = application.borrow().page_of(request.uri().path()).to_owned();
    if page == "/upgrade" {
        return upgrade::answer(&mut request);
    }
    let (head, body) = request.into_parts();
    let query = |name| number(head.uri.query(), name);
    let post = head.method == Method::POST;
    Ok(match page.as_str() {
        "/" => application.borrow_mut().page(&head.headers)?,
        "/whoami" => application.borrow_mut().whoami(&head.headers)?,
        "/login" => application.borrow_mut().login(&head.headers)?,
        "/clear" if post => application.borrow_mut().clear(&head.headers)?,
        "/browse" => typed("text/html; charset=utf-8", include_str!("../../../tests/clients/users_of_chromium.html")),
        "/nosession" => typed("text/plain", "no session here\n"),
        "/health" => typed("text/plain", "up\n"),
        "/echo" if post => {
            let bytes = body.collect().await.context("receive the body")?.to_bytes();
            Response::new(Content::whole(bytes))
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(query("ms").unwrap_or(1000))).await;
            typed("text/plain", "at last\n")
        }
        path @ ("/bytes" | "/chunked") => {
            let (framing, piece) =
                if path == "/bytes" { (Framing::ContentLength, 64 << 10) } else { (Framing::Chunked, 1000) };
            let (seed, length) = (query("seed").unwrap_or(0), query("n").unwrap_or(10_000));
            Response::new(Content::Pattern { seed, offset: 0, length, piece, framing })
        }
        // A version that is no good.
        "/fails" => {
            let bad = head.uri.query().and_then(|query| query.strip_prefix("on="));
            let mut response = application.borrow_mut().whoami(&head.headers)?;
            if bad == Some(application.borrow().version.as_str()) {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
        "/log" => {
            let application = application.borrow();
            let log = json!({ "paths": application.paths, "sessions": application.visits, "users": application.users });
            typed("application/json", log.to_string() + "\n")
        }
        _ => {
            let mut response = typed("text/plain", "no such page\n");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

pub(crate) fn typed(kind: &'static str, body: impl Into<hyper::body::Bytes>) -> Response<Content> {
    let mut response = Response::new(Content::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The machine's clock, which all namespaces share.
fn nanoseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn number(query: Option<&str>, name: &str) -> Option<u64> {
    query?.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1.parse().ok()
}
