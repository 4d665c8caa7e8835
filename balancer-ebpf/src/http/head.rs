//! What a complete head says, and where in the buffer it says so.

/// Candidates of one request that are looked up (C22).
pub const MAX_IDS: usize = 4;

/// The head has a Content-Length.
pub const HEAD_LENGTH: u32 = 1;
/// The head has a Transfer-Encoding, and it is exactly `chunked`.
pub const HEAD_CHUNKED: u32 = 1 << 1;
/// The connection ends after this message: `Connection: close`, or HTTP/1.0 without keep-alive.
pub const HEAD_CLOSE: u32 = 1 << 2;
/// A request with an Upgrade field, and `Connection: upgrade`.
pub const HEAD_UPGRADE: u32 = 1 << 3;
/// A request that waits for a 100 response before it sends its body.
pub const HEAD_EXPECT: u32 = 1 << 4;
/// The method is HEAD: the response has no body, whatever its head says.
pub const METHOD_HEAD: u32 = 1 << 5;
/// The method is CONNECT: after a 2xx response the connection is a tunnel.
pub const METHOD_CONNECT: u32 = 1 << 6;
/// The message is of HTTP/1.0.
pub const HTTP_10: u32 = 1 << 7;
/// `Connection: keep-alive`.
pub const HEAD_KEEP_ALIVE: u32 = 1 << 8;
/// The method is GET, HEAD or OPTIONS: a request that may be made again (RFC 9110, section 9.2.1).
pub const METHOD_SAFE: u32 = 1 << 9;
/// Credentials or challenges of a scheme that authenticates the connection: it must never serve anybody else.
pub const HEAD_AUTH_CONNECTION: u32 = 1 << 10;
/// The two halves of [`HEAD_UPGRADE`]; never in a complete head.
pub(super) const UPGRADE_FIELD: u32 = 1 << 30;
pub(super) const UPGRADE_OPTION: u32 = 1 << 31;

/// A stretch of the buffer. Of length 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Span {
    pub pos: u32,
    pub len: u32,
}

impl Span {
    /// No bytes.
    pub const NONE: Self = Self { pos: 0, len: 0 };

    /// From `start` to before `end`.
    #[inline(always)]
    pub(super) const fn between(start: u32, end: u32) -> Self {
        Self { pos: start, len: end.wrapping_sub(start) }
    }
}

/// What a complete head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Head {
    /// Bytes of the head, its blank line included.
    pub len: u32,
    /// `HEAD_*`, `METHOD_*` and `HTTP_10` bits.
    pub flags: u32,
    /// With [`HEAD_LENGTH`]: bytes of the body.
    pub content_length: u64,
    /// Of a response: its status code.
    pub status: u32,
    /// How many of `ids` count.
    pub id_count: u32,
    /// Ids from cookies, in the order in which they came (C22).
    pub ids: [Span; MAX_IDS],
    /// The id from the path (C20); it counts only where there is none from a cookie (C21).
    pub path_id: Span,
    /// Of a response: the id that the last Set-Cookie of the name gives; none if that deletes the cookie.
    pub set_id: Span,
    /// Of a response: 1 if the last Set-Cookie of the name deletes the cookie.
    pub deletes: u32,
    /// How many ids from cookies there were no room for in `ids`.
    pub more_ids: u32,
    /// Of a request: the values of the service's pin cookie and pin header, and all of the query.
    pub pin_cookie: Span,
    pub pin_header: Span,
    pub query: Span,
    /// Of a request: its target, query included.
    pub target: Span,
    /// Of a request: where the value of its last Host field begins, behind the colon; and how many such fields it has.
    pub host: u32,
    pub hosts: u32,
}

impl Head {
    /// The head of nothing.
    pub const EMPTY: Self = Self {
        len: 0,
        flags: 0,
        content_length: 0,
        status: 0,
        id_count: 0,
        ids: [Span::NONE; MAX_IDS],
        path_id: Span::NONE,
        set_id: Span::NONE,
        deletes: 0,
        more_ids: 0,
        pin_cookie: Span::NONE,
        pin_header: Span::NONE,
        query: Span::NONE,
        target: Span::NONE,
        host: 0,
        hosts: 0,
    };

    /// Back to [`Head::EMPTY`], but for ids that do not count: field by field, since BPF has no `memset`.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.flags = 0;
        self.content_length = 0;
        self.status = 0;
        self.id_count = 0;
        self.path_id = Span::NONE;
        self.set_id = Span::NONE;
        self.deletes = 0;
        self.more_ids = 0;
        self.pin_cookie = Span::NONE;
        self.pin_header = Span::NONE;
        self.query = Span::NONE;
        self.target = Span::NONE;
        self.hosts = 0;
    }
}
