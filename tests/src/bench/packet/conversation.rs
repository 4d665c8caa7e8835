//! Brings flows into the states in which a packet is to be measured, by the program itself, and makes the packets.

use anyhow::Result;
use balancer_ebpf::layout::FlowKey;
use balancer_ebpf::verdict::Verdict;

use super::Scene;
use super::messages::{SESSION, STRANGER, large_response, post, request, response, set_cookie};
use crate::progrun::frames::{Numbers, greeting, segment};
use crate::progrun::talk::Talk;
use crate::progrun::{FlowBytes, Programs};

/// One kind of packet.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) interface: u32,
    /// Packets that are alike, and take turns.
    pub(super) frames: Vec<Vec<u8>>,
    /// The flow in a slot, which is put back before each packet.
    pub(super) flow: Option<(u32, Box<FlowBytes>)>,
    /// The flows that the packets begin, which are taken away again when each has been there once.
    pub(super) begun: Vec<FlowKey>,
    /// What becomes of it in TC, and in XDP.
    pub(super) tc: Verdict,
    pub(super) xdp: Verdict,
}

const NOT_OURS: &str = "not ours";
const SYN: &str = "SYN → SYN-ACK";
const THIRD_ACK: &str = "third ACK begins a flow (up)";
pub(super) const CLIENT_ACK: &str = "ACK of the client";
pub(super) const BACKEND_ACK: &str = "ACK of the backend";
pub(super) const UPLOAD: &str = "1448 bytes to the backend";
pub(super) const DOWNLOAD: &str = "1448 bytes to the client";
const PLAIN: &str = "response head of 200 bytes";
const ISSUING: &str = "response head of 200 bytes, Set-Cookie";

/// Connections that begin in one go.
pub(super) const BEGINNINGS: usize = 256;

/// Lengths of requests.
const LENGTHS: [usize; 3] = [200, 460, 1400];

fn asking(length: usize, known: &str) -> String {
    format!("request of {length} bytes, cookie last, {known}")
}

/// What a case is to cost at most.
pub(super) fn target(case: &str) -> Option<u32> {
    let established = |case: &str| [CLIENT_ACK, BACKEND_ACK, UPLOAD, DOWNLOAD].contains(&case);
    match case {
        NOT_OURS => Some(25),
        SYN => Some(180),
        case if established(case) => Some(110),
        case if case == asking(460, "known") => Some(450),
        case => case.strip_suffix(", 1M flows").filter(|case| established(case)).map(|_| 400),
    }
}

/// All cases of one flow. The flows that they need are in the table afterwards.
pub(super) fn cases(programs: &mut Programs, Scene { setting, world }: Scene<'_>) -> Result<Vec<Case>> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u32;
    programs.bind(setting, SESSION.as_bytes(), Some(setting.issued_by(0, 0).presented()), now)?;

    let stranger = Talk::new(setting, world, 40_001);
    let mut foreign = stranger.client;
    foreign.to.set_ip([192, 0, 2, 1].into());
    let syn = greeting(&stranger.client, Numbers { seq: 1, ack: 0, tsval: 1, tsecr: 0 })?;
    let not_ours = segment(&foreign, Numbers { seq: 1, ack: 1, tsval: 1, tsecr: 1 }, &[])?;
    let mut third_acks = Vec::new();
    let mut begun = Vec::new();
    for port in (50_000..).take(BEGINNINGS) {
        let mut third = Talk::new(setting, world, port);
        third.greet(programs)?;
        third_acks.push(segment(&third.client, third.client_at(), &[])?);
        begun.push(third.key());
    }

    let mut waiting = Talk::new(setting, world, 40_006);
    waiting.open(programs, &request(SESSION, 460))?;
    let plain = segment(&waiting.backend, waiting.backend_at(), &response(""))?;
    let issuing = response(&set_cookie("AAAABBBBCCCCDDDDEEEEFFFF00001111"));
    let issuing = segment(&waiting.backend, waiting.backend_at(), &issuing)?;
    let mut idle = Talk::new(setting, world, 40_003);
    idle.open(programs, &request(SESSION, 460))?;
    idle.answer(programs, &response(""))?;

    let mut upload = Talk::new(setting, world, 40_004);
    upload.open(programs, &post())?;
    let mut download = Talk::new(setting, world, 40_005);
    download.open(programs, &request(SESSION, 460))?;
    download.answer(programs, &large_response())?;

    let back_to = |talk: &Talk| {
        let (slot, flow) = talk.flow(programs)?;
        anyhow::Ok(move || Some((slot, flow.clone())))
    };
    let (idled, waited) = (back_to(&idle)?, back_to(&waiting)?);
    let (uploading, downloading) = (back_to(&upload)?, back_to(&download)?);
    let (front, back) = (world.client.interface, world.backends[0].interface);
    let case = |name: &str, interface, frame, flow, verdict| Case {
        name: name.to_owned(),
        interface,
        frames: vec![frame],
        flow,
        begun: Vec::new(),
        tc: verdict,
        xdp: verdict,
    };
    let body = [b'x'; 1448];
    let client_ack = segment(&idle.client, idle.client_at(), &[])?;
    let backend_ack = segment(&idle.backend, idle.backend_at(), &[])?;
    let sent = segment(&upload.client, upload.client_at(), &body)?;
    let received = segment(&download.backend, download.backend_at(), &body)?;
    let mut cases = vec![
        Case {
            name: THIRD_ACK.to_owned(),
            interface: front,
            frames: third_acks,
            flow: None,
            begun,
            tc: Verdict::FlowBegun,
            xdp: Verdict::NeedsGrowth,
        },
        case(NOT_OURS, front, not_ours, None, Verdict::NotOurs),
        case(SYN, front, syn, None, Verdict::SynCookie),
        case(CLIENT_ACK, front, client_ack, idled(), Verdict::ToBackend),
        case(BACKEND_ACK, back, backend_ack, idled(), Verdict::ToClient),
        case(UPLOAD, front, sent, uploading(), Verdict::ToBackend),
        case(DOWNLOAD, back, received, downloading(), Verdict::ToClient),
    ];
    for (length, (known, session)) in
        LENGTHS.into_iter().flat_map(|length| [("known", SESSION), ("unknown", STRANGER)].map(|known| (length, known)))
    {
        let frame = segment(&idle.client, idle.client_at(), &request(session, length))?;
        cases.push(case(&asking(length, known), front, frame, idled(), Verdict::RequestSame));
    }
    cases.push(case(PLAIN, back, plain, waited(), Verdict::ToClient));
    cases.push(case(ISSUING, back, issuing, waited(), Verdict::ToClient));
    Ok(cases)
}
