//! Real servers in a namespace: Tomcat, nginx and the demo application, each asked directly.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use balancer_fuzz::stream::{Side, Stream};
use balancer_tests::applications::Demo;
use balancer_tests::lab::Lab;
use balancer_tests::lab::config::APPLICATION_PORT;
use balancer_tests::lab::process::Process;
use balancer_tests::tomcat::{Tomcat, Webapp};

use crate::judge::{Run, Seen, judge, path};
use crate::{MARKER, streams};

/// With the corpus, some hundreds of streams.
const MUTANTS: usize = 4_000;
/// Connections at a time.
const PARALLEL: usize = 8;
/// How long a server says nothing if it waits for more: first, and when it is suspected of something, since one that is
/// merely slow must not be.
const QUIET: [Duration; 2] = [Duration::from_millis(120), Duration::from_secs(3)];

#[test]
fn tomcat_sees_the_requests_that_the_core_sees() -> Result<()> {
    let lab = Lab::builder("difftomcat").backends(1).build()?;
    let mut tomcat = Tomcat::serve(&lab, 1, &[Webapp::seen()])?;
    tomcat.wait(&lab)?;
    compare(&lab, &streams(MUTANTS, 1, MARKER))
}

#[test]
fn nginx_sees_the_requests_that_the_core_sees() -> Result<()> {
    let lab = Lab::builder("diffnginx").backends(1).build()?;
    let _nginx = nginx(&lab)?;
    compare(&lab, &streams(MUTANTS, 2, MARKER))
}

#[test]
fn the_demo_sees_the_requests_that_the_core_sees() -> Result<()> {
    let lab = Lab::builder("diffdemo").backends(1).build()?;
    let _demo = Demo::start(&lab, env!("CARGO_BIN_EXE_demo"), 1, "001")?;
    compare(&lab, &streams(MUTANTS, 3, MARKER))
}

/// nginx that answers everything with what it saw, as far as it knows: it throws contents away unread.
pub(crate) fn nginx(lab: &Lab) -> Result<Process> {
    let folder = lab.dir().join("nginx");
    fs::create_dir_all(&folder)?;
    let text = include_str!("nginx.conf")
        .replace("{folder}", &folder.display().to_string())
        .replace("{port}", &APPLICATION_PORT.to_string());
    fs::write(folder.join("nginx.conf"), text).context("write nginx.conf")?;
    let node = lab.backend(1);
    let mut command = node.command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&folder).args(["-c", "nginx.conf"]);
    let process = node.spawn("nginx", &mut command)?;
    for _ in 0..200 {
        if lab.client().run(|| Ok(TcpStream::connect(lab.application(1)).is_ok()))? {
            return Ok(process);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("nginx does not listen:\n{}", process.log())
}

/// Sends the streams to the one server there is, and compares what it saw with what the core sees.
fn compare(lab: &Lab, streams: &[(String, Vec<u8>)]) -> Result<()> {
    let server = lab.application(1);
    let tally = for_each(lab, streams, |bytes, quiet| {
        let run = exchange(server, bytes, quiet)?;
        Ok(judge(bytes, &run).map(|agreement| format!("{agreement:?}")).map_err(|why| format!("{why}\n{run:?}")))
    })?;
    for (agreement, least) in [("Same", 50), ("Refused", 3), ("Unframed", 100)] {
        ensure!(tally.get(agreement).is_some_and(|count| *count >= least), "{agreement} is rare: {tally:?}");
    }
    Ok(())
}

/// Tries each stream from the client, several at a time, and counts how it went. A stream that disagrees is tried again
/// with more patience.
pub(crate) fn for_each(
    lab: &Lab,
    streams: &[(String, Vec<u8>)],
    test: impl Fn(&[u8], Duration) -> Result<Result<String, String>> + Sync,
) -> Result<BTreeMap<String, u32>> {
    let one = |(name, bytes): &(String, Vec<u8>)| {
        let mut told = Ok(Err(String::new()));
        for quiet in QUIET {
            told = test(bytes, quiet).with_context(|| format!("{name}\n{}", bytes.escape_ascii()));
            if matches!(told, Ok(Ok(_))) {
                break;
            }
        }
        told.map(|told| told.map_err(|why| format!("{name}: {why}\n{}", bytes.escape_ascii())))
    };
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = streams
            .chunks(streams.len().div_ceil(PARALLEL))
            .map(|some| scope.spawn(|| lab.client().run(|| some.iter().map(&one).collect())))
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        joined.collect::<Result<Vec<Vec<_>>>>()
    })?;
    let (mut tally, mut disagreements) = (BTreeMap::new(), vec![]);
    for result in results.into_iter().flatten() {
        match result {
            Ok(agreement) => *tally.entry(agreement).or_insert(0) += 1,
            Err(why) => disagreements.push(why),
        }
    }
    println!("{tally:?}");
    ensure!(disagreements.is_empty(), "{} disagreements\n{}", disagreements.len(), disagreements.join("\n\n"));
    Ok(tally)
}

/// Sends a stream and reads what comes until the server closes or has nothing more to say.
pub(crate) fn exchange(server: SocketAddr, bytes: &[u8], quiet: Duration) -> Result<Run> {
    let mut stream = TcpStream::connect(server).context("connect")?;
    stream.set_read_timeout(Some(quiet))?;
    // A server that refuses may close before it has everything.
    let mut closed = stream.write_all(bytes).is_err();
    let mut received = vec![];
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => closed = true,
            Ok(count) => {
                received.extend_from_slice(&buffer[..count]);
                continue;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => closed = true,
            Err(error) => return Err(error).context("receive"),
        }
        return Ok(Run { seen: responses(bytes, &received)?, closed });
    }
}

/// The responses, each to a request that the server saw or refused.
fn responses(bytes: &[u8], mut received: &[u8]) -> Result<Vec<Seen>> {
    let core = Stream::read(Side::Request, bytes);
    let mut seen = vec![];
    while !received.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head)) = response.parse(received) else {
            // An answer to HTTP/0.9 has no head, and ends the connection.
            seen.push(Seen::default());
            break;
        };
        let field = |name: &str| {
            let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| String::from_utf8_lossy(field.value).into_owned())
        };
        received = &received[head..];
        let status = response.code.unwrap_or(0);
        if status < 200 {
            continue;
        }
        let seen_by = field("X-Seen").map_or_else(Seen::default, |text| told(&text));
        let one = Seen { version: field("X-Version"), ..seen_by };
        let asked = core.messages.get(seen.len());
        let to_head = asked.is_some_and(|message| message.line.starts_with(b"HEAD "));
        seen.push(one);
        if to_head || matches!(status, 204 | 304) {
            continue;
        }
        let length = match (field("Transfer-Encoding"), field("Content-Length")) {
            (Some(_), _) => chunks(received)?,
            (None, Some(length)) => length.parse()?,
            (None, None) => received.len(),
        };
        received = received.get(length..).unwrap_or_default();
    }
    Ok(seen)
}

/// What a server says of a request: method, target and, if it knows, bytes of content.
fn told(text: &str) -> Seen {
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Seen {
        line: Some(format!("{method} {}", path(target))),
        content: words.next().and_then(|content| content.parse().ok()),
        version: None,
    }
}

/// The length of a response's chunks.
fn chunks(received: &[u8]) -> Result<usize> {
    let mut at = 0;
    while let Ok(httparse::Status::Complete((header, size))) = httparse::parse_chunk_size(&received[at..]) {
        at += header + usize::try_from(size)? + 2;
        if size == 0 {
            return Ok(at);
        }
        ensure!(at <= received.len(), "the server stopped within a chunk");
    }
    bail!("a server's chunk is none")
}
