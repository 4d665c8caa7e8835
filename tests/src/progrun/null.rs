//! Programs that do nothing, which say what a test run costs by itself; and one that always does the same, which says how fast the
//! machine is.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, ProgramType, SchedClassifier, Xdp, loaded_programs};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};

/// `TC_ACT_UNSPEC`.
const TC_PASS: i32 = -1;
/// `XDP_PASS`.
const XDP_PASS: i32 = 2;

/// A TC program that passes everything on.
pub fn null_tc() -> Result<SchedClassifier> {
    tc("null_tc", &[returns(TC_PASS), EXIT])
}

/// A TC program that multiplies and adds 256 times: a yardstick that nobody changes.
pub fn yardstick() -> Result<SchedClassifier> {
    const ROUNDS: u64 = 256;
    let program = [
        // r1 = ROUNDS; r0 = 1
        0x1b7 | ROUNDS << 32,
        returns(1),
        // again: r0 *= 31; r0 += r1; r1 -= 1; if r1 != 0, again
        0x27 | 31 << 32,
        0x100f,
        0x117 | 1 << 32,
        0x155 | 0xfffc << 16,
        returns(TC_PASS),
        EXIT,
    ];
    tc("yardstick", &program)
}

/// An XDP program that passes everything on.
pub fn null_xdp() -> Result<Xdp> {
    let (_fd, info) = load(bpf_prog_type::BPF_PROG_TYPE_XDP, ProgramType::Xdp, &[returns(XDP_PASS), EXIT])?;
    Ok(Xdp::from_program_info(info, "null_xdp".into(), aya_obj::programs::XdpAttachType::Interface)?)
}

/// A `struct bpf_insn`: BPF_JMP | BPF_EXIT.
const EXIT: u64 = 0x95;

/// `r0 = code`: BPF_ALU64 | BPF_MOV | BPF_K.
const fn returns(code: i32) -> u64 {
    0xb7 | (code.cast_unsigned() as u64) << 32
}

fn tc(name: &'static str, program: &[u64]) -> Result<SchedClassifier> {
    let (_fd, info) = load(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, ProgramType::SchedClassifier, program)?;
    Ok(SchedClassifier::from_program_info(info, name.into())?)
}

/// Loads instructions. aya loads objects only, so this is the bare system call; the program lives as long as the descriptor, or
/// whatever is made of the information.
fn load(kind: bpf_prog_type, wanted: ProgramType, program: &[u64]) -> Result<(OwnedFd, ProgramInfo)> {
    // SAFETY: a union of integers, for which zeroes are a value.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: zeroes are a value of this member, too.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
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
