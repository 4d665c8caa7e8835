//! What follows a head (RFC 9112, section 6.3).

use super::{HEAD_CHUNKED, HEAD_LENGTH, Head};

/// The body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes, or none.
    Length(u64),
    /// Chunks, and the trailers behind the last of them.
    Chunked,
    /// It ends with the connection, or its receivers disagree on where.
    Unknown,
}

impl Head {
    /// What follows the head of a request. A method says nothing about it: GET may have a body.
    #[inline(always)]
    pub const fn request_body(&self) -> Body {
        if self.flags & HEAD_CHUNKED != 0 { Body::Chunked } else { Body::Length(self.content_length) }
    }

    /// What follows the head of a response, `to_head` if it answers a HEAD request. Of an interim response (1xx) that is
    /// nothing: the next head.
    #[inline(always)]
    pub const fn response_body(&self, to_head: bool) -> Body {
        let framed = self.flags & (HEAD_LENGTH | HEAD_CHUNKED) != 0;
        match self.status {
            // What these announce is the body of another response.
            304 => Body::Length(0),
            _ if to_head && self.status >= 200 => Body::Length(0),
            // They have no content, and must not announce any (RFC 9110, section 8.6): some clients believe the status,
            // some the field.
            100..200 | 204 if !framed => Body::Length(0),
            100..200 | 204 => self.empty(),
            // No content either, but not every client knows: so it has to say so (RFC 9110, section 15.3.6).
            205 => self.empty(),
            _ if self.flags & HEAD_CHUNKED != 0 => Body::Chunked,
            _ if framed => Body::Length(self.content_length),
            _ => Body::Unknown,
        }
    }

    /// The body of a message that says that it has none.
    #[inline(always)]
    const fn empty(&self) -> Body {
        if self.flags & (HEAD_LENGTH | HEAD_CHUNKED) == HEAD_LENGTH && self.content_length == 0 {
            Body::Length(0)
        } else {
            Body::Unknown
        }
    }
}
