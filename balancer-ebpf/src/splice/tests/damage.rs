//! Segments that were damaged on their way: nothing is decided on them, learned from them or acknowledged, and nobody gets them with a
//! checksum that is right.

use etherparse::{Ipv4Header, TcpHeader};

use super::rig::*;
use crate::layout::FLOW_SPLICED;
use crate::net::{ACK, FIN, RST};
use crate::verdict::Verdict;

/// The last byte of a frame, and where TCP's ports, numbers, flags and window lie.
const LAST: isize = -1;
const SOURCE_PORT: isize = 35;
const SEQ: isize = 40;
const ACKNOWLEDGED: isize = 45;
const FLAGS: isize = 47;
const WINDOW: isize = 48;

/// Whether the TCP checksum of a frame is wrong, as its receiver sees it.
fn shows_damage(frame: &[u8]) -> bool {
    let (ip, rest) = Ipv4Header::from_slice(&frame[14..]).unwrap();
    let (tcp, payload) = TcpHeader::from_slice(rest).unwrap();
    tcp.checksum != tcp.calc_checksum_ipv4(&ip, payload).unwrap()
}

/// N1.
#[test]
fn a_request_is_not_decided_on_a_head_that_was_damaged() {
    for hook in HOOKS {
        for at in [LAST, 60, 70, ACKNOWLEDGED, WINDOW] {
            let mut rig = Rig::new(hook);
            rig.connect();
            rig.damage = Some(at);
            rig.says(0, &get("some"), 0);
            assert_eq!((rig.verdict, rig.stashes()), (Verdict::BadChecksum, 0), "{at}");
            assert_eq!(rig.left_damaged, Vec::<Vec<u8>>::new());
            // It comes again, and is as good as the first.
            let index = rig.opens(0, &get("some"), 0);
            assert_eq!(data(&rig.accepts(index)), get("some"));
        }
    }
}

#[test]
fn part_of_a_head_is_neither_kept_nor_acknowledged() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        rig.damage = Some(LAST);
        rig.says(0, b"GET /hal", 0);
        assert_eq!((rig.verdict, rig.stashes()), (Verdict::BadChecksum, 0));
    }
}

#[test]
fn a_session_is_not_learned_from_a_head_that_was_damaged() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let first = get("");
        rig.says(client, &first, director);
        let answer = response("Set-Cookie: JSESSIONID=right\r\n", 0);
        let sent = rig.flow().sent;
        rig.damage = Some(LAST);
        rig.answers(index, director, &answer, client + len(&first));
        assert_eq!((rig.verdict, rig.flow().sent, rig.in_flight(0)), (Verdict::BadChecksum, sent, 1));
        rig.answers(index, director, &answer, client + len(&first));
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, 0));
    }
}

#[test]
fn no_number_of_a_bare_segment_is_believed() {
    for hook in HOOKS {
        for flags in [ACK, FIN | ACK, RST] {
            for at in [SEQ, ACKNOWLEDGED, WINDOW, FLAGS] {
                let (mut rig, index, client, director) = Rig::served(hook);
                let before = format!("{:?}", rig.flow());
                rig.damage = Some(at);
                rig.client(Seg { from: client, acked: director, flags, ..Seg::default() });
                assert_eq!((rig.verdict, format!("{:?}", rig.flow())), (Verdict::BadChecksum, before.clone()), "{at}");
                rig.damage = Some(at);
                rig.backend(index, Seg { from: director, acked: client, flags, ..Seg::default() });
                assert_eq!((rig.verdict, format!("{:?}", rig.flow())), (Verdict::BadChecksum, before), "{at}");
                assert_eq!(rig.flow().state, FLOW_SPLICED);
            }
        }
    }
}

#[test]
fn a_connection_does_not_begin_with_damage() {
    for hook in HOOKS {
        for at in [SOURCE_PORT, SEQ, ACKNOWLEDGED] {
            let mut rig = Rig::new(hook);
            rig.damage = Some(at);
            rig.knocks();
            assert_eq!(rig.verdict, Verdict::BadChecksum, "{at}");
            rig.knocks();
            assert_eq!(rig.verdict, Verdict::SynCookie, "{at}");
            rig.damage = Some(at);
            rig.client(Seg::default());
            assert_eq!(rig.verdict, Verdict::BadChecksum, "{at}");
            rig.client(Seg::default());
            assert_eq!(rig.verdict, Verdict::FlowBegun, "{at}");
        }
    }
}

/// N1.
#[test]
fn what_only_goes_on_shows_its_damage() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = post(3000);
        rig.says(client, &request[..1000], director);
        rig.damage = Some(LAST);
        rig.says(client + 1000, &request[1000..2000], director);
        assert_eq!(rig.verdict, Verdict::ToBackend);
        assert!(matches!(&rig.left_damaged[..], [frame] if shows_damage(frame)));
        let rest = rig.says(client + 1000, &request[1000..], director);
        assert_eq!(data(&rest), &request[1000..]);
        let answer = response("", 3000);
        let acked = client + len(&request);
        rig.answers(index, director, &answer[..1000], acked);
        rig.damage = Some(LAST);
        rig.answers(index, director + 1000, &answer[1000..2000], acked);
        assert_eq!(rig.verdict, Verdict::ToClient);
        assert!(matches!(&rig.left_damaged[..], [frame] if shows_damage(frame)));
    }
}
