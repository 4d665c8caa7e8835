//! Rules: which of a listener's services a request is for.
//!
//! The services of a listener name its index ([`super::Policy::listener`]), and the word of that index points to a block of rules, as a
//! service's word does to its policy: so all rules of a listener change by one store.

use super::policy::packed;
use super::{Address, ListenerKey, NONE, Name};

/// Blocks of a listener: the current one, and the next one.
pub const RULE_BLOCKS: u32 = 2;
/// Conditions of a listener's rules at most.
pub const MAX_CONDITIONS: usize = 128;
/// Bytes of a text that is compared at most.
pub const MAX_TEXT: usize = 128;

/// A text in the words of a buffer; what lies behind its end is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Text {
    pub words: [u64; MAX_TEXT / 8],
    /// How many bytes count.
    pub len: u32,
    pub zero: u32,
}

impl Text {
    /// No text.
    pub const NONE: Self = Self { words: [0; MAX_TEXT / 8], len: 0, zero: 0 };

    /// Packs `text`; `None` if it is longer than [`MAX_TEXT`].
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        Some(Self { words: packed(text), len: text.len() as u32, zero: 0 })
    }
}

/// Every request.
pub const CONDITION_ANY: u32 = 0;
/// The host is `text`, in lower case; with [`CONDITION_BELOW`] one below it. With `port`: and the port.
pub const CONDITION_HOST: u32 = 1;
/// The path is `text`, or lies below it.
pub const CONDITION_PATH: u32 = 2;
/// The target begins with `text`, wherever a segment ends.
pub const CONDITION_TARGET_PREFIX: u32 = 3;
/// The target has `text` in it.
pub const CONDITION_TARGET_CONTAINS: u32 = 4;
/// There is a field `name`, in lower case; with [`CONDITION_EQUALS`] its value is `text`.
pub const CONDITION_HEADER: u32 = 5;
/// There is a parameter `name` in the query; with [`CONDITION_EQUALS`] its value is `text`.
pub const CONDITION_QUERY: u32 = 6;
/// The client's address is in `network`.
pub const CONDITION_SOURCE: u32 = 7;

/// The value counts, not only that it is there.
pub const CONDITION_EQUALS: u32 = 1;
/// Not the host itself, but those below it (`*.example.org`).
pub const CONDITION_BELOW: u32 = 2;

/// One condition. Those of a rule stand behind each other, and all of them have to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Condition {
    /// `CONDITION_*`: what is looked at.
    pub kind: u32,
    /// Of a rule's last condition: the service that the rule leads to; else [`NONE`].
    pub service: u32,
    /// [`CONDITION_EQUALS`], [`CONDITION_BELOW`].
    pub flags: u32,
    /// The port that a host has to be asked for at, or 0.
    pub port: u32,
    /// *Network order.*
    pub network: Address,
    pub mask: Address,
    pub name: Name,
    pub text: Text,
}

impl Condition {
    /// One that holds for every request, in a rule that goes on.
    pub const ANY: Self = Self {
        kind: CONDITION_ANY,
        service: NONE,
        flags: 0,
        port: 0,
        network: Address::NONE,
        mask: Address::NONE,
        name: Name::NONE,
        text: Text::NONE,
    };
}

/// An ambiguous request is answered with a 400, instead of being sent to the default service.
pub const RULES_REJECT_AMBIGUOUS: u32 = 1;

/// All rules of a listener, in their order: the first one whose conditions hold counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RuleSet {
    /// The generation of the word for which the block was written.
    pub generation: u32,
    /// The service of requests that no rule matches, or [`NONE`]: they are answered with a 404.
    pub default: u32,
    /// `RULES_*` bits.
    pub flags: u32,
    /// How many of `conditions` count.
    pub count: u32,
    /// Whose rules these are. A flow of another listener, whose service has moved here meanwhile, is not subject to them.
    pub listener: ListenerKey,
    pub zero: u32,
    pub conditions: [Condition; MAX_CONDITIONS],
}

impl RuleSet {
    /// No rules.
    pub const fn new(listener: ListenerKey) -> Self {
        Self {
            generation: 0,
            default: NONE,
            flags: 0,
            count: 0,
            listener,
            zero: 0,
            conditions: [Condition::ANY; MAX_CONDITIONS],
        }
    }
}
