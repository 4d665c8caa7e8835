//! One check: a connection, and a GET if the service has a path for it.

use std::{io, net::SocketAddr, os::fd::AsFd as _, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{config::Health, kernel::tcpinfo, plan::Offers};

/// What one check found.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) healthy: bool,
    pub(super) detail: String,
    pub(super) offers: Option<Offers>,
}

pub(super) async fn check(address: SocketAddr, health: &Health) -> Checked {
    let mut offers = None;
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        offers = tcpinfo::offers(stream.as_fd()).ok();
        match &health.path {
            Some(path) => get(&mut stream, address, path).await,
            None => Ok("accepts connections".to_owned()),
        }
    };
    let result = tokio::time::timeout(health.timeout, attempt).await;
    let (healthy, detail) = match result {
        Ok(Ok(detail)) => (true, detail),
        Ok(Err(error)) => (false, words(&error)),
        Err(_) => (false, format!("no answer within {}", show(health.timeout))),
    };
    Checked { healthy, detail, offers }
}

/// Asks for `path` and reads the status line; 2xx and 3xx are healthy.
async fn get(stream: &mut TcpStream, address: SocketAddr, path: &str) -> io::Result<String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: balancer-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    // `HTTP/1.1 200`: whatever follows does not matter.
    let mut line = [0u8; 12];
    stream.read_exact(&mut line).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("closed without an answer"),
        _ => error,
    })?;
    match status(&line) {
        Some(status @ 200..400) => Ok(format!("answers {status}")),
        Some(status) => Err(io::Error::other(format!("answers {status} to GET {path}"))),
        None => Err(io::Error::other("does not speak HTTP/1")),
    }
}

fn status(line: &[u8; 12]) -> Option<u16> {
    let text = str::from_utf8(line).ok()?;
    let status = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "))?;
    status.parse().ok()
}

/// The error without the operating system's number.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route or no neighbour".to_owned(),
        _ => error.to_string(),
    }
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn against(answer: &'static [u8], path: Option<&str>) -> Checked {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0u8; 1024];
            let _ = stream.read(&mut request).await;
            if answer == b"silence" {
                std::future::pending::<()>().await;
            }
            let _ = stream.write_all(answer).await;
        });
        let health = Health {
            path: path.map(str::to_owned),
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(300),
            rise: 1,
            fall: 1,
            slow_start: None,
        };
        check(address.into(), &health).await
    }

    #[tokio::test]
    async fn answers() {
        let table: &[(&'static [u8], Option<&str>, bool, &str)] = &[
            (b"HTTP/1.1 200 OK\r\n\r\n", Some("/"), true, "answers 200"),
            (b"HTTP/1.0 302 Found\r\n\r\n", Some("/"), true, "answers 302"),
            (b"HTTP/1.1 503 Busy\r\n\r\n", Some("/h"), false, "answers 503 to GET /h"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", Some("/"), false, "does not speak HTTP/1"),
            (b"", Some("/"), false, "closed without an answer"),
            (b"silence", Some("/"), false, "no answer within 300ms"),
            (b"silence", None, true, "accepts connections"),
        ];
        for (answer, path, healthy, detail) in table {
            let checked = against(answer, *path).await;
            assert_eq!((checked.healthy, checked.detail.as_str()), (*healthy, *detail));
            assert!(checked.offers.is_some());
        }
    }

    #[tokio::test]
    async fn nobody_there() {
        let health = Health {
            path: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(300),
            rise: 1,
            fall: 1,
            slow_start: None,
        };
        let checked = check("127.0.0.1:1".parse().unwrap(), &health).await;
        assert_eq!((checked.healthy, checked.detail.as_str()), (false, "connection refused"));
        assert!(checked.offers.is_none());
    }
}
