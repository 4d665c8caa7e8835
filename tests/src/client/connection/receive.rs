//! Takes responses out of the stream, by their own framing.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result, bail, ensure};

use super::{Connection, PATIENCE};
use crate::client::message::Response;

/// The most headers that a head may have.
const HEADERS: usize = 64;

impl Connection {
    pub(super) fn head(&mut self) -> Result<Response> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut parsed = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) = parsed.parse(&self.received).context("parse a response head")? {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let headers =
                    parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
                let response = Response { status: parsed.code.unwrap_or(0), headers, body: Vec::new() };
                self.received.drain(..length);
                return Ok(response);
            }
            self.need().context("receive a response head")?;
        }
    }

    pub(super) fn body(&mut self, method: &str, response: &Response) -> Result<Vec<u8>> {
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        if response.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks();
        }
        if let Some(length) = response.header("Content-Length") {
            let length = length.parse().with_context(|| format!("Content-Length {length:?}"))?;
            return self.take(length).context("receive a body");
        }
        while self.fill()? {}
        Ok(std::mem::take(&mut self.received))
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.received) {
                Ok(httparse::Status::Complete((head, size))) => {
                    self.received.drain(..head);
                    let chunk = self.take(usize::try_from(size)? + 2).context("receive a chunk")?;
                    ensure!(chunk.ends_with(b"\r\n"), "a chunk of {size} bytes does not end with CRLF");
                    body.extend_from_slice(&chunk[..chunk.len() - 2]);
                    // No server of ours sends trailers, so the last chunk's CRLF is the end.
                    if size == 0 {
                        return Ok(body);
                    }
                }
                Ok(httparse::Status::Partial) => self.need().context("receive a chunk's size")?,
                Err(_) => bail!("an invalid chunk size"),
            }
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.received.len() < length {
            self.need()?;
        }
        let rest = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// Receives some more, which there has to be.
    fn need(&mut self) -> Result<()> {
        ensure!(self.fill()?, "the connection was closed after {} bytes", self.received.len());
        Ok(())
    }

    /// Receives some more; false at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("nothing received for {PATIENCE:?}")
            }
            Err(error) => Err(error).context("receive"),
        }
    }
}
