//! Instructions, and what loads them: for programs of a few lines, which aya, that loads objects only, has no other way for.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, ProgramType, SchedClassifier, Xdp, loaded_programs};
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type};
use aya_obj::programs::XdpAttachType;

/// A program under construction: `struct bpf_insn`, one a word (include/uapi/linux/bpf.h).
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    words: Vec<u64>,
    /// Jumps that lead to the end.
    ending: Vec<usize>,
}

/// The helpers `bpf_map_lookup_elem` and `bpf_tail_call`.
const LOOK_UP: i32 = 1;
const TAIL_CALL: i32 = 12;

impl Code {
    fn push(&mut self, operation: u8, to: u8, from: u8, offset: i16, number: i32) {
        let [operation, to, from] = [operation, to, from].map(u64::from);
        let [offset, number] = [u64::from(offset.cast_unsigned()), u64::from(number.cast_unsigned())];
        self.words.push(operation | to << 8 | from << 12 | offset << 16 | number << 32);
    }

    pub(super) fn mov(&mut self, to: u8, from: u8) {
        self.push(0xbf, to, from, 0, 0);
    }

    pub(super) fn number(&mut self, to: u8, number: i32) {
        self.push(0xb7, to, 0, 0, number);
    }

    pub(super) fn add(&mut self, to: u8, number: i32) {
        self.push(0x07, to, 0, 0, number);
    }

    pub(super) fn add_register(&mut self, to: u8, from: u8) {
        self.push(0x0f, to, from, 0, 0);
    }

    pub(super) fn multiply(&mut self, to: u8, number: i32) {
        self.push(0x27, to, 0, 0, number);
    }

    /// Back over so many instructions, this one included, unless the register is 0.
    pub(super) fn again_unless_zero(&mut self, register: u8, back: i16) {
        self.push(0x55, register, 0, -back, 0);
    }

    pub(super) fn load32(&mut self, to: u8, base: u8, at: i16) {
        self.push(0x61, to, base, at, 0);
    }

    pub(super) fn load64(&mut self, to: u8, base: u8, at: i16) {
        self.push(0x79, to, base, at, 0);
    }

    pub(super) fn store32(&mut self, base: u8, at: i16, from: u8) {
        self.push(0x63, base, from, at, 0);
    }

    pub(super) fn store64(&mut self, base: u8, at: i16, from: u8) {
        self.push(0x7b, base, from, at, 0);
    }

    pub(super) fn store_number(&mut self, base: u8, at: i16, number: i32) {
        self.push(0x62, base, 0, at, number);
    }

    /// The register becomes 0 unless it is less than the number.
    pub(super) fn zero_unless_less(&mut self, register: u8, number: i32) {
        self.push(0xa5, register, 0, 1, number);
        self.number(register, 0);
    }

    pub(super) fn end_if_greater(&mut self, one: u8, other: u8) {
        self.ending.push(self.words.len());
        self.push(0x2d, one, other, 0, 0);
    }

    /// Copies bytes by way of register 1.
    pub(super) fn copy(&mut self, (to, to_at): (u8, usize), (from, from_at): (u8, usize), len: usize) {
        // The widths that there are loads and stores for.
        const WIDTHS: [(usize, u8, u8); 4] = [(8, 0x79, 0x7b), (4, 0x61, 0x63), (2, 0x69, 0x6b), (1, 0x71, 0x73)];
        let mut done = 0;
        for (width, load, store) in WIDTHS {
            while len - done >= width {
                self.push(load, 1, from, (from_at + done) as i16, 0);
                self.push(store, to, 1, (to_at + done) as i16, 0);
                done += width;
            }
        }
    }

    /// `r0` = the value of a map for the key on the stack; ends where there is none.
    pub(super) fn look_up(&mut self, map: RawFd, key: i16) {
        self.map(1, map);
        self.mov(2, 10);
        self.add(2, key.into());
        self.push(0x85, 0, 0, 0, LOOK_UP);
        self.ending.push(self.words.len());
        self.push(0x15, 0, 0, 0, 0);
    }

    /// Goes over into another program for good.
    pub(super) fn tail_call(&mut self, context: u8, programs: RawFd, index: i32) {
        self.mov(1, context);
        self.map(2, programs);
        self.number(3, index);
        self.push(0x85, 0, 0, 0, TAIL_CALL);
    }

    /// BPF_PSEUDO_MAP_FD: an instruction of two words.
    fn map(&mut self, to: u8, map: RawFd) {
        self.push(0x18, to, 1, 0, map);
        self.words.push(0);
    }

    /// The end, to which all jumps lead, and what it returns.
    pub(super) fn end(mut self, code: i32) -> Vec<u64> {
        let end = self.words.len();
        for jump in std::mem::take(&mut self.ending) {
            let offset = (end - jump - 1) as i16;
            self.words[jump] |= u64::from(offset.cast_unsigned()) << 16;
        }
        self.number(0, code);
        self.push(0x95, 0, 0, 0, 0);
        self.words
    }
}

/// A TC program of these instructions.
pub(super) fn tc(name: &'static str, program: &[u64]) -> Result<SchedClassifier> {
    let (_fd, info) = load(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, ProgramType::SchedClassifier, 0, program)?;
    Ok(SchedClassifier::from_program_info(info, name.into())?)
}

/// An XDP program of these instructions.
pub(super) fn xdp(name: &'static str, program: &[u64]) -> Result<Xdp> {
    // What calls each other has to say the same here.
    let attach = bpf_attach_type::BPF_XDP as u32;
    let (_fd, info) = load(bpf_prog_type::BPF_PROG_TYPE_XDP, ProgramType::Xdp, attach, program)?;
    Ok(Xdp::from_program_info(info, name.into(), XdpAttachType::Interface)?)
}

/// The bare system call; the program lives as long as the descriptor, or whatever is made of the information.
fn load(kind: bpf_prog_type, wanted: ProgramType, attach: u32, program: &[u64]) -> Result<(OwnedFd, ProgramInfo)> {
    // SAFETY: a union of integers, for which zeroes are a value.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: zeroes are a value of this member, too.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.expected_attach_type = attach;
    load.insn_cnt = program.len() as u32;
    load.insns = program.as_ptr() as u64;
    load.license = c"GPL".as_ptr() as u64;
    // SAFETY: the attributes are of the size that is passed, and what they point to outlives the call.
    let fd: c_long = unsafe {
        libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_PROG_LOAD as c_int, &raw const attr, size_of::<bpf_attr>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("load a program: this needs root");
    }
    // SAFETY: the call made the descriptor just now, and nobody else has it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
    let id = program_id(fd)?;
    let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
    let info = found.with_context(|| format!("no program {id} of type {wanted:?} in the kernel"))?;
    Ok((owned, info))
}

/// A program's id, as the descriptor's file in /proc has it.
fn program_id(fd: c_long) -> Result<u32> {
    let text =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).context("read the descriptor's information")?;
    let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")).context("no prog_id in it")?;
    id.trim().parse().context("read the program's id")
}
