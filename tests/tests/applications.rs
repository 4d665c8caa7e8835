//! The applications and the clients of the lab, without a balancer between them: the director only routes.

use std::time::Duration;

use anyhow::{Result, ensure};

use balancer_sim::pattern;
use balancer_tests::applications::Demo;
use balancer_tests::client::{Browser, Connection, Load, Request};
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::tomcat::Tomcat;

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

#[test]
fn the_demo_answers_through_the_director() -> Result<()> {
    let lab = Lab::builder("demo").backends(2).build()?;
    let _demos = [Demo::start(&lab, DEMO, 1, "001")?, Demo::start(&lab, DEMO, 2, "002")?];
    for (index, version) in [(1, "001"), (2, "002")] {
        let mut browser = Browser::new(lab.client(), lab.application(index));
        let first = browser.whoami()?;
        assert_eq!((first.version.as_str(), first.backend.as_str()), (version, lab.backend(index).role()));
        assert_eq!((first.known, first.new, first.hits), (false, true, 1));
        let second = browser.whoami()?;
        assert_eq!((second.known, second.new, second.hits), (true, false, 2));
        assert_eq!(first.session, second.session);
        browser.request(Request::post("/clear", ""))?;
        assert_eq!(browser.session(), None);
        assert_ne!(browser.whoami()?.session, first.session);
        assert_eq!(browser.connections(), 1);
    }
    Ok(())
}

#[test]
fn the_demo_frames_bodies_in_every_way() -> Result<()> {
    let lab = Lab::builder("bodies").backends(1).build()?;
    let _demo = Demo::start(&lab, DEMO, 1, "001")?;
    let mut connection = Connection::open(lab.client(), lab.application(1))?;
    let port = connection.local_port()?;
    for length in [0, 1, 1460, 100_000] {
        let body = pattern::bytes(3, length);
        let response = connection.get(&format!("/bytes?n={length}&seed=3"), None)?;
        assert_eq!(response.header("Content-Length"), Some(length.to_string().as_str()));
        assert!(response.body == body, "{length} bytes");
        let response = connection.get(&format!("/chunked?n={length}&seed=3"), None)?;
        assert_eq!(response.header("Transfer-Encoding"), Some("chunked"));
        assert!(response.body == body, "{length} bytes in chunks");
        let response = connection.request(&Request::post("/echo", body.clone()))?;
        assert!(response.body == body, "{length} bytes as an echo");
    }
    assert_eq!(connection.get("/nosession?pad=3000", None)?.header("X-Pad").map(str::len), Some(3000));
    assert_eq!(connection.request(&Request::new("HEAD", "/bytes?n=77"))?.header("Content-Length"), Some("77"));
    assert_eq!(connection.get("/nowhere", None)?.status, 404);
    // Pipelined, and answered in order.
    for target in ["/bytes?n=5", "/slow?ms=20", "/health"] {
        connection.send(&Request::get(target))?;
    }
    assert_eq!(connection.receive("GET")?.body.len(), 5);
    assert_eq!(connection.receive("GET")?.body, b"at last\n");
    assert_eq!(connection.receive("GET")?.body, b"up\n");
    let log: serde_json::Value = connection.get("/log", None)?.json()?;
    assert_eq!(log["paths"]["/echo"], 4);
    assert_eq!(connection.local_port()?, port);
    Ok(())
}

#[test]
fn browsers_stay_with_their_session() -> Result<()> {
    let lab = Lab::builder("load").backends(1).hook(Hook::Xdp).build()?;
    let _demo = Demo::start(&lab, DEMO, 1, "001")?;
    let load = Load { clear_after: Some(5), disconnect_after: Some(7), ..Load::new(lab.application(1)) };
    let tally = load.start(lab.client()).finish_after(Duration::from_secs(1))?;
    tally.expect_clean()?;
    ensure!(tally.sessions >= tally.responses / 5, "cookies are not cleared: {tally:?}");
    ensure!(tally.connections >= tally.responses / 7, "connections are not closed: {tally:?}");
    Ok(())
}

#[test]
fn tomcat_answers_like_the_demo() -> Result<()> {
    let lab = Lab::builder("tomcat").backends(2).build()?;
    let _tomcats = Tomcat::start_all(&lab, &[(1, "001"), (2, "002")])?;
    for (index, version) in [(1, "001"), (2, "002")] {
        let mut browser = Browser::new(lab.client(), lab.application(index));
        let first = browser.whoami()?;
        assert_eq!((first.version.as_str(), first.backend.as_str()), (version, lab.backend(index).role()));
        assert_eq!((first.known, first.new, first.hits), (false, true, 1));
        let second = browser.whoami()?;
        assert_eq!((second.session == first.session, second.known, second.hits), (true, true, 2));
        let response = browser.get("/whoami")?;
        assert!(response.header("Content-Length").is_some(), "{response:?}");
        let page = browser.get("/")?;
        assert_eq!((page.status, page.version()), (200, version), "{page:?}");
        let response = browser.request(Request::post("/clear", ""))?;
        assert_eq!((response.status, browser.session()), (303, None), "{response:?}");
        assert_eq!(browser.connections(), 1);
    }
    Ok(())
}
