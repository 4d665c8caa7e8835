//! Response bodies, made while they are sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use balancer_sim::pattern;
use hyper::body::{Body, Bytes, Frame, SizeHint};

/// A body that is there already, or the pattern of a seed.
pub(crate) enum Content {
    Whole(Option<Bytes>),
    Pattern { seed: u64, offset: u64, length: u64, piece: u64, framing: Framing },
}

/// How the end of a pattern is made known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    ContentLength,
    Chunked,
}

impl Content {
    /// A body from memory.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    fn left(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Pattern { offset, length, .. } => length - offset,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Pattern { offset, length, .. } if offset == length => None,
            Self::Pattern { seed, offset, length, piece, .. } => {
                let size = (*piece).min(*length - *offset);
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
                pattern::fill(*seed, *offset, &mut bytes);
                *offset += size;
                Some(bytes.into())
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        // Said early, a chunked body of no bytes would get a Content-Length.
        self.left() == 0 && !matches!(self, Self::Pattern { framing: Framing::Chunked, .. })
    }

    /// hyper writes Content-Length where the size is exact, and chunks where it is not.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Pattern { framing: Framing::Chunked, .. } => SizeHint::default(),
            Self::Whole(_) | Self::Pattern { .. } => SizeHint::with_exact(self.left()),
        }
    }
}
