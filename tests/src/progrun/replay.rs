//! Runs a program over and over on packets that it changes: in front of each run, a program of our own puts the packet's head and its
//! flow back, and goes over into the one that is meant by a tail call.
//!
//! A system call for each packet would time caches and branch predictors that have just been used for something else. This way a packet
//! follows the one before it, as it does under load, where the kernel takes up to 64 from a queue in a row. What putting back costs is
//! known by the same in front of a program that does nothing.

use std::mem::size_of;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, IterableMap as _, Map, MapData, ProgramArray};
use aya::programs::{ProgramFd, SchedClassifier, Xdp};
use aya_obj::generated::bpf_map_type;
use balancer_ebpf::layout::map;

use super::code::{self, Code};
use super::{FlowBytes, Program, Programs, null, repeat, skb_context, xdp_context};

/// Bytes at the beginning of a packet that are put back: more than any headers.
const HEAD: usize = 96;
/// In front of them, the slot of the flow.
const AT_HEAD: usize = 8;
const AT_FLOW: usize = AT_HEAD + HEAD;
const ORIGINAL: usize = AT_FLOW + size_of::<FlowBytes>();

/// A program that nobody steers by, or the one that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    Nothing,
    Measured,
}

/// What is put back before a packet.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    pub frame: &'a [u8],
    /// The flow in a slot.
    pub flow: Option<(u32, &'a FlowBytes)>,
}

/// A program, and originals to run it on in turn.
pub struct Replay {
    originals: Array<MapData, [u8; ORIGINAL]>,
    runners: [Runner; 2],
    interface: u32,
    /// What the kernel is given: the packets differ from it in their heads only.
    frame: Vec<u8>,
    /// The tail calls lead nowhere when this is gone.
    _callees: ProgramArray<MapData>,
}

enum Runner {
    Tc(SchedClassifier),
    Xdp(Xdp),
}

impl Replay {
    /// For originals that are all as long as the first, and have a flow to be put back if that has one.
    pub fn new(programs: &Programs, program: Program, interface: u32, originals: &[Original<'_>]) -> Result<Self> {
        let first = originals.first().context("nothing to replay")?;
        let count = i32::try_from(originals.len())?;
        let nexts: Array<MapData, u64> = Array::create(2, 0)?;
        let map = Array::create(originals.len() as u32, 0)?;
        let callees = aya_obj::Map::new_from_params(bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY as u32, 4, 4, 2, 0);
        let callees = MapData::create(callees, "callees", None)?;
        let callees_fd = callees.fd().as_fd().as_raw_fd();
        let mut callees = ProgramArray::try_from(Map::ProgramArray(callees))?;
        let nothing = |callees: &mut ProgramArray<MapData>, fd: &ProgramFd| callees.set(Callee::Nothing as u32, fd, 0);
        match program {
            Program::Tc => nothing(&mut callees, null::null_tc()?.fd()?),
            Program::Xdp => nothing(&mut callees, null::null_xdp()?.fd()?),
        }
        .context("call a program that does nothing")?;
        callees.set(Callee::Measured as u32, programs.fd(program)?, 0).context("call the program that is measured")?;
        let flows = first.flow.map(|_| programs.map_fd(map::FLOWS)).transpose()?;
        let runners = [Callee::Nothing, Callee::Measured].map(|callee| {
            let restore = Restore {
                nexts: nexts.map().fd().as_fd().as_raw_fd(),
                originals: map.map().fd().as_fd().as_raw_fd(),
                callees: callees_fd,
                flows,
                head: first.frame.len().min(HEAD),
                count,
                callee: callee as i32,
            };
            restore.load(program)
        });
        let [nothing, measured] = runners;
        let runners = [nothing?, measured?];
        let mut replay = Self { originals: map, runners, interface, frame: first.frame.to_vec(), _callees: callees };
        replay.set(originals)?;
        Ok(replay)
    }

    /// Replaces the originals by others, which are no more.
    pub fn set(&mut self, originals: &[Original<'_>]) -> Result<()> {
        for (index, original) in (0..).zip(originals) {
            ensure!(original.frame.len() == self.frame.len(), "the packets are not of one length");
            let mut bytes = [0; ORIGINAL];
            let head = original.frame.len().min(HEAD);
            bytes[AT_HEAD..AT_HEAD + head].copy_from_slice(&original.frame[..head]);
            if let Some((slot, flow)) = original.flow {
                bytes[..4].copy_from_slice(&slot.to_ne_bytes());
                bytes[AT_FLOW..].copy_from_slice(flow);
            }
            self.originals.set(index, bytes, 0).context("write an original")?;
        }
        Ok(())
    }

    /// Runs on so many originals, from where the last time ended; what one took on average.
    pub fn run(&self, callee: Callee, times: u32) -> Result<Duration> {
        let context = xdp_context(self.interface, self.frame.len());
        let answer = match &self.runners[callee as usize] {
            Runner::Tc(program) => repeat(program, &skb_context(self.interface), &self.frame, times),
            Runner::Xdp(program) => repeat(program, &context, &self.frame, times),
        };
        Ok(answer?.duration)
    }
}

/// The program in front.
struct Restore {
    /// For each callee, the index of the next original.
    nexts: RawFd,
    originals: RawFd,
    callees: RawFd,
    flows: Option<RawFd>,
    head: usize,
    count: i32,
    callee: i32,
}

impl Restore {
    fn load(&self, program: Program) -> Result<Runner> {
        // `struct __sk_buff` and `struct xdp_md`: where the packet begins and ends.
        let (begin, end) = match program {
            Program::Tc => (76, 80),
            Program::Xdp => (0, 4),
        };
        let code = self.code(begin, end);
        Ok(match program {
            Program::Tc => Runner::Tc(code::tc("replay_tc", &code)?),
            Program::Xdp => Runner::Xdp(code::xdp("replay_xdp", &code)?),
        })
    }

    fn code(&self, begin: i16, end: i16) -> Vec<u64> {
        const KEY: i16 = -4;
        let mut code = Code::default();
        code.mov(6, 1);
        code.store_number(10, KEY, self.callee);
        code.look_up(self.nexts, KEY);
        // The next one is another one.
        code.load64(1, 0, 0);
        code.store32(10, KEY, 1);
        code.add(1, 1);
        code.zero_unless_less(1, self.count);
        code.store64(0, 0, 1);
        code.look_up(self.originals, KEY);
        code.mov(7, 0);
        // The packet first: what is read at once behind a store of another width waits until that has reached the cache.
        code.load32(2, 6, begin);
        code.load32(3, 6, end);
        code.mov(1, 2);
        code.add(1, self.head as i32);
        code.end_if_greater(1, 3);
        code.copy((2, 0), (7, AT_HEAD), self.head);
        if let Some(flows) = self.flows {
            code.load32(1, 7, 0);
            code.store32(10, KEY, 1);
            code.look_up(flows, KEY);
            code.copy((0, 0), (7, AT_FLOW), size_of::<FlowBytes>());
        }
        code.tail_call(6, self.callees, self.callee);
        code.end(0)
    }
}

impl Programs {
    fn fd(&self, program: Program) -> Result<&ProgramFd> {
        let found = self.ebpf.program(program.name()).with_context(|| format!("no program {}", program.name()))?;
        Ok(found.fd()?)
    }

    fn map_fd(&self, name: &str) -> Result<RawFd> {
        let found = self.ebpf.map(name).with_context(|| format!("the object has no map {name}"))?;
        match found {
            Map::Array(data) => Ok(data.fd().as_fd().as_raw_fd()),
            _ => anyhow::bail!("the map {name} is no array"),
        }
    }
}
