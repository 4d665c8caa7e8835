//! Rules against an oracle that reads strings, and against requests that want to be taken for others.

use proptest::prelude::*;

use super::evasion::{Goes, RULES, TABLE};
use super::*;
use crate::http::{Scan, Scanned, scan_request};
use crate::layout::{CONDITION_BELOW, CONDITION_EQUALS, ListenerKey, Name, RULES_REJECT_AMBIGUOUS, SessionRule};
use crate::plain::Plain;

struct Machinery;
impl Machine for Machinery {
    type Cpu = Plain;
}
impl Conditions for Machinery {}

const SERVICES: [&str; 3] = ["site", "shop", "admin"];
const SOURCE: [u8; 4] = [192, 0, 2, 77];

/// A condition as it stands in a config.
fn condition(key: &str, value: &str) -> Condition {
    let text = |text: &str| Text::new(text.as_bytes()).unwrap();
    let of = |kind| Condition { kind, ..Condition::ANY };
    let valued = |kind, separator: &str| {
        let (name, value) = value.split_once(separator).map_or((value, None), |(name, value)| (name, Some(value)));
        let lower = name.to_ascii_lowercase();
        let name = if kind == CONDITION_HEADER { &lower } else { name };
        Condition {
            name: Name::new(name.as_bytes()).unwrap(),
            text: text(value.unwrap_or_default().trim()),
            flags: if value.is_some() { CONDITION_EQUALS } else { 0 },
            ..of(kind)
        }
    };
    match key {
        "host" => {
            let (name, port) = match value.rsplit_once(':') {
                Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap()),
                _ => (value, 0),
            };
            let below = name.starts_with("*.");
            let name = name.strip_prefix("*.").unwrap_or(name);
            Condition { text: text(name), port, flags: if below { CONDITION_BELOW } else { 0 }, ..of(CONDITION_HOST) }
        }
        "path" => Condition { text: text(value), ..of(CONDITION_PATH) },
        "target_prefix" => Condition { text: text(value), ..of(CONDITION_TARGET_PREFIX) },
        "target_contains" => Condition { text: text(value), ..of(CONDITION_TARGET_CONTAINS) },
        "header" => valued(CONDITION_HEADER, ":"),
        "query" => valued(CONDITION_QUERY, "="),
        "source" => {
            let (network, bits) = value.split_once('/').unwrap();
            let network: std::net::IpAddr = network.parse().unwrap();
            // An IPv4 address stands behind 96 bits of its own.
            let bits = bits.parse::<u32>().unwrap() + if network.is_ipv4() { 96 } else { 0 };
            let mask = Address::from_bytes(u128::MAX.checked_shl(128 - bits).unwrap_or(0).to_be_bytes());
            Condition { network: network.into(), mask, ..of(CONDITION_SOURCE) }
        }
        other => panic!("no condition is called {other}"),
    }
}

/// Rules, each with the conditions that it has and the service that it leads to.
fn set(rules: &[(Vec<Condition>, u32)]) -> Box<RuleSet> {
    let mut set = Box::new(RuleSet::new(ListenerKey { address: Address::NONE, port: [0; 2], zero: [0; 2] }));
    (set.default, set.flags) = (0, RULES_REJECT_AMBIGUOUS);
    for (conditions, service) in rules {
        for (index, condition) in conditions.iter().enumerate() {
            let last = index + 1 == conditions.len();
            set.conditions[set.count as usize] =
                Condition { service: if last { *service } else { NONE }, ..*condition };
            set.count += 1;
        }
    }
    set
}

/// Rules written as `key = "value", …, service = "name"`.
fn written(rules: &[&str]) -> Box<RuleSet> {
    let rule = |text: &&str| {
        let pairs = text.split("\", ").map(|pair| pair.trim_end_matches('"').split_once(" = \"").unwrap());
        let (mut conditions, mut service) = (Vec::new(), None);
        for (key, value) in pairs {
            match key {
                "service" => service = SERVICES.iter().position(|name| *name == value),
                _ => conditions.push(condition(key, value)),
            }
        }
        if conditions.is_empty() {
            conditions.push(Condition::ANY);
        }
        (conditions, service.unwrap() as u32)
    };
    set(&rules.iter().map(rule).collect::<Vec<_>>())
}

/// What becomes of a head, and how many conditions were looked at.
fn ruled(set: &RuleSet, head: &[u8]) -> Option<(Ruled, u32)> {
    let mut buffer = Box::new(Buffer::new());
    // Whatever lies behind a head, nobody looks at it.
    buffer.words.fill(u64::from_le_bytes(*b"/shop;%2"));
    buffer.fill(0, head);
    let name = |text: &str| Name::new(text.as_bytes()).unwrap();
    let rule = SessionRule::new(name("JSESSIONID"), name("jsessionid"));
    let mut scan = Scan::new();
    if scan_request::<Plain>(&mut scan, &buffer, head.len() as u32, &rule) != Scanned::Complete {
        return None;
    }
    let scratch = Scratch::default();
    scratch.begin::<Plain>(&SOURCE.into());
    let ruled = find(&Machinery, set, &buffer, &scan.head, &scratch);
    Some((ruled, scratch.service::<Plain>()))
}

fn goes(set: &RuleSet, head: &str) -> Goes {
    match ruled(set, format!("{head}\r\n").as_bytes()) {
        None => Goes::Unread,
        Some((Ruled::Matched, service)) => Goes::To(SERVICES[service as usize]),
        Some((Ruled::Unmatched, _)) => Goes::To(SERVICES[0]),
        Some((Ruled::Ambiguous, _)) => Goes::Ambiguous,
    }
}

/// D19: the table of evasion.
#[test]
fn nobody_is_taken_for_another() {
    let set = written(RULES);
    let wrong: Vec<_> = TABLE
        .iter()
        .map(|(head, wanted)| (head, goes(&set, head), wanted))
        .filter(|(_, goes, wanted)| goes != *wanted)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// D19: whatever else a rule may look at, on one request.
#[test]
fn each_kind_of_condition_is_looked_at() {
    let head = "GET /shop/a?b=c HTTP/1.1\r\nHost: shop.example.org:8080\r\nX-One: 1\r\n";
    let table: &[(&str, Goes)] = &[
        (r#"service = "shop""#, Goes::To("shop")),
        (r#"path = "/", service = "shop""#, Goes::To("shop")),
        (r#"path = "/shop/a", service = "shop""#, Goes::To("shop")),
        (r#"target_prefix = "/sho", service = "shop""#, Goes::To("shop")),
        (r#"target_prefix = "/shop/a?b=", service = "shop""#, Goes::To("shop")),
        (r#"target_prefix = "hop", service = "shop""#, Goes::To("site")),
        (r#"target_contains = "op/a?b", service = "shop""#, Goes::To("shop")),
        (r#"target_contains = "=c", service = "shop""#, Goes::To("shop")),
        (r#"target_contains = "=cc", service = "shop""#, Goes::To("site")),
        (r#"target_contains = "=c HTTP", service = "shop""#, Goes::To("site")),
        (r#"host = "shop.example.org:8080", service = "shop""#, Goes::To("shop")),
        (r#"host = "shop.example.org:80", service = "shop""#, Goes::To("site")),
        (r#"host = "*.example.org", service = "shop""#, Goes::To("shop")),
        (r#"host = "*.org", service = "shop""#, Goes::To("shop")),
        (r#"host = "*.shop.example.org", service = "shop""#, Goes::To("site")),
        (r#"header = "x-one", service = "shop""#, Goes::To("shop")),
        (r#"header = "host: shop.example.org:8080", service = "shop""#, Goes::To("shop")),
        (r#"source = "192.0.2.0/24", service = "shop""#, Goes::To("shop")),
        (r#"source = "192.0.2.77/32", service = "shop""#, Goes::To("shop")),
        (r#"source = "192.0.2.76/32", service = "shop""#, Goes::To("site")),
        (r#"source = "0.0.0.0/0", service = "shop""#, Goes::To("shop")),
        (r#"source = "::/0", service = "shop""#, Goes::To("shop")),
        (r#"source = "2001:db8::/32", service = "shop""#, Goes::To("site")),
        // All of a rule has to hold.
        (r#"path = "/shop", host = "shop.example.org", source = "192.0.2.0/24", service = "shop""#, Goes::To("shop")),
        (r#"path = "/shop", host = "shop.example.com", service = "shop""#, Goes::To("site")),
        (r#"path = "/shops", host = "shop.example.org", service = "shop""#, Goes::To("site")),
    ];
    for (rule, wanted) in table {
        assert_eq!(goes(&written(&[rule]), head), *wanted, "{rule}");
    }
    let escaped = "GET /shop/a?b=%63 HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(goes(&written(&[r#"target_contains = "op/", service = "shop""#]), escaped), Goes::Ambiguous);
    assert_eq!(goes(&written(&[r#"target_prefix = "/shop/a?b=c", service = "shop""#]), escaped), Goes::Ambiguous);
    assert_eq!(goes(&written(&[r#"target_prefix = "/shop/a?b=", service = "shop""#]), escaped), Goes::To("shop"));
}

/// D19: of several that match.
#[test]
fn the_first_rule_that_matches_counts() {
    let head = "GET /shop HTTP/1.1\r\nHost: a\r\n";
    let rules = [r#"path = "/shop", service = "admin""#, r#"path = "/", service = "shop""#];
    assert_eq!(goes(&written(&rules), head), Goes::To("admin"));
    let rules = [r#"path = "/", service = "shop""#, r#"path = "/shop", service = "admin""#];
    assert_eq!(goes(&written(&rules), head), Goes::To("shop"));
    // What comes behind one that matches is not looked at.
    let rules = [r#"path = "/shop", service = "shop""#, r#"host = "a", service = "admin""#];
    assert_eq!(goes(&written(&rules), "GET /shop HTTP/1.1\r\n"), Goes::To("shop"));
    assert_eq!(goes(&written(&[]), head), Goes::To("site"));
}

#[test]
fn long_requests_are_read_to_their_end_or_not_at_all() {
    let set = written(RULES);
    let long = |path: String| goes(&set, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n"));
    assert_eq!(long(format!("/shop/{}", "x".repeat(8000))), Goes::To("shop"));
    assert_eq!(long(format!("/shop/{}/../y", "x".repeat(8000))), Goes::Ambiguous);
    assert_eq!(long(format!("/shop/{}", "x/".repeat(500))), Goes::To("shop"));
    // More segments than anybody follows.
    assert_eq!(long(format!("/shop/{}", "x/".repeat(3000))), Goes::Ambiguous);
    assert_eq!(long(format!("/?{}app=admin", "x&".repeat(900))), Goes::To("admin"));
    assert_eq!(long(format!("/?{}app=admin", "&".repeat(3000))), Goes::Ambiguous);
    let fields = "X: y\r\n".repeat(900);
    assert_eq!(goes(&set, &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}X-App: shop\r\n")), Goes::To("shop"));
    let host = |len: usize| goes(&set, &format!("GET / HTTP/1.1\r\nHost: {}\r\n", "a".repeat(len)));
    assert_eq!((host(200), host(253), host(300)), (Goes::To("site"), Goes::To("site"), Goes::Ambiguous));
    // As many conditions as there may be.
    let many: Vec<_> = (0..MAX_CONDITIONS).map(|n| format!(r#"path = "/{n}", service = "shop""#)).collect();
    let many = written(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let last = MAX_CONDITIONS - 1;
    assert_eq!(goes(&many, &format!("GET /{last} HTTP/1.1\r\nHost: a\r\n")), Goes::To("shop"));
    assert_eq!(goes(&many, &format!("GET /{} HTTP/1.1\r\nHost: a\r\n", last + 1)), Goes::To("site"));
}

/// What a condition says of a request: read with strings, by nobody who knows how the core does it.
mod oracle {
    pub(super) struct Request {
        pub(super) target: String,
        pub(super) fields: Vec<(String, String)>,
    }

    fn path_is_plain(path: &str) -> bool {
        if !path.starts_with('/') || path.contains(['\\', '#']) {
            return false;
        }
        let segments: Vec<&str> = path[1..].split('/').collect();
        for (index, segment) in segments.iter().enumerate() {
            let last = index + 1 == segments.len();
            let name = segment.split(';').next().unwrap();
            if !last && (segment.contains(';') || segment.is_empty()) || name == "." || name == ".." {
                return false;
            }
        }
        escapes_are_plain(path.as_bytes())
    }

    fn escapes_are_plain(path: &[u8]) -> bool {
        let at = |index: usize| -> Option<u8> {
            let digits = path.get(index + 1..index + 3)?;
            (path[index] == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
                .then(|| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        };
        path.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(index, _)| match at(index) {
            None => false,
            Some(byte) if byte < 0x20 || byte == 0x7f || b"./\\;%?#".contains(&byte) => false,
            Some(0xc0 | 0xc1 | 0xf5..) => false,
            // The start of a longer form than it takes (RFC 3629): the next byte would be below.
            Some(0xe0) => {
                path.get(index + 3) == Some(&b'%') && second(path, index).is_some_and(|d| d == 0xa || d == 0xb)
            }
            Some(0xf0) => {
                path.get(index + 3) == Some(&b'%') && second(path, index).is_some_and(|d| (9..=11).contains(&d))
            }
            Some(_) => true,
        })
    }

    fn second(path: &[u8], index: usize) -> Option<u32> {
        char::from(*path.get(index + 4)?).to_digit(16)
    }

    /// `None`: it depends on who reads it.
    pub(super) fn path(request: &Request, wanted: &str) -> Option<bool> {
        if request.target == "*" {
            return Some(false);
        }
        let path = request.target.split('?').next().unwrap();
        if !path_is_plain(path) {
            return None;
        }
        let common = path.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
        if common < wanted.len() && path.as_bytes().get(common) == Some(&b'%') {
            return None;
        }
        let rest = path.strip_prefix(wanted);
        Some(rest.is_some_and(|rest| wanted == "/" || rest.is_empty() || rest.starts_with(['/', ';'])))
    }

    pub(super) fn host(request: &Request, wanted: &str) -> Option<bool> {
        let mut hosts = request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host"));
        let (Some((_, host)), None) = (hosts.next(), hosts.next()) else { return None };
        if !request.target.starts_with('/') && request.target != "*" {
            return None;
        }
        let host = host.trim_matches([' ', '\t']).to_ascii_lowercase();
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, port),
            None => (host.as_str(), ""),
        };
        if !port.is_empty() && (port.starts_with('0') || !port.parse::<u16>().is_ok_and(|_| !port.starts_with('+'))) {
            return None;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let letters = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !name.split('.').all(|label| !label.is_empty() && letters(label)) {
            return None;
        }
        Some(match wanted.strip_prefix('*') {
            Some(tail) => name.len() > tail.len() && name.ends_with(tail),
            None => name == wanted,
        })
    }

    pub(super) fn query(request: &Request, name: &str, value: Option<&str>) -> Option<bool> {
        if request.target == "*" {
            return Some(false);
        }
        if !request.target.starts_with('/') {
            return None;
        }
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        if query.contains('#') {
            return None;
        }
        let mut found = Vec::new();
        for piece in query.split('&') {
            let (key, is) = piece.split_once('=').unwrap_or((piece, ""));
            if key == name {
                if value.is_some() && is.contains(['%', '+']) {
                    return None;
                }
                found.push(is);
            } else if key.contains(['%', '+']) {
                return None;
            }
        }
        match (value, found.as_slice()) {
            (None, found) => Some(!found.is_empty()),
            (Some(_), []) => Some(false),
            (Some(value), [is]) => Some(*is == value),
            (Some(_), _) => None,
        }
    }

    pub(super) fn header(request: &Request, name: &str, value: Option<&str>) -> Option<bool> {
        let found: Vec<&str> = request
            .fields
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_matches([' ', '\t']))
            .collect();
        match (value, found.as_slice()) {
            (None, found) => Some(!found.is_empty()),
            (Some(_), []) => Some(false),
            (Some(value), [is]) => Some(*is == value),
            (Some(_), _) => None,
        }
    }

    pub(super) fn contains(request: &Request, part: &str) -> Option<bool> {
        if request.target == "*" {
            return Some(false);
        }
        let plain = path_is_plain(request.target.split('?').next().unwrap());
        (plain && !request.target.contains('%')).then(|| request.target.contains(part))
    }
}

fn targets() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "shop",
        "admin",
        "a",
        ".",
        "..",
        ";",
        ";x=1",
        "%",
        "%2e",
        "%2F",
        "%73",
        "%e0",
        "%a4",
        "%F0%9f",
        "%c1",
        "?",
        "&",
        "app",
        "=",
        "admin",
        "+",
        "\\",
        "#",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "-",
        "*",
    ]);
    let tail = prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat());
    (prop::sample::select(vec!["/", "/shop", "/shop/", "/admin/area", "", "*", "http://a/"]), tail)
        .prop_map(|(start, tail)| if start.len() + tail.len() == 0 { "/".to_owned() } else { format!("{start}{tail}") })
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop::sample::select(vec!["Host", "host", "X-App", "x-app", "X-Ap", "Accept", "Cookie"]);
    let piece = prop::sample::select(vec![
        "shop",
        ".",
        "example.org",
        "a",
        "A",
        ":",
        "80",
        "0",
        "8080",
        "..",
        " ",
        "\t",
        "admin",
        ",",
        "_",
        "-",
        "%",
        "@",
        "ABCDEFGH",
    ]);
    let value = prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat());
    let value = prop_oneof![value, Just("shop.example.org".to_owned()), Just(" shop ".to_owned())];
    prop::collection::vec((name.prop_map(str::to_owned), value), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    /// D19: an oracle that was written apart from it says the same.
    #[test]
    fn rules_agree_with_an_oracle(target in targets(), fields in fields(), blank in prop::bool::ANY) {
        let request = oracle::Request { target, fields };
        let blank = if blank { " " } else { "" };
        let lines: String = request.fields.iter().map(|(name, value)| format!("{name}:{blank}{value}\r\n")).collect();
        let head = format!("GET {} HTTP/1.1\r\n{lines}", request.target);
        let blanks = |(_, value): &(String, String)| value.starts_with("        ") || value.ends_with("        ");
        prop_assume!(!request.fields.iter().any(blanks));
        let table: Vec<(&str, &str, Option<bool>)> = vec![
            ("path", "/shop", oracle::path(&request, "/shop")),
            ("path", "/admin/area", oracle::path(&request, "/admin/area")),
            ("path", "/", oracle::path(&request, "/")),
            ("host", "shop.example.org", oracle::host(&request, "shop.example.org")),
            ("host", "*.example.org", oracle::host(&request, "*.example.org")),
            ("host", "a", oracle::host(&request, "a")),
            ("header", "X-App", oracle::header(&request, "x-app", None)),
            ("header", "X-App: shop", oracle::header(&request, "x-app", Some("shop"))),
            ("query", "app", oracle::query(&request, "app", None)),
            ("query", "app=admin", oracle::query(&request, "app", Some("admin"))),
            ("target_contains", "shop", oracle::contains(&request, "shop")),
            ("target_contains", "a", oracle::contains(&request, "a")),
        ];
        for (key, value, wanted) in table {
            let set = set(&[(vec![condition(key, value)], 1)]);
            let Some((ruled, _)) = ruled(&set, format!("{head}\r\n").as_bytes()) else { return Ok(()) };
            let wanted = match wanted {
                Some(true) => Ruled::Matched,
                Some(false) => Ruled::Unmatched,
                None => Ruled::Ambiguous,
            };
            prop_assert_eq!(ruled, wanted, "{} {} of {:?}", key, value, head);
        }
    }
}
