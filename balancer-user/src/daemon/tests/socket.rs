//! The API from end to end.

use super::*;

/// The API from end to end: a socket, JSON, errors with hints.
#[tokio::test]
async fn the_socket_answers() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let Bench { director, fake, dir } = bench;
    let (listener, _file) = api::socket::bind(&dir.path().join("x.sock")).await.unwrap();
    let (stop, changed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let director = Arc::new(Mutex::new(director));
    tokio::spawn(api::serve(listener, director.clone(), stop.clone(), changed.clone()));

    let ask = |method: &'static str, path: &'static str, body: &'static str| {
        let socket = dir.path().join("x.sock");
        async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
            let len = body.len();
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, serde_json::from_str::<serde_json::Value>(body).unwrap())
        }
    };
    let (status, value) = ask("GET", "/v1/status", "").await;
    assert_eq!((status, value["services"][0]["active"].as_str()), (200, Some("002")));
    let (status, value) = ask("POST", "/v1/services/shop/flip", r#"{"version":"001","mode":"forced"}"#).await;
    assert_eq!((status, value["undo"].as_str()), (200, Some("balancer flip shop 002 --mode forced")));
    let (status, value) = ask("POST", "/v1/services/shop/adopt", r#"{"version":"002"}"#).await;
    assert_eq!((status, value["undo"].as_str()), (200, Some("balancer service adopt shop off")));
    let (status, value) = ask("POST", "/v1/services/shop/adopt", r#"{"version":null}"#).await;
    assert_eq!((status, value["undo"].as_str()), (200, Some("balancer service adopt shop 002")));
    let (status, value) = ask("POST", "/v1/services/shop/flip", r#"{"version":"009"}"#).await;
    assert_eq!((status, value["hint"].as_str()), (409, Some("the versions are: 001, 002")));
    let (status, value) = ask("POST", "/v1/services/shop/flip", r#"{"version":"0 1"}"#).await;
    assert!(status == 400 && value["error"].as_str().unwrap().contains("has a blank"), "{value}");
    let (status, _) = ask("GET", "/v1/services/blog", "").await;
    assert_eq!(status, 409);
    // Nobody checks here, so the answer comes after the time-out, with a warning.
    let (status, value) =
        ask("POST", "/v1/services/shop/versions", r#"{"version":"003","backends":["10.60.3.2:8080"]}"#).await;
    assert!(status == 200 && value["warnings"][0].as_str().unwrap().contains("first check"), "{value}");
    tokio::time::timeout(Duration::from_secs(1), changed.notified()).await.unwrap();
    let (status, value) = ask("POST", "/v1/detach", "").await;
    assert_eq!((status, value["removed"][0].as_str()), (200, Some("links/tc-1-b1")));
    assert!(fake.0.lock().unwrap().detached);
    tokio::time::timeout(Duration::from_secs(1), stop.notified()).await.unwrap();
}
