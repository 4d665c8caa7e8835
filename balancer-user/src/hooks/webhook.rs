//! A web address as a hook: one POST, and its answer's status says whether it went well.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{KEPT, keep};

/// Why it failed, if it did, and what it said.
pub(super) async fn post(url: &str, document: Vec<u8>, timeout: Duration) -> (Option<String>, Vec<u8>) {
    let mut said = Vec::new();
    let problem = match tokio::time::timeout(timeout, ask(url, document, &mut said)).await {
        Ok(Ok(problem)) => problem,
        Ok(Err(error)) => Some(format!("failed ({error:#})")),
        Err(_) => Some(format!("did not answer within {}", humantime::format_duration(timeout))),
    };
    (problem, said)
}

async fn ask(url: &str, document: Vec<u8>, said: &mut Vec<u8>) -> anyhow::Result<Option<String>> {
    let uri: Uri = url.parse().context("read its address")?;
    let authority = uri.authority().context("its address names no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.context("connect")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("connect")?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(document)))
        .context("make the request")?;
    let mut response = sender.send_request(request).await.context("ask")?;
    while said.len() < KEPT
        && let Some(frame) = response.frame().await
    {
        if let Some(data) = frame.context("read the answer")?.data_ref() {
            keep(said, data);
        }
    }
    connection.abort();
    let status = response.status();
    Ok((!status.is_success()).then(|| format!("failed ({status})")))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request like this, and says what it was.
    async fn server(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"{}") {
                assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                // It never answers.
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            String::from_utf8(got).unwrap()
        });
        (url, asked)
    }

    #[tokio::test]
    async fn the_status_decides() {
        let long = Duration::from_secs(20);
        let (url, asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(post(&url, b"{}".to_vec(), long).await, (None, Vec::new()));
        let asked = asked.await.unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("post /hook?a=b http/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json\r\n") && asked.ends_with("\r\n\r\n{}"), "{asked}");
        let (url, _) = server("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno").await;
        let (problem, said) = post(&url, b"{}".to_vec(), long).await;
        assert!(problem.unwrap().contains("409") && said == b"no");
        let (url, _) = server("").await;
        let (problem, _) = post(&url, b"{}".to_vec(), Duration::from_millis(200)).await;
        assert!(problem.unwrap().contains("did not answer within 200ms"));
        let (problem, _) = post("http://127.0.0.1:1/", b"{}".to_vec(), long).await;
        assert!(problem.unwrap().contains("connect"));
    }
}
