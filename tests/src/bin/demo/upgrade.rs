//! A protocol to upgrade to: what is sent comes back.

use anyhow::Result;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{copy, split};

use crate::content::Content;

/// Agrees to whatever protocol is asked for, and echoes.
pub(crate) fn answer(request: &mut Request<Incoming>) -> Result<Response<Content>> {
    let mut response = Response::new(Content::whole(""));
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return Ok(response);
    };
    let upgrade = hyper::upgrade::on(request);
    tokio::task::spawn_local(async move {
        // A client that leaves in the middle is no concern of ours.
        if let Ok(upgraded) = upgrade.await {
            let (mut from, mut to) = split(TokioIo::new(upgraded));
            let _ = copy(&mut from, &mut to).await;
        }
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, protocol);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(response)
}
