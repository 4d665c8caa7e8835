//! A connection's messages, one behind the other, as a flow follows them: heads are kept until they are complete, bodies
//! are counted, and what is not framed ends it.

use balancer_ebpf::http::{Body, Chunk, Head, METHOD_CONNECT, Scan, Scanned, scan_chunk, scan_request, scan_response};
use balancer_ebpf::layout::{BUFFER_BYTES, Buffer, Name, SessionRule};

use crate::Plain;

/// Which way a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its first line, as it stands.
    pub line: Vec<u8>,
    /// Where it begins in the stream, and where its head ends.
    pub start: usize,
    pub body: usize,
    /// Where it ends; `None` if that has not come.
    pub end: Option<usize>,
    /// Bytes of its content, so far.
    pub content: u64,
}

/// Why a stream is not followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// For this reason.
    Unframed(Scanned),
    /// Another protocol follows, or a body whose end nobody knows.
    Opaque,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Head,
    /// So many bytes of the body, or of a chunk's data, are missing.
    Data(u64),
    Chunks,
}

/// Follows a stream in pieces.
pub struct Stream {
    side: Side,
    rule: SessionRule,
    mode: Mode,
    chunked: bool,
    kept: Vec<u8>,
    scan: Scan,
    chunk: Chunk,
    buffer: Box<Buffer>,
    at: usize,
    pub messages: Vec<Message>,
    pub end: Option<End>,
}

/// The rule of a service that is configured no further.
pub fn rule() -> SessionRule {
    let name = |text: &[u8]| Name::new(text).expect("names are short");
    SessionRule::new(name(b"JSESSIONID"), name(b"jsessionid"))
}

impl Stream {
    pub fn new(side: Side) -> Self {
        Self {
            side,
            rule: rule(),
            mode: Mode::Head,
            chunked: false,
            kept: vec![],
            scan: Scan::new(),
            chunk: Chunk::default(),
            buffer: Box::new(Buffer::new()),
            at: 0,
            messages: vec![],
            end: None,
        }
    }

    /// All of a stream in one go.
    pub fn read(side: Side, bytes: &[u8]) -> Self {
        let mut stream = Self::new(side);
        stream.push(bytes);
        stream
    }

    /// Takes in what comes next.
    pub fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && self.end.is_none() {
            let taken = match self.mode {
                Mode::Head => self.head(piece),
                Mode::Data(left) => self.data(piece.len(), left),
                Mode::Chunks => self.chunk(piece),
            };
            assert!(taken != 0 || self.end.is_some(), "a step takes bytes");
            self.at += taken;
            piece = &piece[taken..];
            if matches!(self.mode, Mode::Data(0)) {
                self.mode = if self.chunked { Mode::Chunks } else { Mode::Head };
                self.close();
            }
        }
    }

    /// Whether the stream stands between two messages.
    pub fn at_boundary(&self) -> bool {
        self.end.is_none() && matches!(self.mode, Mode::Head) && self.kept.is_empty()
    }

    /// Notes the present message's end, if this is it.
    fn close(&mut self) {
        if let (Mode::Head, Some(message)) = (self.mode, self.messages.last_mut()) {
            message.end = Some(self.at);
        }
    }

    fn head(&mut self, piece: &[u8]) -> usize {
        let before = self.kept.len();
        let take = piece.len().min(BUFFER_BYTES - before);
        self.kept.extend_from_slice(&piece[..take]);
        self.buffer.fill(0, &self.kept);
        let len = self.kept.len() as u32;
        let scanned = match self.side {
            Side::Request => scan_request::<Plain>(&mut self.scan, &self.buffer, len, &self.rule),
            Side::Response => scan_response::<Plain>(&mut self.scan, &self.buffer, len, &self.rule),
        };
        match scanned {
            Scanned::Incomplete => take,
            Scanned::Complete => {
                let head = self.scan.head;
                let line = self.kept.split(|byte| *byte == b'\r').next().unwrap_or_default().to_vec();
                let (start, body) = (self.at - before, self.at - before + head.len as usize);
                self.messages.push(Message { line, start, body, end: None, content: 0 });
                self.kept.clear();
                self.follow(&head);
                head.len as usize - before
            }
            reason => {
                self.end = Some(End::Unframed(reason));
                0
            }
        }
    }

    /// Sets the stream to what follows a head.
    fn follow(&mut self, head: &Head) {
        let body = match self.side {
            Side::Request => head.request_body(),
            Side::Response => head.response_body(false),
        };
        self.chunked = body == Body::Chunked;
        match body {
            Body::Length(len) => self.mode = Mode::Data(len),
            Body::Chunked => self.mode = Mode::Chunks,
            Body::Unknown => self.end = Some(End::Opaque),
        }
        if head.flags & METHOD_CONNECT != 0 || head.status == 101 {
            self.end = Some(End::Opaque);
        }
    }

    fn data(&mut self, there: usize, left: u64) -> usize {
        let taken = left.min(there as u64);
        self.mode = Mode::Data(left - taken);
        if let Some(message) = self.messages.last_mut() {
            message.content += taken;
        }
        taken as usize
    }

    fn chunk(&mut self, piece: &[u8]) -> usize {
        let take = piece.len().min(BUFFER_BYTES);
        self.buffer.fill(0, &piece[..take]);
        match scan_chunk::<Plain>(&mut self.chunk, &self.buffer, 0, take as u32) {
            Scanned::Incomplete => take,
            Scanned::Complete => {
                self.chunked = self.chunk.state.size != 0;
                self.mode = Mode::Data(u64::from(self.chunk.state.size));
                self.chunk.at as usize
            }
            reason => {
                self.end = Some(End::Unframed(reason));
                0
            }
        }
    }
}
