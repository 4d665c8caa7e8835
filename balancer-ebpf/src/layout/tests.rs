//! Sizes of everything that lies in a map, and where its fields are: a change here is a change of [`VERSION`].

use core::mem::offset_of;

use super::*;
use crate::http::ChunkState;
use crate::net::{Egress, Hop, Seq};

/// A type as the maps hold it.
struct Type {
    name: &'static str,
    size: usize,
    /// What the table below says.
    expected: usize,
    /// Name, offset and size.
    fields: Vec<(&'static str, usize, usize)>,
}

fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! types {
    ($($name:ident $size:literal: $($field:ident)*;)*) => {
        vec![$({
            // A field that the table does not name does not compile.
            let _ = |value: &$name| { let $name { $($field: _),* } = value; };
            Type {
                name: stringify!($name),
                size: size_of::<$name>(),
                expected: $size,
                fields: vec![$((
                    stringify!($field),
                    offset_of!($name, $field),
                    size_of_field(|value: &$name| &value.$field),
                )),*],
            }
        }),*]
    };
}

/// Every type that lies in a pinned map, with its size in bytes.
fn types() -> Vec<Type> {
    types! {
        Backend 56: address port zero flags weight shunned_until legs failures;
        Buffer 18432: words margin;
        Egress 8: interface flags;
        Hop 20: egress macs;
        Outcomes 48: answers errors resets unanswered left_at missing;
        FlowKey 36: client vip client_port port;
        FlowSlot 416: lock flow;
        Leg 152: backend version address port source_port source hop isn to_leg to_client clock_to_leg clock_to_client first
            begins shift_to_client shift_to_leg tsval mss generation position slot class scale backend_scale next expected clock
            service zero;
        LegSlot 168: below reached leg;
        ChunkState 16: mode size digits spent;
        Cursor 32: left chunk next chunked;
        Flow 408: key state flags service slot outstanding seen asked challenged client_hop client_scale client_mss our_scale request_first
            received upstream_acked sent request response heads acked window tsval clock stash stash_first stash_len tried tries
            leg presented carried presented_at route pin;
        Key 16: k0 k1;
        Globals 1096: session_key cookie_key isn_key flows stashes bucket_mask source_count flow_idle_seconds sources;
        Hands 32: flow stash reset_budget leg;
        ListenerKey 20: address port zero;
        Listener 16: service offers mss scale;
        VersionPolicy 80: generation flags backend_count birth backends;
        Name 72: words len zero;
        SessionRule 360: cookie parameter pin_cookie pin_header pin_query;
        PinKey 24: tag bucket service kind;
        SourceKey 20: service address;
        Pin 56: version birth until flags network mask id zero;
        PinEvent 48: at service version backend pin client client_port zero;
        Policy 5808: generation active idle_seconds fallback flags pool_limit adopt grace_seconds canary canary_share canary_salt
            hold_until pins listener route_count route_seed rule versions routes;
        Text 136: words len zero;
        Condition 256: kind service flags port network mask name text;
        RuleSet 32808: generation default flags count listener zero conditions;
        Entry 32: tag binding times bucket_hash;
        Bucket 256: entries;
        SessionHash 16: tag bucket;
        Stash 18440: owner data;
        Traffic 40: in_flight requests issued flows born;
    }
}

#[test]
fn sizes_are_what_they_should_be() {
    for of in types() {
        assert_eq!(of.size, of.expected, "{}", of.name);
    }
}

#[test]
fn nothing_is_padded() {
    for of in types() {
        let mut end = 0;
        for (field, offset, size) in &of.fields {
            assert_eq!(
                *offset, end,
                "there is padding before {}::{field}, or the fields are in another order",
                of.name
            );
            end = offset + size;
        }
        assert_eq!(end, of.size, "there is padding at the end of {}", of.name);
    }
}

/// Layouts that have been: each version's number, and what [`fingerprint`] made of it. Version 4 had `Flow::asked` with twice the bits, of which
/// the upper half, `Flow::challenged` now, was 0 in the first 49 days: what one of the two wrote the other one reads as it was meant.
const HISTORY: &[(u32, u64)] =
    &[(1, 0x05cb_0465_361c_a19b), (2, 0xeaac_9c7a_a7bf_ea95), (3, 0x6064_77cb_6a03_0590), (4, 0x04c0_ed8e_b688_4cd0)];

/// FNV-1a over names, offsets and sizes of all fields.
fn fingerprint() -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for of in types() {
        for (field, offset, size) in of.fields {
            for byte in format!("{} {field} {offset} {size};", of.name).bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    hash
}

#[test]
fn a_change_of_the_layout_is_a_new_version() {
    // Once a version has been released: raise VERSION and add a line, so that a daemon never adopts maps of another layout.
    assert_eq!(HISTORY.last(), Some(&(VERSION, fingerprint())), "{:#x}", fingerprint());
}

// The mask of those tried is a word; a binding has 16 bits for a backend and 8 for a version.
const _: () = assert!(VERSION_BACKENDS <= 32 && MAX_BACKENDS <= 1 << 16 && MAX_VERSIONS <= 1 << 8);

#[test]
fn what_indexes_is_a_power_of_two() {
    let sizes = [BUFFER_BYTES, CHUNK_BYTES, BUCKET_WAYS, MAX_VERSIONS as usize, VERSION_BACKENDS, MAX_SOURCES, 512];
    for size in sizes.into_iter().chain([ROUTE_SLOTS]) {
        assert!(size.is_power_of_two());
    }
    assert!(CHUNK_BYTES * 8 <= size_of::<Buffer>());
    assert_eq!(size_of::<Seq>(), 4);
}

#[test]
fn the_bits_of_a_flow_are_apart() {
    let bits = [
        CLIENT_TIMESTAMPS,
        CLIENT_SACK,
        CLIENT_FIN,
        BACKEND_FIN,
        REQUESTS_UNFRAMED,
        RESPONSES_UNFRAMED,
        LAST_RESPONSE,
        STASH_OWNED,
        STASH_RESPONSE,
        STASH_HEAD,
        RESPONSE_BODY,
        LEG_RESET,
        LEG_REUSED,
        LEG_OWN,
        SAFE_REQUEST,
        UPGRADE_ASKED,
        TUNNEL,
        ANSWERED_LAST,
        SESSION_MOVED,
        STASH_HELD,
        REJECTED,
        REJECTED_UNMATCHED,
        REJECTED_AMBIGUOUS,
        MOVES,
    ];
    assert!(bits.iter().all(|bit| bit.is_power_of_two()));
    let sum: u32 = bits.iter().sum();
    assert_eq!(sum.count_ones() as usize, bits.len(), "two of them are one");
    let roles = [ROLE_LISTENER, ROLE_SOURCE, ROLE_BACKEND];
    assert_eq!(
        roles.iter().map(|role| role.count_ones()).sum::<u32>(),
        roles.iter().fold(0, |all, role| all | role).count_ones()
    );
    assert!(roles.iter().all(|role| role & ROLE_INDEX == 0));
}

#[test]
fn a_service_word_and_its_parts() {
    for (block, generation) in [(0, 1), (255, 7), (u32::MAX, u32::MAX)] {
        let word = ServiceWord::new(block, generation);
        assert_eq!((word.block(), word.generation()), (block, generation));
    }
}

#[test]
fn names_are_packed() {
    let name = Name::new(b"JSESSIONID").unwrap();
    assert_eq!((name.words[0].to_le_bytes(), name.words[1].to_le_bytes()), (*b"JSESSION", *b"ID\0\0\0\0\0\0"));
    assert_eq!((name.len, name.words[2]), (10, 0));
    assert_eq!(Name::new(b""), None);
    assert_eq!(Name::new(&[b'a'; 65]), None);
    assert_eq!(Name::new(&[b'a'; 64]).unwrap().words, [u64::from_le_bytes([b'a'; 8]); 8]);
}
