//! Which kinds of messages there were, and how requests with them ended: so that nobody takes silence for coverage.

use std::collections::BTreeMap;

macro_rules! features {
    ($($name:ident $label:literal,)*) => {
        /// Something that a request, or the answer to it, may have about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature { $($name,)* }

        impl Feature {
            /// All of them, with their names.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $label),)*];
        }
    };
}

features! {
    Plain "request without a body",
    Body "request with a length",
    Chunks "request in chunks",
    ChunkExtensions "request with chunk extensions",
    Trailers "request with trailers",
    TinyChunks "request in many small chunks",
    ExpectWaits "Expect: 100-continue, waits",
    ExpectGoesOn "Expect: 100-continue, does not wait",
    Old "HTTP/1.0",
    OldKeepAlive "HTTP/1.0 with keep-alive",
    Together "pipelined in one write",
    Apart "pipelined, a write for each",
    Upgrade "asks for an upgrade",
    Connect "CONNECT",
    Tls "TLS ClientHello",
    Http2 "HTTP/2 preface",
    LongHead "long request head",
    Dribbled "request head byte by byte",
    SlowUpload "slow upload",
    HalfClosed "half-closed behind the request",
    Stalled "client that does not read for a while",
    GivesUp "no body after a final answer in place of 100",
    Binds "authentication of the connection",
    Head "HEAD",
    Options "OPTIONS",
    Length "answer with a length",
    AnswerChunks "answer in chunks",
    AnswerExtensions "answer with chunk extensions",
    AnswerTrailers "answer with trailers",
    AnswerTinyChunks "answer in many small chunks",
    UntilClose "answer until the connection ends",
    NoContent "204",
    NotModified "304",
    ResetContent "205",
    Continue "100 Continue",
    Processing "102 Processing",
    EarlyHints "103 Early Hints",
    Several1xx "several 1xx",
    EarlyCloses "final answer before the body, then closes",
    EarlyReadsOn "final answer before the body, then reads on",
    Switched "101 or tunnel, client speaks first",
    SwitchedBackendFirst "101 or tunnel, backend speaks first",
    Refused "upgrade or CONNECT refused",
    OldAnswer "status line of HTTP/1.0",
    SaysClose "answer that says close",
    ClosesUnsaid "closes behind an answer that does not say so",
    AnswerLongHead "long answer head",
    AnswerPieces "answer head in pieces",
    AnswerBinds "answer that asks to authenticate the connection",
    Reused "on a leg of others",
    Twice "tried on two backends",
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Features(u64);

impl Features {
    pub(crate) fn add(&mut self, feature: Feature) {
        self.0 |= 1 << feature as u32;
    }

    pub(crate) fn add_if(&mut self, condition: bool, feature: Feature) {
        if condition {
            self.add(feature);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u32 != 0
    }
}

/// How often requests with each feature were answered, and how often they failed with an excuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<u32, (u64, u64)>,
}

impl Tally {
    /// A request has ended.
    pub(crate) fn ended(&mut self, features: Features, answered: bool) {
        for (feature, _) in Feature::ALL.iter().filter(|(feature, _)| features.has(*feature)) {
            let (answers, failures) = self.counts.entry(*feature as u32).or_default();
            *if answered { answers } else { failures } += 1;
        }
    }

    /// Adds another one's.
    pub fn add(&mut self, other: &Self) {
        for (feature, (answers, failures)) in &other.counts {
            let total = self.counts.entry(*feature).or_default();
            total.0 += answers;
            total.1 += failures;
        }
    }

    /// Every feature's name, answers and failures.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        Feature::ALL.iter().map(|(feature, name)| {
            let (answers, failures) = self.counts.get(&(*feature as u32)).copied().unwrap_or_default();
            (*name, answers, failures)
        })
    }
}
