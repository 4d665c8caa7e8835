//! What is compared: where requests go, and with which sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::Lab;

/// A way to the backends.
#[derive(Debug)]
pub(super) struct Variant<'a> {
    pub(super) name: &'static str,
    pub(super) lab: &'a Lab,
    /// For each backend: where to connect, and the cookies that lead to it.
    pub(super) targets: Vec<(SocketAddr, String)>,
}

impl<'a> Variant<'a> {
    /// Clients connect to the backends themselves. They send the same cookies, which are nobody's business there.
    pub(super) fn direct(lab: &'a Lab) -> Result<Self> {
        let login = |index: usize| {
            let to = lab.application(index);
            let (_, cookies) = login(lab, to, 0)?;
            Ok((to, cookies))
        };
        let targets = (1..=lab.backends().len()).map(login).collect::<Result<_>>()?;
        Ok(Self { name: "direct", lab, targets })
    }

    /// Clients connect to the virtual address. They log in from one source address after another until each backend has
    /// issued a session, and each session has to lead back to its backend.
    pub(super) fn through(name: &'static str, lab: &'a Lab) -> Result<Self> {
        let to = lab.service();
        patient(lab, to).with_context(|| format!("reach the backends through {name}"))?;
        let mut sessions = BTreeMap::new();
        for source in 0..super::SOURCES {
            if sessions.len() == lab.backends().len() {
                break;
            }
            let (backend, cookies) = login(lab, to, source).with_context(|| format!("log in through {name}"))?;
            sessions.entry(backend).or_insert(cookies);
        }
        ensure!(
            sessions.len() == lab.backends().len(),
            "through {name}, {} addresses only reach {:?}",
            super::SOURCES,
            sessions.keys()
        );
        for (backend, cookies) in &sessions {
            let text = curl(lab, to, "/", 0, &["-H", &format!("Cookie: {cookies}")])?;
            let (answered, _) = read(&text)?;
            ensure!(answered == *backend, "through {name}, a session of {backend} was answered by {answered}");
        }
        Ok(Self { name, lab, targets: sessions.into_values().map(|cookies| (to, cookies)).collect() })
    }
}

/// Waits for the first answer: health checks take a moment.
fn patient(lab: &Lab, to: SocketAddr) -> Result<()> {
    let mut last = None;
    for _ in 0..100 {
        match curl(lab, to, "/health", 0, &[]) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    match last {
        Some(error) => Err(error),
        None => bail!("nobody was asked"),
    }
}

/// Logs in from one of the client's addresses: the backend that answered and the cookies that it set.
fn login(lab: &Lab, to: SocketAddr, source: u8) -> Result<(String, String)> {
    let (backend, cookies) = read(&curl(lab, to, "/login", source, &[])?)?;
    ensure!(!cookies.is_empty(), "the login set no cookie");
    Ok((backend, cookies))
}

fn curl(lab: &Lab, to: SocketAddr, path: &str, source: u8, more: &[&str]) -> Result<String> {
    let source = lab.addresses().client_nth(source).to_string();
    let url = format!("http://{to}{path}");
    let fixed = ["-sS", "-f", "-i", "-m", "2", "--interface", &source, &url];
    lab.client().output("curl", &[&fixed, more].concat())
}

/// The backend's name and all cookies of a response.
fn read(text: &str) -> Result<(String, String)> {
    let fields: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let named = |name: &'static str| {
        fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let backend = named("x-backend").next().with_context(|| format!("no X-Backend in:\n{text}"))?;
    let cookies: Vec<&str> = named("set-cookie").filter_map(|value| value.split(';').next()).collect();
    Ok((backend.to_owned(), cookies.join("; ")))
}
