//! Java's `java.net.http.HttpClient`, from a program of a single source file.

use anyhow::Result;

use super::Program;
use crate::lab::Lab;

/// Starts quickly on few processors; the program is compiled when it starts.
const OPTIONS: [&str; 4] = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

/// A thread and an `HttpClient` for each user; every other one asks for HTTP/2 first, as is the client's default: `Upgrade: h2c`.
pub fn http_client(lab: &Lab) -> Result<Program> {
    Program::start(lab, "java", "java", &[&OPTIONS[..], &[&Program::source("UsersOfHttpClient.java")]].concat())
}
