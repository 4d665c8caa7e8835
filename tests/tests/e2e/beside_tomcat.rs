//! The balancer beside Tomcat's own parallel deployment: the same bytes, the same version (C7 to C29).
//!
//! Hosts 1 and 2 run a Tomcat each, with 001 and 002, behind the balancer; on host 3 one Tomcat runs both and chooses by
//! itself. Their sessions have the same ids: Tomcat makes them, and the balancer's backends are told to issue them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Connection;
use balancer_tests::lab::Hook;
use balancer_tests::tomcat::{Tomcat, Webapp};

use crate::scene::{Kind, Scene};
use crate::stage::Stage;

under_both_hooks! {
    the_same_bytes_get_the_same_version,
}

/// Statement, target and fields of a request, and the version that it gets. `{A}` has a session on 001, `{B}` on 002.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("C7: no id", "/version/", "", "002"),
    ("C8: known on 001", "/version/", "Cookie: JSESSIONID={A}", "001"),
    ("C8: known on 002", "/version/", "Cookie: JSESSIONID={B}", "002"),
    ("C9: known nowhere", "/version/", "Cookie: JSESSIONID=0000", "002"),
    ("C18: names with their case", "/version/", "Cookie: jsessionid={A}", "002"),
    ("C18: values with their case", "/version/", "Cookie: JSESSIONID={a}", "002"),
    ("C18: headers without", "/version/", "cOOKIE: JSESSIONID={A}", "001"),
    ("C20: the parameter", "/version/;jsessionid={A}", "", "001"),
    ("C20: in lower case only", "/version/;JSESSIONID={A}", "", "002"),
    ("C21: a cookie beats it", "/version/;jsessionid={A}", "Cookie: JSESSIONID={B}", "002"),
    ("C21: even an unknown one", "/version/;jsessionid={A}", "Cookie: JSESSIONID=0000", "002"),
    ("C22: unknown, known", "/version/", "Cookie: JSESSIONID=0000; JSESSIONID={A}", "001"),
    ("C22: A, B", "/version/", "Cookie: JSESSIONID={A}; JSESSIONID={B}", "001"),
    ("C22: B, A", "/version/", "Cookie: JSESSIONID={B}; JSESSIONID={A}", "002"),
    ("C22: two lines", "/version/", "Cookie: JSESSIONID=0000\r\nCookie: JSESSIONID={A}", "001"),
    ("C23: on a segment before the last", "/version;jsessionid={A}/x", "", "001"),
    ("C23: up to a semicolon", "/version/x;jsessionid={A};y=z", "", "001"),
    ("C23: up to the query", "/version/x;jsessionid={A}?y=z", "", "001"),
    ("C23: the last wins", "/version/x;jsessionid={B}/y;jsessionid={A}", "", "001"),
    ("C23: the last wins, the other way", "/version/x;jsessionid={A}/y;jsessionid={B}", "", "002"),
    ("C24: escaped", "/version/x%3Bjsessionid={A}", "", "002"),
    ("C24: in the query", "/version/?jsessionid={A}", "", "002"),
    ("C24: a parameter in the query", "/version/?x;jsessionid={A}", "", "002"),
    ("C25: quotes", "/version/", "Cookie: JSESSIONID=\"{A}\"", "001"),
    ("C25: blanks", "/version/", "Cookie: JSESSIONID = {A}", "001"),
    ("C25: the second", "/version/", "Cookie: a=b;JSESSIONID={A}", "001"),
    ("C25: a comma", "/version/", "Cookie: a=b,JSESSIONID={A}", "002"),
    ("C25: $Version", "/version/", "Cookie: $Version=1; JSESSIONID={A}", "001"),
    ("C25: a longer name", "/version/", "Cookie: XJSESSIONID={A}", "002"),
    ("C25: a value that looks like it", "/version/", "Cookie: foo=JSESSIONID={A}", "002"),
    ("C29: a route belongs to the id", "/version/", "Cookie: JSESSIONID={A}.n1", "002"),
    ("8 KB: the cookie last", "/version/", "X: {pad}\r\nCookie: JSESSIONID={A}", "001"),
];

/// C7, C8, C9, C13, C18, C20, C21, C22, C23, C24, C25, C29.
fn the_same_bytes_get_the_same_version(hook: Hook) -> Result<()> {
    Stage::new(hook, "beside").hosts(3).kind(Kind::Tomcat).play(|scene| {
        let lab = scene.lab;
        let mut tomcat = Tomcat::serve(lab, 3, &[Webapp::parallel("001", "b3")])?;
        tomcat.wait(lab)?;
        let a = session(scene, "001")?;
        scene.add("002", &[2])?;
        tomcat.deploy(lab, &Webapp::parallel("002", "b3"))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while version(scene, lab.application(3), &request("/version/", ""))? != "002" {
            ensure!(Instant::now() < deadline, "Tomcat does not deploy 002");
            std::thread::sleep(Duration::from_millis(100));
        }
        let b = session(scene, "002")?;
        for (row, target, fields, wanted) in ROWS {
            let filled = |text: &str| {
                let text = text.replace("{A}", &a).replace("{B}", &b).replace("{a}", &a.to_lowercase());
                text.replace("{pad}", &"x".repeat(7900))
            };
            let bytes = request(&filled(target), &filled(fields));
            let tomcats = version(scene, lab.application(3), &bytes)?;
            let ours = version(scene, lab.service(), &bytes)?;
            ensure!(
                (tomcats.as_str(), ours.as_str()) == (*wanted, *wanted),
                "{row}: Tomcat {tomcats}, balancer {ours}"
            );
        }
        // C13: three requests on one connection, three decisions.
        for server in [lab.application(3), lab.service()] {
            let mut connection = Connection::open(lab.client(), server)?;
            for (id, wanted) in [(&a, "001"), (&b, "002"), (&a, "001")] {
                let response = connection.get("/version/", Some(id))?;
                ensure!(response.version() == wanted, "C13: {} for {wanted}", response.version());
            }
        }
        Ok(())
    })
}

fn request(target: &str, fields: &str) -> Vec<u8> {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    format!("GET {target} HTTP/1.1\r\nHost: shop\r\n{fields}\r\n").into_bytes()
}

/// The version that answers these bytes, on a connection of their own.
fn version(scene: &Scene, server: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut connection = Connection::open(scene.lab.client(), server)?;
    connection.write(bytes)?;
    let response = connection.receive("GET")?;
    ensure!(response.status == 200, "{} for {}", response.status, bytes.escape_ascii());
    Ok(response.version().to_owned())
}

/// A session that begins on the newest version of the Tomcat that has several; the balancer's version issues the same id.
fn session(scene: &Scene, newest: &str) -> Result<String> {
    let mut connection = Connection::open(scene.lab.client(), scene.lab.application(3))?;
    let response = connection.get("/whoami", None)?;
    let id = response.set_cookie("JSESSIONID").context("Tomcat issues no session")?;
    ensure!(response.version() == newest, "it begins on {}", response.version());
    let response = scene.connection()?.get(&format!("/version/?issue={id}"), None)?;
    ensure!(response.version() == newest, "the balancer's begins on {}", response.version());
    Ok(id)
}
