//! Session ids in cookies and behind names, read as RFC 6265 and Tomcat read them (C18 to C25).

use super::swar::{byte_at, keep, leading_blanks, splat, trailing_blanks, word_at};
use super::{MAX_IDS, Scan, Span};
use crate::layout::{Buffer, MAX_NAME, Name, SessionRule};
use crate::sip::MAX_ID;

/// Takes in one item of a Cookie field: a candidate if it has the service's name and a value (C22).
#[inline(always)]
pub(super) fn cookie(scan: &mut Scan, buffer: &Buffer, rule: &SessionRule, end: u32) {
    let Some(value) = named_value(buffer, &rule.cookie, scan.item, end) else {
        if rule.pin_cookie.len != 0
            && let Some(value) = named_value(buffer, &rule.pin_cookie, scan.item, end)
        {
            scan.head.pin_cookie = usable(value);
        }
        return;
    };
    let id = usable(value);
    if id.len == 0 {
        return;
    }
    if let Some(slot) = scan.head.ids.get_mut(scan.head.id_count as usize & (MAX_IDS - 1))
        && scan.head.id_count < MAX_IDS as u32
    {
        *slot = id;
        scan.head.id_count += 1;
    } else {
        scan.head.more_ids += 1;
    }
}

/// Takes in the value of the field that may carry a pin; of several the last one.
#[inline(always)]
pub(super) fn pin_header(scan: &mut Scan, buffer: &Buffer, end: u32) {
    let (start, end) = trim(buffer, scan.item, end);
    scan.head.pin_header = usable(Span::between(start, end));
}

/// The id itself if its length can be looked up, else none.
#[inline(always)]
pub(super) fn usable(id: Span) -> Span {
    if id.len > MAX_ID { Span::NONE } else { id }
}

/// The value in `name = value`, without blanks around it and without quotes, if the name is the wanted one.
#[inline(always)]
pub(super) fn named_value(buffer: &Buffer, name: &Name, start: u32, end: u32) -> Option<Span> {
    let start = start + leading_blanks(word_at(buffer, start));
    if !name_at(buffer, name, start) {
        return None;
    }
    let behind = start + name.len;
    let equals = behind + leading_blanks(word_at(buffer, behind));
    if equals >= end || byte_at(buffer, equals) != b'=' {
        return None;
    }
    let (start, end) = trim(buffer, equals + 1, end);
    let quoted = end - start >= 2 && byte_at(buffer, start) == b'"' && byte_at(buffer, end - 1) == b'"';
    let quote = quoted as u32;
    Some(Span::between(start + quote, end - quote))
}

/// The stretch without the blanks at its ends, of which up to eight are taken away at each.
#[inline(always)]
pub(crate) fn trim(buffer: &Buffer, start: u32, end: u32) -> (u32, u32) {
    let start = start + leading_blanks(word_at(buffer, start));
    if start >= end {
        return (end, end);
    }
    let shorter = end - trailing_blanks(word_at(buffer, end.wrapping_sub(8)));
    (start, if shorter > start { shorter } else { start })
}

/// Whether the bytes from `pos` on are `name`, which is in lower case, whatever their case. Folding the case of a token this way
/// makes no other token of it a letter; what is folded is no letter in a name of another field at worst, and such a field pins
/// nobody without the value.
#[inline(always)]
pub(crate) fn lower_name_at(buffer: &Buffer, name: &Name, pos: u32) -> bool {
    let mut index = 0;
    while index < MAX_NAME {
        let done = index as u32;
        if done >= name.len {
            break;
        }
        let word = keep(word_at(buffer, pos + done) | splat(0x20), name.len - done);
        if word != keep(name.words[index / 8] | splat(0x20), name.len - done) {
            return false;
        }
        index += 8;
    }
    true
}

/// Whether the bytes from `pos` on are `name`. Nothing is said about what follows it.
#[inline(always)]
pub(crate) fn name_at(buffer: &Buffer, name: &Name, pos: u32) -> bool {
    let mut index = 0;
    while index < MAX_NAME {
        let done = index as u32;
        if done >= name.len {
            break;
        }
        let word = keep(word_at(buffer, pos + done), name.len - done);
        if word != name.words[index / 8] {
            return false;
        }
        index += 8;
    }
    true
}
