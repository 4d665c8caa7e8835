//! Every outcome of a packet, each with its counter and its action: the table of the data path.

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The host's stack gets it.
    Pass,
    /// It ends here.
    Drop,
    /// It leaves, as it is now, by the work's egress.
    Send,
    /// XDP only: the TC program of the same interface gets it, unchanged.
    Up,
}

macro_rules! verdicts {
    ($($(#[$doc:meta])* $name:ident $label:literal $action:ident,)*) => {
        /// Every outcome of a packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Verdict { $($(#[$doc])* $name,)* }

        impl Verdict {
            /// What is done with the packet.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)* }
            }
            /// Back from its number; the compiler sees that nothing changes.
            #[inline(always)]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $(_ if number == Self::$name as u32 => Self::$name,)*
                    _ => Self::Malformed,
                }
            }
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            /// The names of the counters, by index.
            pub const NAMES: &[&str] = &[$($label,)*];
        }
    };
}

verdicts! {
    /// Not for a listener and not from a leg.
    NotOurs "not_ours" Pass,
    /// TCP for a listener with options in the IP header.
    IpOptions "drop_ip_options" Drop,
    /// A fragment for a listener, of either family.
    Fragment "drop_fragment" Drop,
    /// The only fragment of its packet, for a listener: IPv6 only.
    AtomicFragment "drop_atomic_fragment" Drop,
    /// TCP for a listener behind other extension headers of IPv6.
    ExtensionHeaders "drop_extension_headers" Drop,
    /// A frame with a VLAN's tag, which is for another interface: the VLAN's.
    Tagged "vlan_tagged" Pass,
    /// Lengths that contradict each other.
    Malformed "drop_malformed" Drop,
    /// The packet could not be read or changed by the kernel's helpers.
    Unwritable "drop_unwritable" Drop,
    /// Only TC can do what this packet needs.
    NeedsGrowth "up_to_tc" Up,
    /// A SYN was answered with a cookie.
    SynCookie "syn_answered" Send,
    /// A SYN for a flow that lives was answered with the flow's numbers.
    SynChallenged "syn_challenged" Send,
    /// Another one came within half a second.
    SynIgnored "drop_syn_ignored" Drop,
    /// A cookie came back and a flow began.
    FlowBegun "flow_begun" Drop,
    /// A segment of no flow whose cookie does not hold, but that may belong to one that is about to begin.
    EarlySegment "drop_early_segment" Drop,
    /// A segment of no flow, answered with RST.
    UnknownReset "unknown_reset" Send,
    /// The same, over the rate that RSTs are limited to; or a RST itself.
    Unknown "drop_unknown" Drop,
    /// No slot was free.
    FlowsFull "drop_flows_full" Drop,
    /// No stash was free.
    StashesFull "drop_stashes_full" Drop,
    /// Another CPU held the flow for too long.
    Busy "drop_busy" Drop,
    /// The kernel's hash table refused an update.
    MapError "drop_map_error" Drop,
    /// The daemon has not written what this needs.
    NoConfig "drop_no_config" Drop,
    /// To the backend, translated.
    ToBackend "to_backend" Send,
    /// To the client, translated.
    ToClient "to_client" Send,
    /// A request was decided and went to the leg that was there.
    RequestSame "request_same_leg" Send,
    /// A request was decided and opened the first leg.
    RequestOpen "request_new_leg" Send,
    /// A request was decided for another backend in mid-connection.
    RequestRebind "request_rebound" Send,
    /// A request of several segments left its stash for the leg that was there.
    RequestFromStash "request_from_stash" Send,
    /// The client closed in the middle of a head: both ends are reset.
    HeadCut "request_head_cut_reset" Send,
    /// Part of a request head: stashed and acknowledged.
    HeadPart "request_head_part" Send,
    /// More of a request that waits for its leg.
    Stashed "request_stashed" Drop,
    /// A request belongs elsewhere while the previous response is not complete: it comes again.
    RebindWaits "drop_rebind_waits" Drop,
    /// A request came while an exclusive flip waits for the old version: it comes again.
    Held "drop_held" Drop,
    /// The policy changed while the request was decided, again and again.
    Undecided "drop_undecided" Drop,
    /// Client's data beyond a head that has not been seen.
    BeyondHead "drop_beyond_request_head" Drop,
    /// Client's data that does not fit the stash, or lies further ahead of all that was seen than any window.
    BeyondStash "drop_beyond_stash" Drop,
    /// Client's data from before the present leg.
    BeforeLeg "drop_before_leg" Drop,
    /// Client's segment without data while there is no leg.
    NoLeg "drop_no_leg" Drop,
    /// A probe while there is no leg, answered by the director.
    ProbeAnswered "probe_answered" Send,
    /// A client's FIN without a leg, answered by the director.
    FinAnswered "fin_answered" Send,
    /// The client reset the connection.
    ClientReset "client_reset" Send,
    /// The same, and there was no leg.
    ClientResetAlone "client_reset_no_leg" Drop,
    /// A RST whose sequence number is not in the window, or not what the director expects where it has to judge alone.
    ForgedReset "drop_forged_reset" Drop,
    /// The SYN was sent to the same backend again.
    SynAgain "syn_again" Send,
    /// A silent backend was given up for another.
    BackendSilent "backend_silent" Send,
    /// A backend refused the SYN; another got it.
    BackendRefused "backend_refused" Send,
    /// No backend is left to try.
    NoBackend "no_backend_reset" Send,
    /// The kernel knows no route or neighbour towards the backend.
    NoRoute "drop_no_route" Drop,
    /// The leg is up; the stash went out on it.
    LegUp "leg_up" Send,
    /// A SYN-ACK that is no answer to our SYN, or came twice.
    StraySynAck "drop_stray_syn_ack" Drop,
    /// The backend's options are not what the listener promised.
    OptionsMismatch "options_mismatch_reset" Send,
    /// An old connection answered the SYN: RST and the SYN again.
    ChallengeAck "challenge_ack" Send,
    /// A segment of an old leg, answered with RST.
    OldLeg "old_leg_reset" Send,
    /// The same, a RST: nothing to answer.
    OldLegReset "drop_old_leg" Drop,
    /// Backend's data beyond a head that has not been seen, or further ahead than any window.
    BeyondResponseHead "drop_beyond_response_head" Drop,
    /// An idle backend's FIN before the client has acknowledged the response: it comes again.
    EndWaits "drop_end_waits" Drop,
    /// Response bytes without a request: both ends are reset.
    ResponseUnasked "response_unasked_reset" Send,
    /// The client closed, and its leg went to the pool: the director answers the FIN, and acknowledges the response to the
    /// backend.
    LegParked "fin_answered_leg_parked" Send,
    /// A request was decided and went out on a leg from the pool.
    RequestPooled "request_pooled_leg" Send,
    /// The client has acknowledged the end of a flow that has no leg.
    FlowEnded "flow_ended" Drop,
    /// A bare acknowledgement of a request on a leg from the pool, before the response shows that the leg lives.
    AckHeld "ack_held" Drop,
    /// Only the acknowledgement of a segment went to the backend, whose data has to wait.
    AckAlone "ack_alone_to_backend" Send,
    /// No slot was free for a new leg: the request comes again.
    LegsFull "drop_legs_full" Drop,
    /// A leg at the client's own address would have the ports of another connection: both ends are reset.
    LegTaken "leg_taken_reset" Send,
    /// The backend closed a leg that was idle in its pool.
    IdleLegClosed "idle_leg_closed" Send,
    /// The same by a RST.
    IdleLegReset "idle_leg_reset" Drop,
    /// A byte came from an idle leg that nobody asked for: the leg is reset.
    IdleLegSpoke "idle_leg_spoke_reset" Send,
    /// An idle leg's retransmission or keep-alive probe was answered.
    IdleLegProbed "idle_leg_probed" Send,
    /// An idle leg acknowledged what it had.
    IdleLegQuiet "idle_leg_quiet" Drop,
    /// Backend's data from before the flow had the leg.
    BeforeFlow "drop_before_flow" Drop,
    /// An idle backend closed or reset its leg; the client does not notice.
    LegLost "leg_lost_idle" Send,
    /// The backend reset the connection while it worked on a request.
    BackendReset "backend_reset" Send,
    /// The next request of a flow whose response is not framed belongs elsewhere: both ends are reset.
    UnframedMoved "unframed_moved_reset" Send,
    /// The client has the last answer of a flow that could not be followed further: its leg is reset.
    UnframedClosed "unframed_closed" Send,
    /// A request waits for its turn behind the backend's last answer: both ends are reset.
    BehindLast "behind_last_answer_reset" Send,
    /// A flow was closed because a drain came to its deadline: both ends are reset.
    ClosedOutside "closed_by_drain_reset" Send,
    /// The copy of a request that was held came in again, in its client's stead.
    Released "request_released" Send,
    /// No backend may have the request, or none is there: the director answered with a 503.
    Rejected "answered_unavailable" Send,
    /// No rule of the listener leads the request to a service, or none may: the director answered with a 404 or a 400.
    NoService "answered_no_service" Send,
    /// What the client still sent of such a request was acknowledged.
    RejectedAck "answered_unavailable_ack" Send,
    /// A request that cannot be framed: from here on the flow stays where it is.
    Unframed "request_unframed" Send,
    /// A router on the way to a client does not let packets of this size pass: the backend is told.
    TooBigToClient "too_big_told_backend" Send,
    /// The same on the way to a backend: the client is told.
    TooBigToBackend "too_big_told_client" Send,
    /// A router speaks of a packet that is not under way: a late word, or a forged one.
    TooBigStray "drop_too_big_stray" Drop,
    /// A segment was damaged on its way, and what it says or carries would be acted on: its sender sends it again.
    BadChecksum "drop_bad_checksum" Drop,
    /// A client's acknowledgement, after thousands that said nothing, without a pause: two ends that acknowledge each other for ever.
    AckStorm "drop_ack_storm" Drop,
}

macro_rules! notes {
    ($($(#[$doc:meta])* $name:ident $label:literal,)*) => {
        /// Counters that are not a packet's verdict but something noticed on the way.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Note { $($(#[$doc])* $name,)* }

        impl Note {
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            /// The names of the counters, by index from [`Verdict::NAMES`]`.len()` on.
            pub const NAMES: &[&str] = &[$($label,)*];
        }
    };
}

notes! {
    /// A response issued a session id, and it was bound.
    SessionIssued "session_issued",
    /// An issued id came back.
    SessionPresented "session_presented",
    /// A binding of an old generation was moved.
    SessionMoved "session_moved",
    /// A response deleted its session.
    SessionDeleted "session_deleted",
    /// A response gave a session another id; the old one keeps its place for a while.
    SessionRenamed "session_renamed",
    /// An id that was known nowhere was bound, as the service is told to.
    SessionAdopted "session_adopted",
    /// A response head could not be read to its end (longer than is followed, or not framed): an id in it stays unbound.
    ResponseUnlearned "response_unlearned",
    /// Both buckets of an id were full of sessions that it may not displace.
    SessionsFull "sessions_full",
    /// An issued id that nobody presented made room for another.
    SessionEvicted "session_evicted",
    /// A binding's backend takes no work: another one of the version got the request.
    BoundBackendDown "bound_backend_down",
    /// A version has no backend that takes work: another version got the request.
    VersionDown "version_down",
    /// The version that a request would have to get is gone or has no backend that takes work: it was answered with a 503.
    VersionMissing "version_missing",
    /// No rule of the listener matched a request.
    RuleUnmatched "rule_unmatched",
    /// Rules could not be applied to a request, which servers might read differently.
    RuleAmbiguous "rule_ambiguous",
    /// A tester's pin chose the version.
    RequestPinned "request_pinned",
    /// An operator's override of a session did.
    RequestOverridden "request_overridden",
    /// Nobody read what was told of a pinned request fast enough.
    EventLost "event_lost",
    /// A request is held, and nobody will know of it before its client sends it again.
    HeldForgotten "held_forgotten",
    /// More candidate ids than are tried.
    MoreIds "more_ids",
    /// An idle flow was collected.
    FlowCollected "flow_collected",
    /// A response without a length, or otherwise not framed.
    ResponseUnframed "response_unframed",
    /// A segment was cut at a boundary.
    Trimmed "trimmed",
    /// A copy could not be sent.
    CopyFailed "copy_failed",
    /// A leg went to its pool.
    LegParked "leg_parked",
    /// The backend closed a leg from the pool at the moment that a request went out on it, which went to another leg.
    LegRaced "leg_raced",
    /// A request whose body is not followed: in chunks, or a tunnel.
    RequestUnframed "request_body_unframed",
}

/// Counters in all: verdicts first, then notes, then one for each reason that a head is not framed.
pub const COUNTERS: u32 = (Verdict::NAMES.len() + Note::NAMES.len() + 32) as u32;

impl Note {
    /// The counter's index.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        Verdict::NAMES.len() as u32 + self as u32
    }
}

/// The counter of a reason for which a head is not framed.
#[inline(always)]
pub const fn unframed(reason: crate::http::Scanned) -> u32 {
    Verdict::NAMES.len() as u32 + Note::NAMES.len() as u32 + (reason as u32 & 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::http::Scanned;

    #[test]
    fn every_outcome_has_a_counter_and_a_name_of_its_own() {
        assert_eq!(Verdict::NAMES.len(), Verdict::ALL.len());
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
        }
        assert_eq!(Note::NAMES.len(), Note::ALL.len());
        for (index, note) in Note::ALL.iter().enumerate() {
            assert_eq!(*note as usize, index);
            assert_eq!(note.counter() as usize, Verdict::NAMES.len() + index);
        }
        let mut names = HashSet::new();
        for name in Verdict::NAMES.iter().chain(Note::NAMES) {
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
    }

    #[test]
    fn names_say_what_becomes_of_the_packet() {
        for (verdict, name) in Verdict::ALL.iter().zip(Verdict::NAMES) {
            let dropped = name.starts_with("drop_");
            let may = match verdict.action() {
                // A few drops are no failure: what the packet was good for has been done.
                Action::Drop => {
                    dropped
                        || matches!(
                            verdict,
                            Verdict::FlowBegun
                                | Verdict::Stashed
                                | Verdict::ClientResetAlone
                                | Verdict::FlowEnded
                                | Verdict::AckHeld
                                | Verdict::IdleLegReset
                                | Verdict::IdleLegQuiet
                        )
                }
                Action::Pass | Action::Send | Action::Up => !dropped,
            };
            assert!(may, "{name} is {:?}", verdict.action());
        }
    }

    #[test]
    fn there_are_counters_for_all_reasons() {
        let mut counters: HashSet<_> = (0..Verdict::NAMES.len() as u32).collect();
        counters.extend(Note::ALL.iter().map(|note| note.counter()));
        let reasons = (0..=Scanned::NotHttp as u32).map(Scanned::from_number);
        let mut seen = 0;
        for reason in reasons {
            seen += 1;
            assert!(counters.insert(unframed(reason)), "{reason:?} shares a counter");
        }
        assert_eq!(counters.len(), Verdict::NAMES.len() + Note::NAMES.len() + seen);
        assert!(counters.iter().all(|counter| *counter < COUNTERS));
    }
}
