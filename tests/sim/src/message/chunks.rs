//! Bodies in chunks (RFC 9112, section 7.1).

use rand::RngExt as _;

use crate::plan::Random;

/// How a body is cut into chunks, and what stands beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunks {
    /// Many small ones.
    pub(super) tiny: bool,
    pub(super) extensions: bool,
    pub(super) trailers: bool,
}

impl Chunks {
    /// Extensions, trailers and small chunks, each now and then.
    pub(super) fn draw(random: &mut Random) -> Self {
        Self { tiny: random.random_bool(0.2), extensions: random.random_bool(0.3), trailers: random.random_bool(0.3) }
    }

    /// Writes a body.
    pub(super) fn write(self, random: &mut Random, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let most = if self.tiny || random.random_bool(0.3) { 40 } else { 9000 };
            let (chunk, after) = rest.split_at(random.random_range(1..most).min(rest.len()));
            self.header(random, &mut bytes, chunk.len());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        self.header(random, &mut bytes, 0);
        if self.trailers {
            for number in 0..random.random_range(1..4) {
                let value = "t".repeat(random.random_range(0..60));
                bytes.extend_from_slice(format!("X-Trailer-{number}: {value}\r\n").as_bytes());
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    fn header(self, random: &mut Random, bytes: &mut Vec<u8>, size: usize) {
        // Leading zeroes and either case are as good as anything.
        let size = match random.random_range(0..8) {
            0 => format!("{size:X}"),
            1 => format!("{size:04x}"),
            _ => format!("{size:x}"),
        };
        bytes.extend_from_slice(size.as_bytes());
        if self.extensions && random.random_bool(0.6) {
            let extension = [";a", ";name=value", ";quoted=\"a b;c\"", ";one=1;two=2"][random.random_range(0..4)];
            bytes.extend_from_slice(extension.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
    }
}
