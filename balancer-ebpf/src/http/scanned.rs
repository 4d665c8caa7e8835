//! How a scan ends: with a head, with a wish for more, or with the reason why a flow is not framed.

macro_rules! scanned {
    ($($(#[$doc:meta])* $name:ident $label:literal,)*) => {
        /// How a scan ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Scanned { $($(#[$doc])* $name,)* }

        impl Scanned {
            /// The names, by number: what the counters of the reasons are called.
            pub const NAMES: &[&str] = &[$($label,)*];

            /// Back from the number that the scan kept. The compiler sees that nothing changes.
            #[inline(always)]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $(_ if number == Self::$name as u32 => Self::$name,)*
                    // A scan that nothing has ended ran out of turns.
                    _ => Self::TooComplex,
                }
            }
        }
    };
}

scanned! {
    /// [`super::Scan::head`] has it all.
    Complete "complete",
    /// The blank line has not come yet.
    Incomplete "incomplete",
    /// No blank line within [`super::HEAD_LIMIT`].
    TooLong "too_long",
    /// More lines, cookies and oddities than the program follows.
    TooComplex "too_complex",
    /// Content-Length and Transfer-Encoding (RFC 9112, section 6.1).
    LengthAndCoding "length_and_coding",
    /// Two lengths that differ (section 6.3).
    TwoLengths "two_lengths",
    /// A length that is not one to sixteen digits (section 6.2).
    BadLength "bad_length",
    /// Another transfer coding than `chunked`, or several (section 6.1).
    UnknownCoding "unknown_coding",
    /// A transfer coding in HTTP/1.0 (section 6.1).
    CodingInOldVersion "coding_in_old_version",
    /// A line that goes on on the next one (section 5.2).
    ObsFold "obs_fold",
    /// CR without LF (section 2.2).
    BareCr "bare_cr",
    /// LF without CR, which some end a line at (section 2.2).
    BareLf "bare_lf",
    /// A zero byte.
    Nul "nul",
    /// Another control character.
    Control "control",
    /// Not `method SP target SP HTTP/1.x` (section 3).
    BadRequestLine "bad_request_line",
    /// Not `HTTP/1.x SP 3DIGIT SP` (section 4).
    BadStatusLine "bad_status_line",
    /// A field name that is no token, or a blank before its colon (section 5.1).
    BadHeaderName "bad_header_name",
    /// More blanks in a field that matters than anybody means.
    TooManyBlanks "too_many_blanks",
    /// The beginning of HTTP/2 (RFC 9113, section 3.4).
    Preface "preface",
    /// Something else: a TLS record, for instance.
    NotHttp "not_http",
    /// A chunk header or a trailer that is none (section 7.1).
    BadChunk "bad_chunk",
    /// A chunk extension or trailers beyond what the program follows.
    LongChunk "long_chunk",
}
