//! Routes against a search of the text, and what a policy can hold.

use proptest::prelude::*;

use super::*;
use crate::layout::MAX_ROUTES;
use crate::testing::{Plain, policy};

/// Version and backend.
type Place = (u32, u32);

/// Where the id leads, laid anywhere into a head, among other bytes that look like routes.
fn lead(policy: &Policy, pos: u32, id: &[u8]) -> Option<Place> {
    let mut buffer = Buffer::new();
    buffer.fill(0, &[b'.'; 8192]);
    buffer.fill(pos, id);
    let scratch = Scratch { at: Cell::new(7), found: Cell::new(7) };
    let target = find::<Plain>(policy, &buffer, Span { pos, len: id.len() as u32 }, &scratch);
    (target != NONE).then(|| (crate::layout::target_version(target), crate::layout::target_backend(target)))
}

fn with(routes: &[(&[u8], u32, u32)]) -> Policy {
    let mut policy = policy(&[]);
    assert!(enter(&mut policy, routes));
    policy
}

#[test]
fn c29_the_route_is_the_text_behind_the_last_dot() {
    let long = [b'r'; MAX_ROUTE];
    let policy = with(&[(b"n1", 3, 1000), (b"n2", 0, 0), (b"rack-7_node-12", 15, 1023), (&long, 1, 1)]);
    let longest = [&b"8F3A."[..], &long].concat();
    let too_long = [&b"8F3A.r"[..], &long].concat();
    let rows: &[(&[u8], Option<Place>)] = &[
        (b"8F3A0C5D7E9B1A2C8F3A0C5D7E9B1A2C.n1", Some((3, 1000))),
        (b"8F3A0C5D7E9B1A2C8F3A0C5D7E9B1A2C.n2", Some((0, 0))),
        (b"8F3A.rack-7_node-12", Some((15, 1023))),
        (b".n1", Some((3, 1000))),
        (b"a.n1.n2", Some((0, 0))),
        (b"a..n1", Some((3, 1000))),
        (&longest, Some((1, 1))),
        (&too_long, None),
        (b"8F3A.n3", None),
        (b"8F3A.N1", None),
        (b"8F3A.n1.", None),
        (b"8F3A.n", None),
        (b"8F3A.n11", None),
        (b"8F3An1", None),
        (b"n1", None),
        (b".", None),
        (b"a", None),
    ];
    for (id, expected) in rows {
        for pos in (1..20).chain([8192 - 128]) {
            assert_eq!(lead(&policy, pos, id), *expected, "{:?} at {pos}", String::from_utf8_lossy(id));
        }
    }
    // An id of full length.
    let mut id = [b'A'; 128];
    id[125..].copy_from_slice(b".n2");
    assert_eq!(lead(&policy, 500, &id), Some((0, 0)));
}

#[test]
fn a_policy_without_routes_leads_nowhere() {
    assert_eq!(lead(&policy(&[]), 10, b"8F3A.n1"), None);
}

#[test]
fn two_routes_of_one_text_are_refused_and_so_is_one_too_long() {
    let mut policy = policy(&[]);
    assert!(!enter(&mut policy, &[(b"n1", 0, 1), (b"n2", 0, 2), (b"n1", 1, 3)]));
    assert!(!enter(&mut policy, &[(&[b'r'; MAX_ROUTE + 1], 0, 1)]));
    assert_eq!(policy.route_count, 0);
}

#[test]
fn as_many_routes_as_there_may_be_find_a_place() {
    for names in ["n", "node-", "tomcat-blue-"] {
        let texts: Vec<String> = (0..MAX_ROUTES).map(|number| format!("{names}{number}")).collect();
        let routes: Vec<_> = texts.iter().enumerate().map(|(at, text)| (text.as_bytes(), 1, at as u32)).collect();
        let policy = with(&routes);
        assert_eq!(policy.route_count as usize, MAX_ROUTES);
        for (text, _, backend) in &routes {
            assert_eq!(lead(&policy, 40, &[b"8F3A.", *text].concat()), Some((1, *backend)));
        }
    }
}

proptest! {
    /// Any id, any routes: as a search of the text finds it.
    #[test]
    fn any_id_leads_where_its_text_says(
        id in "[a-c.]{1,40}",
        texts in proptest::collection::btree_set("[a-c]{1,3}", 0..30),
        pos in 0u32..2000,
    ) {
        let routes: Vec<_> = texts.iter().enumerate().map(|(at, text)| (text.as_bytes(), 2, at as u32)).collect();
        let expected = id.rsplit_once('.').and_then(|(_, text)| texts.iter().position(|route| route == text));
        prop_assert_eq!(lead(&with(&routes), pos, id.as_bytes()), expected.map(|at| (2, at as u32)));
    }
}
