//! Connections that carry more than the circle of sequence numbers is long.

use super::rig::*;
use crate::verdict::Verdict;

/// Bytes between two segments that a test shows: less than may be lost in one go.
const STEP: i64 = 8 << 20;
/// More than twice round.
const LONG: i64 = 10 << 30;

/// Every so many bytes of a download passes, and what its client acknowledges of it. How far it has come.
fn down(rig: &mut Rig, index: u8, client: i64, begins: i64, until: i64) -> i64 {
    let mut said = begins;
    for from in (begins..until).step_by(STEP as usize) {
        said = from + 10;
        rig.answers(index, from, b"some of it", client);
        assert_eq!(rig.verdict, Verdict::ToClient, "{from}");
        rig.client(Seg { from: client, acked: said, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ToBackend, "{from}");
    }
    said
}

fn up(rig: &mut Rig, index: u8, begins: i64, until: i64, director: i64) -> i64 {
    let mut said = begins;
    for from in (begins..until).step_by(STEP as usize) {
        said = from + 10;
        rig.says(from, b"some of it", director);
        assert_eq!(rig.verdict, Verdict::ToBackend, "{from}");
        rig.backend(index, Seg { from: director, acked: said, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ToClient, "{from}");
    }
    said
}

#[test]
fn a_download_of_ten_gibibytes() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = get("");
        rig.says(client, &request, director);
        let client = client + len(&request);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").into_bytes();
        rig.answers(index, director, &head, client);
        let director = director + len(&head);
        down(&mut rig, index, client, director, director + LONG - 10);
        rig.answers(index, director + LONG - 10, b"the end 10", client);
        assert_eq!(rig.flow().outstanding, 0);
        // And the connection goes on.
        rig.client(Seg { from: client, acked: director + LONG, ..Seg::default() });
        assert_eq!(data(&rig.says(client, &request, director + LONG)), request);
    }
}

#[test]
fn an_upload_of_ten_gibibytes() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LONG}\r\n\r\n").into_bytes();
        rig.says(client, &head, director);
        let client = client + len(&head);
        up(&mut rig, index, client, client + LONG - 10, director);
        rig.says(client + LONG - 10, b"the end 10", director);
        let client = client + LONG;
        let answer = response("", 10);
        assert_eq!(data(&rig.answers(index, director, &answer, client)), answer);
        assert_eq!(rig.flow().outstanding, 0);
        let request = get("");
        assert_eq!(data(&rig.says(client, &request, director + len(&answer))), request);
    }
}

#[test]
fn a_tunnel_of_ten_gibibytes_each_way() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let head = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n";
        rig.says(client, head, director);
        let (client, answer) = (client + len(head), b"HTTP/1.1 200 OK\r\n\r\n");
        rig.answers(index, director, answer, client);
        let director = director + len(answer);
        let client = up(&mut rig, index, client, client + LONG, director);
        let director = down(&mut rig, index, client, director, director + LONG);
        up(&mut rig, index, client, client + LONG, director);
    }
}
