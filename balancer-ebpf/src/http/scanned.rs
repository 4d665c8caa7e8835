//! How a scan ends: with a head, with a wish for more, or with the reason why a flow is not framed.

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scanned {
    /// [`super::Scan::head`] has it all.
    Complete,
    /// The blank line has not come yet.
    Incomplete,
    /// No blank line within [`super::HEAD_LIMIT`].
    TooLong,
    /// More lines, cookies and oddities than the program follows.
    TooComplex,
    /// Content-Length and Transfer-Encoding (RFC 9112, section 6.1).
    LengthAndCoding,
    /// Two lengths that differ (section 6.3).
    TwoLengths,
    /// A length that is not one to sixteen digits (section 6.2).
    BadLength,
    /// Another transfer coding than `chunked`, or several (section 6.1).
    UnknownCoding,
    /// A transfer coding in HTTP/1.0 (section 6.1).
    CodingInOldVersion,
    /// A line that goes on on the next one (section 5.2).
    ObsFold,
    /// CR without LF (section 2.2).
    BareCr,
    /// LF without CR, which some end a line at (section 2.2).
    BareLf,
    /// A zero byte.
    Nul,
    /// Another control character.
    Control,
    /// Not `method SP target SP HTTP/1.x` (section 3).
    BadRequestLine,
    /// Not `HTTP/1.x SP 3DIGIT SP` (section 4).
    BadStatusLine,
    /// A field name that is no token, or a blank before its colon (section 5.1).
    BadHeaderName,
    /// More blanks in a field that matters than anybody means.
    TooManyBlanks,
    /// The beginning of HTTP/2 (RFC 9113, section 3.4).
    Preface,
    /// Something else: a TLS record, for instance.
    NotHttp,
    /// A chunk header that is none, or has what is not followed: an extension, a trailer (section 7.1).
    BadChunk,
}

impl Scanned {
    /// Back from the number that the scan kept. The compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Complete,
            1 => Self::Incomplete,
            2 => Self::TooLong,
            4 => Self::LengthAndCoding,
            5 => Self::TwoLengths,
            6 => Self::BadLength,
            7 => Self::UnknownCoding,
            8 => Self::CodingInOldVersion,
            9 => Self::ObsFold,
            10 => Self::BareCr,
            11 => Self::BareLf,
            12 => Self::Nul,
            13 => Self::Control,
            14 => Self::BadRequestLine,
            15 => Self::BadStatusLine,
            16 => Self::BadHeaderName,
            17 => Self::TooManyBlanks,
            18 => Self::Preface,
            19 => Self::NotHttp,
            20 => Self::BadChunk,
            // A scan that nothing has ended ran out of turns.
            _ => Self::TooComplex,
        }
    }
}
