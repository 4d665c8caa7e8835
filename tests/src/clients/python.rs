//! Python's `requests` and `aiohttp`, as Debian packages them.

use anyhow::Result;

use super::Program;
use crate::lab::Lab;

/// Not the first on PATH: Debian's modules belong to Debian's Python.
const PYTHON: &str = "/usr/bin/python3";

/// A thread and a `requests.Session` for each user.
pub fn requests(lab: &Lab) -> Result<Program> {
    Program::start(lab, "requests", PYTHON, &[&Program::source("users_of_requests.py")])
}

/// A task and an `aiohttp.ClientSession` for each user.
pub fn aiohttp(lab: &Lab) -> Result<Program> {
    Program::start(lab, "aiohttp", PYTHON, &[&Program::source("users_of_aiohttp.py")])
}
