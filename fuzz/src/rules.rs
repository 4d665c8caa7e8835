//! Fuzz target: rules, beside servers each of which reads requests in a way of its own.
//!
//! What a condition says of a request has to be what every one of them would say, or nothing: the request is then ambiguous.

#[path = "../../balancer-ebpf/src/rules/evasion.rs"]
#[expect(dead_code, unreachable_pub, reason = "a table of the core's, of which only the requests are wanted here")]
mod evasion;
mod server;

use balancer_ebpf::host::Machine;
use balancer_ebpf::http::{Head, Scan, Scanned, scan_request};
use balancer_ebpf::layout::{
    Address, BUFFER_BYTES, Buffer, CONDITION_BELOW, CONDITION_EQUALS, CONDITION_HEADER, CONDITION_HOST, CONDITION_PATH,
    CONDITION_QUERY, Condition, ListenerKey, Name, RuleSet, Text,
};
use balancer_ebpf::rules::{Conditions, Holds, Ruled, Scratch, find, holds};

use crate::Plain;
use crate::stream::rule;
use server::{Request, SERVERS};

/// What a rule asks for.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Path(&'static str),
    /// A name, with `*.` before it for those below it; and the port, or 0.
    Host(&'static str, u16),
    Header(&'static str, Option<&'static str>),
    Query(&'static str, Option<&'static str>),
}

const ASKS: [Asks; 11] = [
    Asks::Path("/shop"),
    Asks::Path("/admin/area"),
    Asks::Host("admin.example.org", 0),
    Asks::Host("*.shops.example.org", 8080),
    Asks::Host("[2001:db8::1]", 0),
    Asks::Header("x-app", Some("shop")),
    Asks::Header("x-admin", None),
    Asks::Query("app", Some("admin")),
    Asks::Query("shop", None),
    Asks::Query("a", Some("")),
    Asks::Path("/"),
];

struct Machinery;
impl Machine for Machinery {
    type Cpu = Plain;
}
impl Conditions for Machinery {}

/// The head of a request, without the blank line behind it.
pub fn check(data: &[u8]) {
    let bytes = [data, b"\r\n"].concat();
    if bytes.len() > BUFFER_BYTES {
        return;
    }
    let said = say(&bytes, *b"/shop;%2");
    assert_eq!(said, say(&bytes, [0; 8]), "what lies behind a head is looked at: {}", bytes.escape_ascii());
    let Some(said) = said else { return };
    let mut fields = vec![httparse::EMPTY_HEADER; 1024];
    let Some(request) = Request::read(&bytes, &mut fields) else { return };
    for (asks, said) in ASKS.iter().zip(said) {
        let Some(said) = said else { continue };
        for server in SERVERS {
            assert_eq!(said, server.says(asks, &request), "{asks:?} to {server:?}: {}", bytes.escape_ascii());
        }
    }
}

/// What each condition says of a request, if that is certain. `None` if it is none that could be read.
fn say(bytes: &[u8], behind: [u8; 8]) -> Option<[Option<bool>; ASKS.len()]> {
    let mut buffer = Box::new(Buffer::new());
    buffer.words.fill(u64::from_le_bytes(behind));
    buffer.fill(0, bytes);
    let mut scan = Scan::new();
    if scan_request::<Plain>(&mut scan, &buffer, bytes.len() as u32, &rule()) != Scanned::Complete {
        return None;
    }
    let said = ASKS.map(|asks| {
        let scratch = Scratch::default();
        scratch.begin::<Plain>(&Address::NONE);
        match holds::<Plain>(&condition(asks), &buffer, &scan.head, &scratch) {
            Holds::Yes => Some(true),
            Holds::No => Some(false),
            Holds::Ambiguous => None,
        }
    });
    together(&buffer, &scan.head, &said);
    Some(said)
}

/// All of them as rules of one listener: the first that holds counts, unless one before is not certain.
fn together(buffer: &Buffer, head: &Head, said: &[Option<bool>; ASKS.len()]) {
    let mut set = Box::new(RuleSet::new(ListenerKey { address: Address::NONE, port: [0; 2], zero: [0; 2] }));
    for (index, asks) in ASKS.into_iter().enumerate() {
        set.conditions[index] = Condition { service: index as u32, ..condition(asks) };
    }
    set.count = ASKS.len() as u32;
    let scratch = Scratch::default();
    scratch.begin::<Plain>(&Address::NONE);
    let ruled = find(&Machinery, &set, buffer, head, &scratch);
    match said.iter().enumerate().find(|(_, said)| **said != Some(false)) {
        None => assert_eq!(ruled, Ruled::Unmatched),
        Some((_, None)) => assert_eq!(ruled, Ruled::Ambiguous),
        Some((index, Some(_))) => {
            assert_eq!((ruled, scratch.service::<Plain>()), (Ruled::Matched, index as u32));
        }
    }
}

fn condition(asks: Asks) -> Condition {
    let text = |text: &str| Text::new(text.as_bytes()).expect("texts are short");
    let named = |kind, name: &str, value: Option<&str>| Condition {
        kind,
        name: Name::new(name.as_bytes()).expect("names are short"),
        text: text(value.unwrap_or_default()),
        flags: if value.is_some() { CONDITION_EQUALS } else { 0 },
        ..Condition::ANY
    };
    match asks {
        Asks::Path(path) => Condition { kind: CONDITION_PATH, text: text(path), ..Condition::ANY },
        Asks::Host(name, port) => Condition {
            kind: CONDITION_HOST,
            text: text(name.strip_prefix("*.").unwrap_or(name)),
            flags: if name.starts_with("*.") { CONDITION_BELOW } else { 0 },
            port: port.into(),
            ..Condition::ANY
        },
        Asks::Header(name, value) => named(CONDITION_HEADER, name, value),
        Asks::Query(name, value) => named(CONDITION_QUERY, name, value),
    }
}

/// The table of evasion, for the fuzzer to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    evasion::TABLE.iter().map(|(head, _)| head.as_bytes().to_vec()).collect()
}
