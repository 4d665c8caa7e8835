//! Brings flows into the states in which a packet is to be measured, by the program itself, and makes the packets.

use anyhow::Result;
use balancer_ebpf::layout::FlowKey;
use balancer_ebpf::verdict::Verdict;

use crate::progrun::frames::{Numbers, greeting, segment};
use crate::progrun::talk::Talk;
use crate::progrun::{COOKIE, FlowBytes, Programs, Setting, World};

/// What has to be put back after a packet.
pub(super) enum Restore {
    Nothing,
    /// The flow in a slot.
    Flow(u32, Box<FlowBytes>),
    /// A flow that the packet began is taken away again.
    Begun(FlowKey),
}

/// One kind of packet.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) interface: u32,
    pub(super) frame: Vec<u8>,
    pub(super) restore: Restore,
    /// What becomes of it in TC, and in XDP.
    pub(super) tc: Verdict,
    pub(super) xdp: Verdict,
}

const NOT_OURS: &str = "not ours";
const SYN: &str = "SYN → SYN-ACK";
const THIRD_ACK: &str = "third ACK begins a flow (up)";
const CLIENT_ACK: &str = "ACK of the client";
const BACKEND_ACK: &str = "ACK of the backend";
const UPLOAD: &str = "1448 bytes to the backend";
const DOWNLOAD: &str = "1448 bytes to the client";
const KNOWN: &str = "request of 460 bytes, cookie last, known";
const UNKNOWN: &str = "request of 460 bytes, cookie last, unknown";
const PLAIN: &str = "response head of 200 bytes";
const ISSUING: &str = "response head of 200 bytes, Set-Cookie";

/// What a case is to cost at most.
pub(super) fn target(case: &str) -> Option<u32> {
    match case {
        NOT_OURS => Some(25),
        SYN => Some(180),
        CLIENT_ACK | BACKEND_ACK | UPLOAD | DOWNLOAD => Some(110),
        KNOWN => Some(450),
        _ => None,
    }
}

/// A session that the backend has issued, and one that nobody has.
const SESSION: &str = "0123456789ABCDEF0123456789ABCDEF";
const STRANGER: &str = "FEDCBA9876543210FEDCBA9876543210";

/// All cases. The flows that they need are in the table afterwards.
pub(super) fn cases(programs: &mut Programs, setting: &Setting, world: &World) -> Result<Vec<Case>> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u32;
    programs.bind(setting, SESSION.as_bytes(), Some(setting.issued_by(0, 0).presented()), now)?;

    let stranger = Talk::new(setting, world, 40_001);
    let mut foreign = stranger.client;
    foreign.to.set_ip([192, 0, 2, 1].into());
    let syn = greeting(&stranger.client, Numbers { seq: 1, ack: 0, tsval: 1, tsecr: 0 })?;
    let not_ours = segment(&foreign, Numbers { seq: 1, ack: 1, tsval: 1, tsecr: 1 }, &[])?;
    let mut third = Talk::new(setting, world, 40_002);
    third.greet(programs)?;
    let third_ack = segment(&third.client, third.client_at(), &[])?;

    let mut waiting = Talk::new(setting, world, 40_006);
    waiting.open(programs, &request(SESSION, 460))?;
    let (waiting_slot, waiting_flow) = waiting.flow(programs)?;
    let plain = segment(&waiting.backend, waiting.backend_at(), &response(""))?;
    let issuing = format!("Set-Cookie: {COOKIE}=AAAABBBBCCCCDDDDEEEEFFFF00001111; Path=/\r\n");
    let issuing = segment(&waiting.backend, waiting.backend_at(), &response(&issuing))?;
    let mut idle = Talk::new(setting, world, 40_003);
    idle.open(programs, &request(SESSION, 460))?;
    idle.answer(programs, &response(""))?;
    let (idle_slot, idle_flow) = idle.flow(programs)?;

    let mut upload = Talk::new(setting, world, 40_004);
    upload.open(programs, &post())?;
    let mut download = Talk::new(setting, world, 40_005);
    download.open(programs, &request(SESSION, 460))?;
    download.answer(programs, &large_response())?;

    let (front, back) = (world.client.interface, world.backends[0].interface);
    let case = |name, interface, frame, restore, verdict| Case {
        name,
        interface,
        frame,
        restore,
        tc: verdict,
        xdp: if verdict == Verdict::FlowBegun { Verdict::NeedsGrowth } else { verdict },
    };
    let body = [b'x'; 1448];
    let asked = |session| segment(&idle.client, idle.client_at(), &request(session, 460));
    let restore = || Restore::Flow(idle_slot, idle_flow.clone());
    let answered = || Restore::Flow(waiting_slot, waiting_flow.clone());
    let client_ack = segment(&idle.client, idle.client_at(), &[])?;
    let backend_ack = segment(&idle.backend, idle.backend_at(), &[])?;
    let sent = segment(&upload.client, upload.client_at(), &body)?;
    let received = segment(&download.backend, download.backend_at(), &body)?;
    Ok(vec![
        case(NOT_OURS, front, not_ours, Restore::Nothing, Verdict::NotOurs),
        case(SYN, front, syn, Restore::Nothing, Verdict::SynCookie),
        case(THIRD_ACK, front, third_ack, Restore::Begun(third.key()), Verdict::FlowBegun),
        case(CLIENT_ACK, front, client_ack, Restore::Nothing, Verdict::ToBackend),
        case(BACKEND_ACK, back, backend_ack, Restore::Nothing, Verdict::ToClient),
        case(UPLOAD, front, sent, Restore::Nothing, Verdict::ToBackend),
        case(DOWNLOAD, back, received, Restore::Nothing, Verdict::ToClient),
        case(KNOWN, front, asked(SESSION)?, restore(), Verdict::RequestSame),
        case(UNKNOWN, front, asked(STRANGER)?, restore(), Verdict::RequestSame),
        case(PLAIN, back, plain, answered(), Verdict::ToClient),
        case(ISSUING, back, issuing, answered(), Verdict::ToClient),
    ])
}

/// A request of `len` bytes, as a browser makes them, its cookie last.
fn request(session: &str, len: usize) -> Vec<u8> {
    let head =
        "GET /shop/catalogue/page?item=4711 HTTP/1.1\r\nHost: shop.example.org\r\nAccept: text/html\r\nX-Padding: ";
    let tail = format!("\r\nCookie: {COOKIE}={session}\r\n\r\n");
    let padding = "p".repeat(len - head.len() - tail.len());
    [head.as_bytes(), padding.as_bytes(), tail.as_bytes()].concat()
}

fn post() -> Vec<u8> {
    format!("POST /shop HTTP/1.1\r\nCookie: {COOKIE}={SESSION}\r\nContent-Length: 100000000\r\n\r\n").into_bytes()
}

/// A response of 200 bytes of head and two of body.
fn response(field: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nServer: x\r\n{field}Content-Length: 2\r\nX-Padding: ");
    let padding = "p".repeat(200 - 4 - head.len());
    format!("{head}{padding}\r\n\r\nok").into_bytes()
}

fn large_response() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec()
}
